"""How counts become a network's input and its output becomes counts; arrays are (batch, z, y, x)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from braggworks.campaigns import Task
from braggworks.inpainting.interpolation import interpolate_batch

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

NAMES: dict[Task, str] = {"inpaint": "log1p-measured-range", "phase": "log1p-maximum"}
"""What weights carry, so that they are never used with another normalisation."""


class Scale(NamedTuple):
    """Range of each patch's measured values, in log(1 + counts)."""

    low: Float32  # (batch,)
    span: Float32  # (batch,), above 0


def normalise(counts: NDArray[Any], mask: Bool) -> tuple[Float32, Scale]:
    """Return log(1 + counts), scaled so that the measured voxels of each patch reach from 0 to 1.

    What lies in the gap does not enter the range, because it is unknown when a scan is filled; so it may come to lie
    outside [0, 1]. Patches whose measured values are all equal keep a span of 1.

    Parameters
    ----------
    counts
        Patches in counts, of shape (batch, z, y, x).
    mask
        True in the gap; the same shape.

    Returns
    -------
    scaled
        The whole patches, scaled.
    scale
        What `denormalise` needs.
    """
    logs = np.log1p(counts, dtype=np.float32)
    axes = (1, 2, 3)
    low = np.min(logs, axis=axes, where=~mask, initial=np.inf)
    high = np.max(logs, axis=axes, where=~mask, initial=-np.inf)
    usable = high > low
    low = np.where(np.isfinite(low), low, 0).astype(np.float32)
    span = np.where(usable, high - low, 1).astype(np.float32)
    return (logs - _spread(low)) / _spread(span), Scale(low, span)


def denormalise(scaled: Float32, scale: Scale) -> Float32:
    """Return the counts that belong to scaled values, at least 0; the inverse of `normalise`."""
    counts: Float32 = np.expm1(scaled * _spread(scale.span) + _spread(scale.low))
    return np.maximum(counts, 0)


def network_values(scaled: Float32, mask: Bool, *, prior: bool) -> Float32:
    """Return scaled patches with their gaps set to 0, or to a linear interpolation if the network wants a prior."""
    return interpolate_batch(scaled, mask, "linear") if prior else np.where(mask, np.float32(0), scaled)


def phase_values(counts: Tensor) -> Tensor:
    """Return what a network for phases sees: log(1 + counts) of one pattern, its brightest voxel 1; a dark one is 0."""
    logs = torch.log1p(counts)
    return logs / logs.max().clamp(min=torch.finfo(logs.dtype).tiny)


def _spread(value: Float32) -> Float32:
    return value[:, None, None, None]
