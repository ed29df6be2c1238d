"""How good reciprocal-space phases are, and the objects that they give.

Arrays of one pattern or object are (z, y, x) or (y, x), the peak and the centre at voxel n // 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from braggworks.evaluation.metrics import cluster_bootstrap
from braggworks.phase_losses import Weighting, weighted_coherent_average
from braggworks.phasing.alignment import align, correlation, likeness
from braggworks.phasing.objects import object_of

Complex = NDArray[np.complexfloating[Any, Any]]
Phases = Callable[[NDArray[Any]], NDArray[np.float32]]

SUCCESS = 0.9
"""Overlap with the true object from which on a reconstruction counts as found."""

WEIGHTINGS: tuple[Weighting, ...] = ("amplitude", "log_intensity")

_SCORES = {
    "wca": "1 - |mean of exp(i difference)|, weighted by the root of the counts",
    "wca_log_intensity": "1 - |mean of exp(i difference)|, weighted by log(1 + counts)",
    "accuracy": "mean of the moduli's correlation and the phases' coherence (thesis, equation 4.5)",
    "likeness": "normalised overlap with the true object",
    "isotropy": "share of the amplitude that is coherent in shells of equal |q|",
}


class ObjectScore(NamedTuple):
    """How alike an object is to the true one, the better of it and its twin, moved by parts of voxels.

    ``accuracy``, in percent, is that of Masto's thesis, equation 4.5: the mean of Pearson's coefficient of the moduli
    and of |sum m exp(i difference)| / sum m, m being the found modulus. ``likeness`` is |<a, b>| / (|a| |b|).
    """

    accuracy: float
    likeness: float


class Patterns(NamedTuple):
    """Held-out patterns with their phase: (n, z, y, x) each, and their values, (n,) each."""

    counts: NDArray[Any]
    phase: NDArray[np.float32]
    values: Mapping[str, NDArray[Any]]

    @property
    def cluster(self) -> NDArray[np.str_]:
        """Name of each pattern's particle."""
        names = zip(self.values["campaign"], self.values["particle"], strict=True)
        return np.array([f"{campaign}/{index}" for campaign, index in names], dtype=np.str_)


def score_object(found: Complex, truth: Complex) -> ObjectScore:
    """Compare an object with the true one."""
    moved = align(found, truth)
    modulus, turn = np.abs(moved), np.exp(1j * (np.angle(truth) - np.angle(moved)))
    coherence = float(abs((modulus * turn).sum()) / modulus.sum())
    pcc = correlation(modulus, np.abs(truth))
    return ObjectScore(50 * (pcc + coherence), likeness(moved, truth))


def score_phase(
    phase: NDArray[Any], truth: NDArray[Any], counts: NDArray[Any], weighting: Weighting = "amplitude"
) -> float:
    """Return the weighted coherent average loss of one pattern's phase; see `weighted_coherent_average`."""
    found, true, weight = (
        torch.from_numpy(np.ascontiguousarray(part, np.float32))[None, None] for part in (phase, truth, counts)
    )
    return float(weighted_coherent_average(found, true, weight, weighting))


def isotropy(phase: NDArray[Any], counts: NDArray[Any]) -> float:
    """Return how far surfaces of equal phase are spheres: sum over shells of |sum w exp(i phase)|, over the sum of w.

    Shells of |q| are a voxel thick, and w is the root of the counts: 1 for a phase of |q| alone, near 0 for others.
    """
    grids = np.meshgrid(*(np.arange(n) - n // 2 for n in counts.shape), indexing="ij", sparse=True)
    shell = np.sqrt(sum(grid**2 for grid in grids)).round().astype(np.int64).ravel()
    weight = np.sqrt(np.asarray(counts, np.float64)).ravel()
    real, imaginary = (np.bincount(shell, weight * turn(phase).ravel()) for turn in (np.cos, np.sin))
    return float(np.hypot(real, imaginary).sum() / weight.sum())


def score_phases(
    patterns: Patterns, methods: Mapping[str, Phases], progress: Callable[[int], object] = lambda patterns: None
) -> xr.Dataset:
    """Score what methods find for each pattern.

    Parameters
    ----------
    patterns
        What is phased.
    methods
        From counts (n, z, y, x) to phases, by name.
    progress
        Called with the number of patterns just scored.

    Returns
    -------
    xarray.Dataset
        ``wca``, ``wca_log_intensity``, ``accuracy``, ``likeness`` and ``isotropy`` by (method, pattern),
        ``true_isotropy`` by pattern, and the patterns' values.
    """
    scores = np.full((len(_SCORES), len(methods), len(patterns.counts)), np.nan)
    true_isotropy = np.empty(len(patterns.counts))
    for number, (counts, truth) in enumerate(zip(patterns.counts, patterns.phase, strict=True)):
        true_object = object_of(counts, truth)
        for row, find in enumerate(methods.values()):
            phase = find(counts[None])[0]
            losses = [score_phase(phase, truth, counts, weighting) for weighting in WEIGHTINGS]
            found = score_object(object_of(counts, phase), true_object)
            scores[:, row, number] = *losses, *found, isotropy(phase, counts)
        true_isotropy[number] = isotropy(truth, counts)
        progress(1)
    data = xr.Dataset(
        {
            name: (("method", "pattern"), values, {"units": "%" if name == "accuracy" else "1", "long_name": about})
            for (name, about), values in zip(_SCORES.items(), scores, strict=True)
        },
        {"method": list(methods), "pattern": np.arange(len(patterns.counts))},
    )
    data["true_isotropy"] = ("pattern", true_isotropy, {"units": "1"})
    kept: dict[str, Any] = {name: ("pattern", np.asarray(values)) for name, values in patterns.values.items()}
    return data.assign_coords(kept | {"cluster": ("pattern", patterns.cluster.astype(object))})


def with_summary(data: xr.Dataset, seed: int) -> xr.Dataset:
    """Add ``mean``, ``low`` and ``high`` of each score by method: 95 % intervals over particles."""
    cluster = data["cluster"].values.astype(np.str_)
    for name in _SCORES:
        found = [cluster_bootstrap(row, cluster, seed) for row in data[name].values]
        for part in ("mean", "low", "high"):
            data[f"{name}_{part}"] = ("method", [getattr(each, part) for each in found], data[name].attrs)
    particles = len(np.unique(cluster))
    return data.assign_attrs(kind="phases", seed=seed, n=data.sizes["pattern"], particles=particles, interval="95 %")
