"""What a last step of consistency with the autocorrelation adds to a filled gap, by oversampling and gap width.

The Fourier transform of the intensity is the object's autocorrelation, which ends at twice the object's extent. The
step takes the filled pattern, finds where its autocorrelation exceeds a share of its maximum, and changes the gap, by
conjugate gradients, so that as little as possible is left outside: the change d minimises |W F(I + d)|^2 + c |d|^2,
where W is 1 outside, and c the weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from braggworks.datasets.gaps import cross_gap
from braggworks.evaluation.gap_artefacts import AXIS, Diffracted, WholeFill
from braggworks.evaluation.oversampling import MOST, coarser_object
from braggworks.evaluation.real_space import diffract, reconstruct, strain_error

SHARES = (1e-3, 1e-4)
WEIGHTS = (1e-2, 1.0)
_CYCLES = 30
_SUPPORT = 0.3


def score_consistency(
    particles: Sequence[tuple[Diffracted, float]],
    fill: WholeFill,
    ratios: Sequence[float],
    widths: Sequence[int],
    offset: int,
    *,
    progress: Callable[[int], object] = lambda gaps: None,
) -> xr.Dataset:
    """Fill a cross gap in the diffraction of objects of zero phase, with and without the step.

    Parameters
    ----------
    particles
        Whose moduli are the objects, each with the smallest oversampling of its axes.
    fill
        The network.
    ratios
        Oversampling ratios.
    widths, offset
        Of the gap, and from the peak to its first pixel along y and x.
    progress
        Called with 1 after each gap.

    Returns
    -------
    xarray.Dataset
        ``rmse`` of the strain along G, whose truth is 0, by (ratio, gap_width, particle), and ``rmse_after`` by
        (share, weight, ratio, gap_width, particle).

    Raises
    ------
    ConfigError
        If a particle is sampled less finely than a ratio asks.
    """
    shape = (len(ratios), len(widths), len(particles))
    before, after = np.empty(shape), np.empty((len(SHARES), len(WEIGHTS), *shape))
    for row, ratio in enumerate(ratios):
        for last, (particle, own) in enumerate(particles):
            modulus = np.abs(coarser_object(particle.amplitude, ratio, own))
            truth, support = diffract(modulus), modulus > _SUPPORT * modulus.max()
            intensity = np.abs(truth) ** 2 * (MOST / (np.abs(truth) ** 2).max())
            centre = len(truth) // 2 + offset
            for column, width in enumerate(widths):
                gap = cross_gap(truth.shape, (centre, centre), width)
                found = fill(np.where(gap, 0, intensity).astype(np.float32), gap)
                filled = np.where(gap, found, intensity)
                before[row, column, last] = _rmse(filled, truth, support, particle)
                for s, w in np.ndindex(len(SHARES), len(WEIGHTS)):
                    changed = consistent(filled, gap, SHARES[s], WEIGHTS[w])
                    after[s, w, row, column, last] = _rmse(changed, truth, support, particle)
                progress(1)
    dims = ("ratio", "gap_width", "particle")
    return xr.Dataset(
        {
            "rmse": (dims, before, {"units": "1"}),
            "rmse_after": (("share", "weight", *dims), after, {"units": "1"}),
        },
        {"share": list(SHARES), "weight": list(WEIGHTS), "ratio": list(ratios), "gap_width": list(widths)},
    ).assign_attrs(kind="consistency", n=len(particles), offset_px=offset)


def consistent(
    filled: NDArray[np.floating[Any]], gap: NDArray[np.bool_], share: float, weight: float
) -> NDArray[np.float64]:
    """Return a pattern (z, y, x) with its gap changed by the step; nothing else is, and no voxel becomes negative."""
    intensity, inside = torch.from_numpy(filled.astype(np.float64)), torch.from_numpy(gap).double()
    autocorrelation = torch.fft.fftn(intensity).abs()
    support = torch.fft.fftshift(autocorrelation > share * autocorrelation.max()).numpy()
    outside = torch.from_numpy(np.fft.ifftshift(~binary_dilation(support))).double()

    def left(change: torch.Tensor) -> torch.Tensor:
        wave: torch.Tensor = torch.fft.ifftn(outside * torch.fft.fftn(change)).real
        return inside * wave

    found = torch.zeros_like(intensity)
    residual = -left(intensity)
    direction, size = residual.clone(), residual.square().sum()
    for _ in range(_CYCLES):
        if not size:
            break
        image = left(direction) + weight * direction
        step = size / (direction * image).sum()
        found, residual = found + step * direction, residual - step * image
        size, last = residual.square().sum(), size
        direction = residual + size / last * direction
    return np.where(gap, np.maximum((intensity + found).numpy(), 0), filled)


def _rmse(
    filled: NDArray[Any], truth: NDArray[np.complexfloating[Any, Any]], support: NDArray[np.bool_], of: Diffracted
) -> float:
    return strain_error(reconstruct(filled, truth), support, of.g_per_angstrom, of.voxel_angstrom, AXIS).rmse
