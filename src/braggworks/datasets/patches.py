"""Patches: where they are cut, cutting them, and putting them back together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from braggworks.errors import ConfigError

ScalarT = TypeVar("ScalarT", bound=np.generic)

# How often a patch is drawn before the brightest of its draws is taken.
TRIES = 20


def draw_corners(
    shape: tuple[int, ...],
    size: int,
    count: int,
    bias: float,
    rng: np.random.Generator,
    *,
    peak: tuple[int, ...] | None = None,
    legal: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Draw corners of patches whose centres are the denser, the farther they lie from the peak.

    Rejection sampling: a corner that is uniform over all legal ones is kept with probability (r / r_max)^bias, where
    r is the distance between the patch's centre, at index n//2, and the peak.

    Parameters
    ----------
    shape
        Shape of the array, any number of axes.
    size
        Voxels per axis of a patch.
    count
        Number of corners; they are independent, so that one may come twice.
    bias
        Exponent; 0 is uniform.
    rng
        Source of random numbers.
    peak
        Voxel of the peak; n//2 on each axis by default.
    legal
        Which corners may be drawn, true for those; its shape is that of the array less ``size - 1`` on each axis.
        All by default.

    Returns
    -------
    numpy.ndarray
        (count, axes) first indices.

    Raises
    ------
    ConfigError
        If the patch is larger than the array, or no corner is legal.
    """
    check_size(shape, size)
    places = None if legal is None else np.flatnonzero(legal)
    if legal is not None and places is not None and not len(places):
        raise ConfigError(
            f"Every patch of {size} px holds a pixel that was not measured: use a smaller patches.size, or leave this "
            "scan out."
        )
    extent = np.asarray(shape)
    centre = (extent // 2 if peak is None else np.asarray(peak)) - size // 2
    farthest = float(np.linalg.norm(np.maximum(np.abs(centre), np.abs(extent - size - centre))))
    drawn = np.empty((0, len(shape)), np.int64)
    while len(drawn) < count:
        if legal is None or places is None:
            trial = rng.integers(0, extent - size, size=(2 * count + 8, len(shape)), endpoint=True)
        else:
            flat = places[rng.integers(0, len(places), 2 * count + 8)]
            trial = np.stack(np.unravel_index(flat, legal.shape), axis=1)
        chance = np.ones(len(trial))
        if farthest > 0:
            chance = (np.linalg.norm(trial - centre, axis=1) / farthest) ** bias
        drawn = np.concatenate([drawn, trial[rng.random(len(trial)) < chance]])
    return drawn[:count]


def check_size(shape: tuple[int, ...], size: int) -> None:
    """Raise `ConfigError` if a patch is larger than the array."""
    if size > min(shape):
        raise ConfigError(
            f"A patch of {size} px does not fit in an array of {' x '.join(map(str, shape))}: use a smaller patch."
        )


def measured_corners(unmeasured: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Return at which corners a patch holds no unmeasured voxel.

    Parameters
    ----------
    unmeasured
        True where nothing was measured, any number of axes.
    size
        Voxels per axis of a patch.

    Returns
    -------
    numpy.ndarray
        Boolean array, ``size - 1`` shorter than `unmeasured` on each axis.

    Raises
    ------
    ConfigError
        If the patch is larger than the array.
    """
    check_size(unmeasured.shape, size)
    found = unmeasured
    for axis in range(found.ndim):
        along = np.moveaxis(found, axis, 0)
        sums = np.zeros((len(along) + 1, *along.shape[1:]), np.int32)
        np.cumsum(along, axis=0, out=sums[1:])
        found = np.moveaxis(sums[size:] > sums[:-size], 0, axis)
    return ~found


def extract(array: NDArray[ScalarT], corners: NDArray[np.integer], size: int) -> NDArray[ScalarT]:
    """Cut cubes out of an array.

    Parameters
    ----------
    array
        Array of any number of axes.
    corners
        (K, axes) first indices.
    size
        Voxels per axis of a patch.

    Returns
    -------
    numpy.ndarray
        (K, size, ...) copies, of the array's type.
    """
    cubes: NDArray[ScalarT] = sliding_window_view(array, (size,) * array.ndim)[tuple(np.asarray(corners).T)]
    return cubes


def choose_corners(
    counts: NDArray[np.unsignedinteger],
    size: int,
    count: int,
    *,
    bias: float,
    minimum: int,
    rng: np.random.Generator,
    peak: tuple[int, ...] | None = None,
    unmeasured: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Draw corners of patches that hold enough counts.

    A patch with fewer than `minimum` counts is drawn again, `TRIES` times in all; where even that finds none with
    enough counts, the brightest of the draws is taken, so that every pattern gives the same number of patches.

    Parameters
    ----------
    counts
        Counts, any number of axes.
    size
        Voxels per axis of a patch.
    count
        Number of patches.
    bias
        See `draw_corners`.
    minimum
        Fewest counts in a patch.
    rng
        Source of random numbers.
    peak
        See `draw_corners`.
    unmeasured
        True where nothing was measured; no patch holds such a voxel. None where there is none.

    Returns
    -------
    numpy.ndarray
        (count, axes) first indices; all 0 where the patch is the whole array.

    Raises
    ------
    ConfigError
        If the patch is larger than the array, or every patch holds an unmeasured voxel.
    """
    if (size,) * counts.ndim == counts.shape and unmeasured is None:
        return np.zeros((count, counts.ndim), np.int64)
    legal = None if unmeasured is None else measured_corners(unmeasured, size)
    corners = draw_corners(counts.shape, size, count, bias, rng, peak=peak, legal=legal)
    light = _patch_sums(counts, corners, size)
    for _ in range(TRIES - 1):
        dim = np.flatnonzero(light < minimum)
        if not len(dim):
            break
        trial = draw_corners(counts.shape, size, len(dim), bias, rng, peak=peak, legal=legal)
        trial_light = _patch_sums(counts, trial, size)
        better = trial_light > light[dim]
        corners[dim[better]] = trial[better]
        light[dim[better]] = trial_light[better]
    return corners


def covering_corners(shape: tuple[int, ...], size: int, stride: int) -> NDArray[np.int64]:
    """Return the corners of a regular grid of patches that covers the array, the last ones flush with its edges.

    Parameters
    ----------
    shape
        Shape of the array.
    size
        Voxels per axis of a patch; no axis of the array may be shorter.
    stride
        Step between patches, in voxels, at most `size`.

    Returns
    -------
    numpy.ndarray
        (K, axes) first indices, in C order.
    """
    steps = [np.unique(np.append(np.arange(0, n - size, stride), n - size)) for n in shape]
    return np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, len(shape))


def stitch(
    patches: Iterable[NDArray[np.number]],
    corners: NDArray[np.integer],
    shape: tuple[int, ...],
    weights: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Put patches back together; where they overlap, average them.

    Parameters
    ----------
    patches
        K patches, each of `size` voxels per axis; may be a generator, so that they need not all be in memory.
    corners
        (K, axes) first indices.
    shape
        Shape of the array.
    weights
        Positive weight of each voxel of a patch, of the patch's shape; all 1 by default.

    Returns
    -------
    numpy.ndarray
        Weighted mean, float64; NaN where no patch lies.
    """
    total = np.zeros(shape)
    weight = np.zeros(shape)
    for patch, corner in zip(patches, np.asarray(corners).tolist(), strict=True):
        window = tuple(slice(first, first + n) for first, n in zip(corner, patch.shape, strict=True))
        share = np.ones(patch.shape) if weights is None else weights
        total[window] += np.multiply(share, patch)
        weight[window] += share
    mean = np.full(shape, np.nan)
    np.divide(total, weight, out=mean, where=weight > 0)
    return mean


def _patch_sums(counts: NDArray[np.unsignedinteger], corners: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    # Patch by patch: the copies of all of them need not be in memory at once.
    cubes = sliding_window_view(counts, (size,) * counts.ndim)
    return np.array([cubes[tuple(corner)].sum(dtype=np.int64) for corner in corners.tolist()], np.int64)
