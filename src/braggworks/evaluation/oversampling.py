"""Whole patterns of one particle on finer and finer grids over the same range of q, predicted gap by gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from braggworks.datasets.gaps import BORDER_PX, vertical_gap
from braggworks.errors import ConfigError
from braggworks.evaluation.metrics import pcc
from braggworks.evaluation.sweeps import PCC_ATTRIBUTES
from braggworks.inpainting.whole_scan import Fill, Progress

MOST = 1e5
"""Largest intensity of a pattern, in counts, as in Masto et al. (doi:10.1107/S1600576724004163)."""


def coarser(amplitude: NDArray[Any], ratio: float, own: float) -> NDArray[np.float64]:
    """Return the intensity on the coarser grid on which the object is oversampled by `ratio`, over the same range of q.

    A coarser grid of q is a smaller field of view around the object, so that its part outside is left out.

    Parameters
    ----------
    amplitude
        (z, y, x) complex diffraction of the object, its centre in voxel n // 2.
    ratio
        Oversampling wanted.
    own
        Smallest oversampling of the amplitude's axes.

    Returns
    -------
    ndarray
        (m, m, m) intensities with a largest value of `MOST`; m is even.

    Raises
    ------
    ConfigError
        If the amplitude is sampled less finely than wanted.
    """
    inner = coarser_object(amplitude, ratio, own)
    intensity = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(inner)))) ** 2
    return np.asarray(intensity * (MOST / intensity.max()))


def coarser_object(amplitude: NDArray[Any], ratio: float, own: float) -> NDArray[np.complexfloating[Any, Any]]:
    """Return the object (z, y, x), its centre in voxel m // 2, in the field of view of that grid; see `coarser`."""
    kept = _grid(amplitude.shape[0], ratio, own)
    field = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(amplitude)))
    return np.asarray(field[tuple(slice((n - kept) // 2, (n - kept) // 2 + kept) for n in field.shape)])


def _grid(size: int, ratio: float, own: float) -> int:
    kept = 2 * round(size * ratio / own / 2)
    if kept > size:
        raise ConfigError(
            f"The sweep asks for an oversampling of {ratio:g}, and a pattern has {own:.2f}: leave that ratio out, or "
            "use a campaign of higher oversampling."
        )
    return kept


def predicted_pattern(counts: NDArray[np.float32], width: int, fill: Fill, progress: Progress) -> NDArray[np.float32]:
    """Return a pattern (z, y, x) of which every plane was predicted behind one of many gaps, side by side.

    Raises
    ------
    ConfigError
        If the pattern is too small for the gap.
    """
    size, found = counts.shape[-1], counts.copy()
    last = size - BORDER_PX - width
    if last < BORDER_PX:
        raise ConfigError(f"A gap of {width} px does not fit into a pattern of {size} px: leave that width out.")
    for start in dict.fromkeys([*range(BORDER_PX, last, width), last]):
        mask = vertical_gap(counts.shape, start, width)
        filled = fill(np.where(mask, np.float32(0), counts)[None], mask[None])[0]
        found[mask] = np.maximum(filled[mask], 0)
        progress(1)
    return found


def score_oversampling(
    patterns: Sequence[tuple[NDArray[Any], float]],
    fills: Mapping[str, Fill],
    ratios: Sequence[float],
    widths: Sequence[int],
    progress: Progress = lambda gaps: None,
) -> xr.Dataset:
    """Score every method on whole predicted patterns.

    Parameters
    ----------
    patterns
        Complex amplitudes (z, y, x), each with its smallest oversampling ratio.
    fills
        Methods by name.
    ratios, widths
        Oversampling ratios, and gap widths in pixels.
    progress
        Called with 1 after each gap of each method.

    Returns
    -------
    xarray.Dataset
        ``pcc`` of log(1 + counts) over all predicted voxels, by (method, gap_width, ratio, pattern).
    """
    for amplitude, own in patterns:
        _grid(amplitude.shape[0], max(ratios), own)
    scores = np.full((len(fills), len(widths), len(ratios), len(patterns)), np.nan)
    for last, (amplitude, own) in enumerate(patterns):
        for column, ratio in enumerate(ratios):
            truth = coarser(amplitude, ratio, own).astype(np.float32)
            inside = np.zeros(truth.shape, bool)
            inside[..., BORDER_PX:-BORDER_PX] = True
            for row, width in enumerate(widths):
                for number, fill in enumerate(fills.values()):
                    found = predicted_pattern(truth, width, fill, progress)
                    score = pcc(np.log1p(truth)[None], np.log1p(found)[None], inside[None])
                    scores[number, row, column, last] = score.item()
    return xr.Dataset(
        {"pcc": (("method", "gap_width", "ratio", "pattern"), scores, PCC_ATTRIBUTES)},
        {
            "method": list(fills),
            "gap_width": ("gap_width", list(widths), {"units": "px"}),
            "ratio": ("ratio", list(ratios), {"units": "1", "long_name": "oversampling ratio"}),
        },
        {"kind": "oversampling", "n": len(patterns)},
    )
