"""Accuracy against the place of a gap in a pattern, and against the pattern's oversampling."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from braggworks.datasets.gaps import BORDER_PX, vertical_gap
from braggworks.errors import ConfigError
from braggworks.evaluation.metrics import cluster_bootstrap, pcc
from braggworks.evaluation.sweeps import PCC_ATTRIBUTES, Patches, fill_gap
from braggworks.inpainting.whole_scan import Fill, Progress

# Patterns filled at once; bounds the memory, not the result.
_BATCH = 16
# Classes of the oversampling ratio, of equally many patterns each.
_CLASSES = 6


def gap_starts(size: int, width: int, step: int) -> NDArray[np.int64]:
    """Return the first pixels of gaps across `size` pixels, the same on both sides of the centre.

    Raises
    ------
    ConfigError
        If no gap of this width has measured pixels on both sides.
    """
    room = size - 2 * BORDER_PX - width
    if room < 0:
        raise ConfigError(
            f"A gap of {width} px leaves no measured border in samples of {size} px: make the sweep's gap_px smaller."
        )
    first = BORDER_PX + room % step // 2
    return np.arange(first, size - BORDER_PX - width + 1, step)


def score_positions(
    patches: Patches,
    fills: Mapping[str, Fill],
    *,
    width: int,
    step: int,
    seed: int,
    progress: Progress = lambda patches: None,
) -> xr.Dataset:
    """Score every method with the gap at every place.

    Parameters
    ----------
    patches
        Held-out samples, best whole patterns with the peak in their centre.
    fills
        Methods by name.
    width, step
        Width of the gap, and the step between its places, in pixels.
    seed
        Seed of the bootstrap.
    progress
        Called with the number of samples just scored.

    Returns
    -------
    xarray.Dataset
        ``pcc`` by (method, position, patch), where a position is that of the gap's centre, counted from the sample's;
        ``mean``, ``low``, ``high`` by (method, position); and ``ratio_mean``, ``ratio_low``, ``ratio_high`` by (method,
        ratio), over classes of the oversampling ratio. Intervals of 95 % are bootstrapped over particles.
    """
    size = patches.counts.shape[-1]
    starts = gap_starts(size, width, step)
    scores = np.full((len(fills), len(starts), len(patches)), np.nan)
    for column, start in enumerate(starts):
        gap = vertical_gap(patches.counts.shape[1:], int(start), width)
        for first in range(0, len(patches), _BATCH):
            part = slice(first, first + _BATCH)
            truth = np.log1p(patches.counts[part].astype(np.float32))[:, gap]
            for row, fill in enumerate(fills.values()):
                filled = np.log1p(np.maximum(fill_gap(patches.counts[part], gap, fill)[:, gap], 0))
                scores[row, column, part] = pcc(truth, filled, np.ones(truth.shape, bool))
            progress(len(truth))
    position = starts + (width - 1) / 2 - (size - 1) / 2
    return _summary(scores, list(fills), position, patches, seed).assign_attrs(gap_px=width)


def _summary(
    scores: NDArray[np.float64], methods: list[str], position: NDArray[np.float64], patches: Patches, seed: int
) -> xr.Dataset:
    order = np.argsort(patches.oversampling, kind="stable")
    classes = [part for part in np.array_split(order, _CLASSES) if len(part)]
    data = xr.Dataset(
        {"pcc": (("method", "position", "patch"), scores, PCC_ATTRIBUTES)},
        {
            "method": methods,
            "position": ("position", position, {"units": "px", "long_name": "gap's centre from the pattern's"}),
            "ratio": ("ratio", [float(patches.oversampling[part].mean()) for part in classes], {"units": "1"}),
            "oversampling": ("patch", np.asarray(patches.oversampling, np.float64), {"units": "1"}),
        },
    )
    cluster = patches.cluster
    at_place = np.array([[_interval(row, cluster, seed) for row in method] for method in scores])
    # A pattern's score is its mean over the places where there was something to tell.
    defined = np.isfinite(scores)
    of_pattern = np.where(defined.any(axis=1), np.nansum(scores, axis=1) / np.maximum(defined.sum(axis=1), 1), np.nan)
    of_ratio = np.array([[_interval(row[part], cluster[part], seed) for part in classes] for row in of_pattern])
    for number, name in enumerate(("mean", "low", "high")):
        data[name] = (("method", "position"), at_place[..., number], PCC_ATTRIBUTES)
        data[f"ratio_{name}"] = (("method", "ratio"), of_ratio[..., number], PCC_ATTRIBUTES)
    return data.assign_attrs(kind="position", seed=seed, n=len(patches), particles=len(np.unique(cluster)))


def _interval(scores: NDArray[np.float64], cluster: NDArray[np.str_], seed: int) -> tuple[float, float, float]:
    found = cluster_bootstrap(scores, cluster, seed)
    return found.mean, found.low, found.high
