"""How well a gap is filled, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Variance below which values count as constant, relative to their mean square: rounding of single precision.
_CONSTANT = 1e-12


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that holds it.

    Parameters
    ----------
    mean
        Mean of the scores that are defined, NaN if none is.
    low, high
        Bounds of the confidence interval, NaN with fewer than two clusters.
    n
        Number of scores that are defined.
    """

    mean: float
    low: float
    high: float
    n: int


CLASSES = 20
"""Classes of intensity over which Masto et al. (doi:10.1107/S1600576724004163) average."""


def pcc(truth: NDArray[Any], prediction: NDArray[Any], mask: NDArray[Any]) -> NDArray[np.float64]:
    """Pearson correlation coefficient inside the gaps of a batch.

    Equation 3.1 of M. Masto's thesis (Univ. Grenoble Alpes), which Masto et al. (doi:10.1107/S1600576724004163) use.
    Give ``log(1 + counts)``, as they do, and not the counts, of which the brightest voxel would decide.

    Parameters
    ----------
    truth, prediction
        Arrays of one shape (batch, ...).
    mask
        Array of that shape; true (1) in the gap.

    Returns
    -------
    ndarray
        (batch,) coefficients in [-1, 1]. NaN where the truth is constant in the gap, for example without a single
        count, because no prediction can correlate with it; 0 where only the prediction is constant.
    """
    inside = np.reshape(mask, (len(mask), -1)).astype(bool)
    voxels = np.maximum(inside.sum(axis=1), 1)
    values = [np.where(inside, np.reshape(part, inside.shape), 0).astype(np.float64) for part in (truth, prediction)]
    means = [part.sum(axis=1) / voxels for part in values]
    squares = [(part**2).sum(axis=1) / voxels for part in values]
    a, b = (np.where(inside, part - mean[:, None], 0) for part, mean in zip(values, means, strict=True))
    variances = [(part**2).sum(axis=1) / voxels for part in (a, b)]
    flat_truth, flat_prediction = (v <= _CONSTANT * s for v, s in zip(variances, squares, strict=True))
    scale = np.sqrt(np.where(flat_truth | flat_prediction, 1, variances[0] * variances[1]))
    result = np.where(flat_prediction, 0.0, np.clip((a * b).sum(axis=1) / voxels / scale, -1, 1))
    return np.where(flat_truth, np.nan, result)


def cluster_bootstrap(
    scores: NDArray[np.float64], clusters: NDArray[Any], seed: int, resamples: int = 2000, level: float = 0.95
) -> Interval:
    """Mean of scores with a percentile bootstrap interval that draws whole clusters.

    Patches of one particle resemble each other, so particles are drawn with replacement, not patches; otherwise the
    interval would be too narrow.

    Parameters
    ----------
    scores
        (n,) scores; NaN marks an undefined one, which is left out.
    clusters
        (n,) name of each score's cluster, of any type that sorts.
    seed
        Seed of the drawing.
    resamples
        Number of bootstrap samples.
    level
        Confidence level.
    """
    defined = np.isfinite(scores)
    n = int(defined.sum())
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    names, member = np.unique(clusters[defined], return_inverse=True)
    mean = float(scores[defined].mean())
    if len(names) < 2:
        return Interval(mean, np.nan, np.nan, n)
    sums, sizes = np.bincount(member, scores[defined]), np.bincount(member)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
    means = drawn @ sums / (drawn @ sizes)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), n)


def strata(values: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Number the strata of equal size by rising value.

    Parameters
    ----------
    values
        (n,) values, such as mean counts per voxel.
    count
        Number of strata.

    Returns
    -------
    ndarray
        (n,) numbers from 0; equal values may be split between neighbouring strata, by order.
    """
    rank = np.empty(len(values), np.int64)
    rank[np.argsort(values, kind="stable")] = np.arange(len(values))
    return rank * count // max(len(values), 1)


def class_means(
    scores: NDArray[np.float64], intensity: NDArray[np.float64], classes: int = CLASSES
) -> NDArray[np.float64]:
    """Return the mean score of each class of intensity that holds a score; classes are evenly spaced in its logarithm.

    Parameters
    ----------
    scores
        (n,) scores; NaN marks an undefined one, which is left out.
    intensity
        (n,) summed intensity of each patch.
    classes
        How many classes there are between the lowest and the highest intensity.
    """
    defined = np.isfinite(scores)
    member = _class_of(intensity[defined], classes)
    sums, sizes = np.bincount(member, scores[defined]), np.bincount(member)
    return np.asarray(sums[sizes > 0] / sizes[sizes > 0])


def class_bootstrap(
    scores: NDArray[np.float64],
    intensity: NDArray[np.float64],
    clusters: NDArray[Any],
    seed: int,
    resamples: int = 2000,
) -> Interval:
    """Mean over `CLASSES` classes of intensity, with a 95 % percentile bootstrap interval that draws whole clusters.

    Parameters
    ----------
    scores
        (n,) scores; NaN marks an undefined one, which is left out.
    intensity
        (n,) summed intensity of each patch; the classes are those of all patches, whichever clusters are drawn.
    clusters, seed, resamples
        As for `cluster_bootstrap`.

    Returns
    -------
    Interval
        Of the mean over classes; a class of which no cluster was drawn is left out of that draw.
    """
    defined = np.isfinite(scores)
    n = int(defined.sum())
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(class_means(scores, intensity).mean())
    return _interval(mean, _resampled_means(scores, intensity, clusters, seed, resamples), n)


def removed_share(
    scores: NDArray[np.float64],
    baseline: NDArray[np.float64],
    intensity: NDArray[np.float64],
    clusters: NDArray[Any],
    *,
    seed: int,
    resamples: int = 2000,
) -> Interval:
    """Share of a baseline's error 1 - score that is removed, both means over classes, with its bootstrap interval.

    Parameters
    ----------
    scores, baseline
        (n,) scores of the same patches; patches where either is NaN are left out.
    intensity, clusters, seed, resamples
        As for `class_bootstrap`; both scores are resampled together.
    """
    defined = np.isfinite(scores) & np.isfinite(baseline)
    n = int(defined.sum())
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    errors = [1 - each[defined] for each in (scores, baseline)]
    own, other = (float(class_means(each, intensity[defined]).mean()) for each in errors)
    means = [_resampled_means(each, intensity[defined], clusters[defined], seed, resamples) for each in errors]
    return _interval(1 - own / other, 1 - means[0] / means[1], n)


def _resampled_means(
    scores: NDArray[np.float64], intensity: NDArray[np.float64], clusters: NDArray[Any], seed: int, resamples: int
) -> NDArray[np.float64]:
    """Return means over classes of intensity, as often as clusters are drawn; NaN where there is one cluster."""
    defined = np.isfinite(scores)
    found, member = scores[defined], _class_of(intensity[defined], CLASSES)
    names, cluster = np.unique(clusters[defined], return_inverse=True)
    if len(names) < 2:
        return np.full(resamples, np.nan)
    sums, sizes = np.zeros((2, len(names), CLASSES))
    np.add.at(sums, (cluster, member), found)
    np.add.at(sizes, (cluster, member), 1)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
    total, number = drawn @ sums, drawn @ sizes
    held = number > 0
    means = np.where(held, total / np.where(held, number, 1), 0).sum(axis=1) / held.sum(axis=1)
    return np.asarray(means)


def _interval(value: float, resampled: NDArray[np.float64], n: int) -> Interval:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(value, float(low), float(high), n)


def _class_of(intensity: NDArray[np.float64], classes: int) -> NDArray[np.intp]:
    logs = np.log(np.maximum(intensity, np.finfo(float).tiny))
    return np.digitize(logs, np.linspace(logs.min(), logs.max(), classes + 1)[1:-1])
