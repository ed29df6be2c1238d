"""A synthetic gap in a measured scan, and how well it is filled: the counts under it are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from braggworks.datasets.gaps import BORDER_PX, cross_gap
from braggworks.errors import ScanError
from braggworks.evaluation.metrics import pcc, strata

# Edge of the cube whose mean counts decide a voxel's stratum.
_NEIGHBOURHOOD = 9


def cut_cross(
    shape: tuple[int, ...], peak: tuple[int, int, int], width: int, offset: tuple[int, int]
) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """Place a cross gap beside the peak.

    Parameters
    ----------
    shape
        Shape (z, y, x) of the scan.
    peak
        Voxel (z, y, x) of the peak.
    width
        Width of both arms, in pixels.
    offset
        From the peak to the first masked pixel along y and x.

    Returns
    -------
    mask, start
        (z, y, x), true in the gap; and the first masked pixel along y and x.

    Raises
    ------
    ScanError
        If an arm leaves fewer than two measured pixels on a side.
    """
    start = (peak[1] + offset[0], peak[2] + offset[1])
    for name, first, size in zip("yx", start, shape[1:], strict=True):
        if not BORDER_PX <= first <= size - width - BORDER_PX:
            raise ScanError(
                f"A gap of {width} px that starts at {name} = {first} does not lie inside {size} px with measured "
                "pixels around it: use another --cut-offset, a narrower --cut-cross, or a larger crop."
            )
    return cross_gap(tuple(shape), start, width), start


def share_filled(measured: NDArray[Any], gap: NDArray[np.bool_], filled: NDArray[Any]) -> float | None:
    """Return the counts that a filling puts into the gap over those measured there, None where there were none.

    Logarithms average lower than counts do, so that what is filled as their mean has fewer counts than were there.
    """
    true = float(measured[gap].sum(dtype=np.float64))
    return float(filled[gap].sum(dtype=np.float64)) / true if true else None


def score_fillings(
    measured: NDArray[Any], gap: NDArray[np.bool_], fillings: Mapping[str, NDArray[Any]], count: int = 4
) -> tuple[dict[str, float | None], list[dict[str, Any]]]:
    """Compare fillings of a gap with the measured counts.

    Parameters
    ----------
    measured
        (z, y, x) counts.
    gap
        (z, y, x), true where the fillings are compared.
    fillings
        (z, y, x) counts by method.
    count
        Number of strata of equal size, by mean counts in the 9^3 voxels around each voxel.

    Returns
    -------
    overall
        Pearson coefficient of ``log(1 + counts)`` by method; None where the measured counts are constant.
    strata
        By rising intensity: ``mean_counts`` per voxel of the gap, ``low`` and ``high`` bounds of the neighbourhood's
        mean, number of ``voxels``, and ``pcc`` by method.
    """
    values = {name: np.maximum(filling[gap], 0) for name, filling in fillings.items()}
    truth = measured[gap]
    around = uniform_filter(measured.astype(np.float64), _NEIGHBOURHOOD, mode="nearest")[gap]
    number = strata(around, count)
    parts = []
    for member in (np.flatnonzero(number == stratum) for stratum in range(count)):
        if len(member):
            parts.append(
                {
                    "mean_counts": float(truth[member].mean()),
                    "low": max(float(around[member].min()), 0.0),
                    "high": max(float(around[member].max()), 0.0),
                    "voxels": len(member),
                    "pcc": _scores(truth[member], {name: value[member] for name, value in values.items()}),
                }
            )
    return _scores(truth, values), parts


def _scores(truth: NDArray[Any], values: Mapping[str, NDArray[Any]]) -> dict[str, float | None]:
    scores = {
        name: pcc(np.log1p(truth)[None], np.log1p(value)[None], np.ones((1, len(truth)), bool)).item()
        for name, value in values.items()
    }
    return {name: score if np.isfinite(score) else None for name, score in scores.items()}
