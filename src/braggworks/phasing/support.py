"""The support that follows the object: smoothed, cut at a threshold, kept near its border, and cleaned.

Arrays are (start, z, y, x) or (start, y, x), with their centre at index 0; what leaves on one side enters on the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from braggworks.phasing.schedule import SupportRule

_REACH = 4.0  # standard deviations at which the smoothing ends, as in scipy


def update(found: Tensor, inside: Tensor, thresholds: Tensor, rule: SupportRule, cycle: int) -> Tensor:
    """Return the new supports.

    Parameters
    ----------
    found
        (start, z, y, x) objects.
    inside
        True in their present supports.
    thresholds
        (start,) shares of the root mean square modulus.
    rule
        How the support follows.
    cycle
        Cycles done, which the smoothing depends on.
    """
    axes = tuple(range(1, found.ndim))
    modulus = smoothed(found.abs(), rule.width(cycle))
    count = inside.sum(axes, keepdim=True).clamp(min=1)
    level = ((modulus * inside).square().sum(axes, keepdim=True) / count).sqrt()
    new = modulus > level * thresholds.reshape(-1, *(1 for _ in axes))
    if rule.border_px:
        settled = grown(inside, -rule.border_px)
        new = (new | settled) & grown(inside, rule.border_px)
    for step in rule.expand_px:
        new = grown(new, step)
    return new


def half(inside: Tensor, axes: Sequence[int]) -> Tensor:
    """Return the half of each support that lies before its centre of mass along the start's axis.

    Parameters
    ----------
    inside
        (start, z, y, x), true in the support.
    axes
        For each start the axis to halve along, 0 for z.
    """
    kept = []
    for one, axis in zip(inside, axes, strict=True):
        size = one.shape[axis]
        place = torch.fft.fftfreq(size, 1 / size, device=one.device)
        profile = one.sum([each for each in range(one.ndim) if each != axis])
        middle = (place * profile).sum() / profile.sum().clamp(min=1)
        kept.append(one & (place < middle).reshape([-1 if each == axis else 1 for each in range(one.ndim)]))
    return torch.stack(kept)


def smoothed(modulus: Tensor, width: float) -> Tensor:
    """Return (start, z, y, x) values convolved with a sampled Gaussian of a standard deviation in voxels."""
    axes = tuple(range(1, modulus.ndim))
    wave = torch.fft.rfftn(modulus, dim=axes)
    for axis in axes:
        size = modulus.shape[axis]
        place = torch.fft.fftfreq(size, 1 / size, device=modulus.device)
        weight = torch.exp(-0.5 * (place / width).square()) * (place.abs() <= int(_REACH * width + 0.5))
        factor = torch.fft.fft(weight / weight.sum()).real[: wave.shape[axis]]
        wave *= factor.reshape([-1 if each == axis else 1 for each in range(wave.ndim)])
    found: Tensor = torch.fft.irfftn(wave, s=modulus.shape[1:], dim=axes)
    return found


def grown(inside: Tensor, step: int) -> Tensor:
    """Return supports (start, z, y, x) grown by a cube of `step` voxels on each side, or shrunk if it is negative."""
    if step < 0:
        return ~grown(~inside, -step)
    for axis in range(1, inside.ndim):
        line = inside
        for shift in range(1, step + 1):
            line = line | inside.roll(shift, axis) | inside.roll(-shift, axis)
        inside = line
    return inside
