"""Sweeps: one score over one axis, for the network and for the interpolations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from braggworks.datasets.gaps import BORDER_PX, vertical_gap
from braggworks.errors import ConfigError
from braggworks.evaluation.metrics import cluster_bootstrap, pcc, strata
from braggworks.inpainting.interpolation import Method, interpolate_batch
from braggworks.inpainting.whole_scan import Fill

# Patches filled at once; bounds the memory, not the result.
_BATCH = 64
PCC_ATTRIBUTES = {"units": "1", "long_name": "Pearson correlation of log(1 + counts) inside the gap"}


@dataclass(frozen=True)
class Patches:
    """Held-out patches without gaps.

    Parameters
    ----------
    counts
        (n, p, p, p) counts, axes (z, y, x); (n, 1, p, p) where patches have two dimensions.
    particle
        (n,) index of the particle in its campaign.
    campaign
        (n,) name of the campaign.
    oversampling
        (n,) smallest oversampling ratio of the pattern's axes; 0 for measured scans.
    """

    counts: NDArray[Any]
    particle: NDArray[Any]
    campaign: NDArray[Any]
    oversampling: NDArray[Any]

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def mean_counts(self) -> NDArray[np.float64]:
        """Mean counts per voxel of each patch."""
        return np.asarray(self.counts.mean(axis=(1, 2, 3), dtype=np.float64))

    @property
    def cluster(self) -> NDArray[np.str_]:
        """Name of each patch's particle."""
        names = [f"{campaign}/{index}" for campaign, index in zip(self.campaign, self.particle, strict=True)]
        return np.array(names, dtype=np.str_)


def centre_gap(shape: tuple[int, ...], width: int) -> NDArray[np.bool_]:
    """Return the mask of a vertical gap in the centre of a patch (z, y, x), normal to the last axis.

    Raises
    ------
    ConfigError
        If the gap leaves fewer than two measured voxels on a side.
    """
    size = shape[-1]
    if not 1 <= width <= size - 2 * BORDER_PX:
        raise ConfigError(
            f"evaluation.gap_widths_px holds {width}, which leaves no measured border in a patch of {size} px: "
            f"use 1 to {size - 2 * BORDER_PX}."
        )
    return vertical_gap(shape, (size - width) // 2, width)


def interpolation(method: Method) -> Fill:
    """Return an interpolation of ``log(1 + counts)`` as a function from counts to counts, never below 0."""

    def fill(counts: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.floating[Any]]:
        return np.expm1(np.maximum(interpolate_batch(np.log1p(counts), mask, method), 0))

    return fill


def fill_gap(counts: NDArray[Any], gap: NDArray[np.bool_], fill: Fill) -> NDArray[np.float32]:
    """Fill one gap in every patch of a batch, without showing what it hides.

    Parameters
    ----------
    counts
        (batch, p, p, p) true counts.
    gap
        (p, p, p) mask.
    fill
        What fills it.
    """
    mask = np.broadcast_to(gap, counts.shape)
    return np.asarray(fill(np.where(mask, 0, counts).astype(np.float32), mask.copy()), dtype=np.float32)


def score_gap_widths(
    counts: NDArray[Any],
    fills: Mapping[str, Fill],
    widths: Sequence[int],
    progress: Callable[[int], object] = lambda patches: None,
) -> xr.DataArray:
    """Score every method at every gap width on every patch.

    Parameters
    ----------
    counts
        (n, p, p, p) counts without gaps.
    fills
        Methods by name.
    widths
        Gap widths, in pixels.
    progress
        Called with the number of patches just scored.

    Returns
    -------
    xarray.DataArray
        Pearson coefficients of ``log(1 + counts)`` in the gap, by (method, gap_width, patch); see `pcc` for NaN.
    """
    scores = np.full((len(fills), len(widths), len(counts)), np.nan)
    for column, width in enumerate(widths):
        gap = centre_gap(counts.shape[1:], width)
        for start in range(0, len(counts), _BATCH):
            part = slice(start, start + _BATCH)
            truth = np.log1p(counts[part].astype(np.float32))[:, gap]
            for row, fill in enumerate(fills.values()):
                filled = np.log1p(np.maximum(fill_gap(counts[part], gap, fill)[:, gap], 0))
                scores[row, column, part] = pcc(truth, filled, np.ones(truth.shape, bool))
            progress(len(truth))
    coords = {"method": list(fills), "gap_width": ("gap_width", list(widths), {"units": "px"})}
    return xr.DataArray(scores, coords, ("method", "gap_width", "patch"), attrs=PCC_ATTRIBUTES)


def gap_width_dataset(patches: Patches, scores: xr.DataArray, count: int, seed: int) -> xr.Dataset:
    """Describe and summarise the scores of `score_gap_widths`.

    Parameters
    ----------
    patches
        What was scored.
    scores
        Coefficients by (method, gap_width, patch).
    count
        Number of strata by mean counts.
    seed
        Seed of the bootstrap.

    Returns
    -------
    xarray.Dataset
        ``pcc`` by (method, gap_width, patch); ``mean``, ``low`` and ``high`` by (method, gap_width), and the same with
        the prefix ``stratum_`` by (method, gap_width, stratum), with 95 % intervals over particles; ``scored``, the
        number of patches whose gap is not constant, by gap_width, and ``stratum_scored``.
    """
    mean_counts, cluster = patches.mean_counts, patches.cluster
    stratum = strata(mean_counts, count)
    members = [np.flatnonzero(stratum == number) for number in range(count)]
    per_voxel = {"units": "counts per voxel"}
    data = scores.to_dataset(name="pcc").assign_coords(
        patch=np.arange(len(patches)),
        mean_counts=("patch", mean_counts, per_voxel),
        particle=("patch", np.asarray(patches.particle)),
        campaign=("patch", np.asarray(patches.campaign, dtype=object)),
        oversampling=("patch", np.asarray(patches.oversampling, dtype=np.float64), {"units": "1"}),
        patch_stratum=("patch", stratum),
        stratum=np.arange(count),
        stratum_mean_counts=("stratum", [_mean(mean_counts[member]) for member in members], per_voxel),
    )
    dims = ("method", "gap_width", "stratum")
    whole = _summarise(scores.values, cluster, seed)
    parts = np.stack([_summarise(scores.values[..., member], cluster[member], seed) for member in members], axis=-1)
    for prefix, summary in (("", whole), ("stratum_", parts)):
        kept = dims[: summary.ndim - 1]
        for name, values in zip(("mean", "low", "high"), summary, strict=False):
            data[prefix + name] = (kept, values, PCC_ATTRIBUTES)
        data[prefix + "scored"] = (kept[1:], summary[3, 0].astype(np.int64), {"units": "patches"})
    return data.assign_attrs(seed=seed, n=len(patches), particles=len(np.unique(cluster)), interval="95 %")


def _summarise(scores: NDArray[np.float64], cluster: NDArray[np.str_], seed: int) -> NDArray[np.float64]:
    """Return mean, low, high and n, each by (method, width)."""
    result = np.empty((4, *scores.shape[:2]))
    for row, column in np.ndindex(*scores.shape[:2]):
        found = cluster_bootstrap(scores[row, column], cluster, seed)
        result[:, row, column] = found.mean, found.low, found.high, found.n
    return result


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
