"""A linear predictor that is fitted to the scan itself: each gap voxel from measured ones on both sides of the gap.

The weights come from ridge regression on places of the same scan where a gap of the same width would have hidden
measured voxels, so that they know the scan's fringes and noise. How many voxels it looks at, and how strong the ridge
is, is chosen on places that it was not fitted to. It is a Wiener filter whose covariances are estimated from the data
(N. Wiener, Extrapolation, Interpolation, and Smoothing of Stationary Time Series, MIT Press, 1949).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from braggworks.inpainting.interpolation import interpolate
from braggworks.inpainting.slabs import Slab, find_slabs
from braggworks.seeds import generator

Float = NDArray[np.floating[Any]]
Bool = NDArray[np.bool_]

# Planes on each side of the gap, and half the edge of the neighbourhood within a plane; each lies within the next.
SIZES = ((4, 2), (5, 2), (6, 3), (6, 5))
RIDGES = (1e-2, 1e-1, 1.0)  # share of the mean variance of a neighbour
_PLACES = 40_000  # to fit to
_HELD_OUT = 0.25  # of them, to choose on
_BLOCK = 5_000  # places looked at together


@dataclass(frozen=True)
class Predictor:
    """Weights from what lies around a gap to the gap.

    Parameters
    ----------
    planes, half
        One of `SIZES`.
    weights
        (2 planes * (2 half + 1)^2, width), of neighbours less their mean over the smallest of `SIZES`: planes, then
        the neighbourhood within a plane.
    """

    planes: int
    half: int
    weights: Float

    def __call__(self, sides: Float) -> Float:
        """Return (places, width) from the neighbours, (places, 2 planes, edge, edge)."""
        flat, mean = _centred(sides)
        return flat @ self.weights + mean


Predictors = dict[tuple[int, int], Predictor | None]
"""By the axis that a slab is normal to and its width; None where there is too little room to fit to."""


def fit_predictors(values: Float, mask: Bool) -> Predictors:
    """Return a predictor for the slabs of a mask; parameters as for `predict_gaps`."""
    filled, found = interpolate(values, mask, "linear"), Predictors()
    for slab in find_slabs(mask):
        room = min(slab.start, mask.shape[slab.axis] - slab.stop)
        view, hidden = np.moveaxis(filled, slab.axis, 2), np.moveaxis(mask, slab.axis, 2)
        found[slab.axis, slab.width] = fit_predictor(view, hidden, slab.width, room)
    return found


def predict_gaps(values: Float, mask: NDArray[Any], predictors: Predictors | None = None) -> Float:
    """Fill the slabs of a scan's mask by a linear predictor that is fitted to the same scan.

    Parameters
    ----------
    values
        Array (z, y, x), in practice ``log(1 + counts)``; its content under the mask is not looked at.
    mask
        Array of the same shape; true (1) where nothing was measured.
    predictors
        Those of `fit_predictors`, where they are at hand.

    Returns
    -------
    ndarray
        Filled copy of `values`; measured voxels are unchanged. Where the scan has too little room to fit to, the gap
        holds its linear interpolation.
    """
    gap = np.asarray(mask, dtype=bool)
    filled = interpolate(values, gap, "linear")
    if not gap.any():
        return filled
    known = fit_predictors(values, gap) if predictors is None else predictors
    slabs = sorted(find_slabs(gap), key=lambda slab: slab.width)
    crossed = np.zeros(gap.shape, np.int8)
    for slab in slabs:
        crossed[slab.where] += 1
    # Where gaps cross, their arms are filled first, so that they can be seen.
    for depth in (1, 2, 3):
        found = filled.copy()
        for slab in slabs:
            predictor, room = known[slab.axis, slab.width], min(slab.start, gap.shape[slab.axis] - slab.stop)
            if predictor is not None and predictor.planes <= room:
                new = crossed[slab.where] == depth
                found[slab.where][new] = _predict(filled, slab, predictor)[new]
                crossed[slab.where][new] = 0
        filled = found
    return filled


def fit_predictor(view: Float, hidden: Bool, width: int, room: int) -> Predictor | None:
    """Fit to places where all that is looked at is measured.

    Parameters
    ----------
    view, hidden
        Array whose last axis crosses the gap, and true where nothing was measured.
    width
        Of the gap, in planes.
    room
        Most planes that there are on either side of the gap.

    Returns
    -------
    Predictor or None
        None where there are too few places.
    """
    sizes = [size for size in SIZES if size[0] <= room]
    while sizes and (places := _places(hidden, width, *sizes[-1])) is None:
        sizes.pop()
    if not sizes or places is None:
        return None
    chosen = generator("linear predictor", width, len(places)).permutation(places)[:_PLACES]
    number = int(len(chosen) * _HELD_OUT)
    held, fitted = (_moments(view, np.sort(part), width, *sizes[-1]) for part in (chosen[:number], chosen[number:]))
    tried = [
        (_error(held, weights, inside), size, ridge)
        for size in sizes
        for ridge in RIDGES
        for inside in [_inside(size, sizes[-1])]
        for weights in [_solve(fitted, inside, ridge)]
    ]
    _, size, ridge = min(tried)
    every = Moments(*(a + b for a, b in zip(held, fitted, strict=True)))
    return Predictor(*size, _solve(every, _inside(size, sizes[-1]), ridge).astype(view.dtype))


class Moments(NamedTuple):
    """Sums over places of products of neighbours, of neighbours and targets, and of squared targets."""

    neighbours: Float
    cross: Float
    targets: Float


def _moments(view: Float, places: NDArray[np.intp], width: int, planes: int, half: int) -> Moments:
    edge, span = 2 * half + 1, 2 * planes + width
    windows = sliding_window_view(view, (edge, edge, span))
    number = 2 * planes * edge * edge
    total = Moments(np.zeros((number, number)), np.zeros((number, width)), np.zeros(width))
    for begin in range(0, len(places), _BLOCK):
        found = windows[np.unravel_index(places[begin : begin + _BLOCK], windows.shape[:3])].astype(np.float64)
        sides = np.concatenate([found[..., :planes], found[..., planes + width :]], axis=3)
        flat, mean = _centred(np.moveaxis(sides, 3, 1))
        targets = found[:, half, half, planes : planes + width] - mean
        parts = (flat.T @ flat, flat.T @ targets, (targets**2).sum(axis=0))
        total = Moments(*(a + b for a, b in zip(total, parts, strict=True)))
    return total


def _centred(sides: Float) -> tuple[Float, Float]:
    """Return neighbours less their mean over the smallest of `SIZES`, flat, and that mean."""
    planes, half = SIZES[0]
    cut, off = sides.shape[1] // 2 - planes, sides.shape[2] // 2 - half
    middle = slice(off, sides.shape[2] - off)
    mean = sides[:, cut : sides.shape[1] - cut, middle, middle].mean(axis=(1, 2, 3))[:, None]
    return sides.reshape(len(sides), -1) - mean, mean


def _inside(size: tuple[int, int], largest: tuple[int, int]) -> NDArray[np.intp]:
    """Return where the neighbours of a size are among those of the largest."""
    numbers = np.arange(2 * largest[0] * (2 * largest[1] + 1) ** 2)
    cut, off = largest[0] - size[0], largest[1] - size[1]
    edge = 2 * largest[1] + 1
    cube = numbers.reshape(2 * largest[0], edge, edge)
    return cube[cut : 2 * largest[0] - cut, off : edge - off, off : edge - off].ravel()


def _solve(moments: Moments, inside: NDArray[np.intp], ridge: float) -> Float:
    normal = moments.neighbours[np.ix_(inside, inside)]
    normal[np.diag_indices_from(normal)] += ridge * np.trace(normal) / len(normal) + np.finfo(float).tiny
    solved: Float = np.linalg.solve(normal, moments.cross[inside])
    return solved


def _error(moments: Moments, weights: Float, inside: NDArray[np.intp]) -> float:
    """Return the squared error of weights."""
    squares = (weights * (moments.neighbours[np.ix_(inside, inside)] @ weights)).sum()
    return float(squares - 2 * (weights * moments.cross[inside]).sum() + moments.targets.sum())


def _predict(filled: Float, slab: Slab, predictor: Predictor) -> Float:
    """Return the slab's voxels, in the order of the array's axes."""
    view, stop = np.moveaxis(filled, slab.axis, 2), slab.start + slab.width
    planes, half = predictor.planes, predictor.half
    sides = np.concatenate([view[..., slab.start - planes : slab.start], view[..., stop : stop + planes]], axis=2)
    padded = np.pad(sides, ((half, half), (half, half), (0, 0)), mode="edge")
    windows = sliding_window_view(padded, (2 * half + 1, 2 * half + 1), axis=(0, 1))
    predicted = np.concatenate([predictor(row) for row in windows])
    return np.moveaxis(predicted.reshape(*view.shape[:2], slab.width), 2, slab.axis)


def _places(hidden: Bool, width: int, planes: int, half: int) -> NDArray[np.intp] | None:
    """Return flat numbers of the windows in which nothing is masked, or None where they are too few to fit to."""
    edge = 2 * half + 1
    window = (edge, edge, 2 * planes + width)
    if any(length > size for length, size in zip(window, hidden.shape, strict=True)):
        return None
    places = np.flatnonzero(_all_free(hidden, window))
    return places if len(places) >= 8 * edge * edge * planes else None


def _all_free(hidden: Bool, window: tuple[int, int, int]) -> Bool:
    """Return, for every place of the window, whether nothing in it is masked."""
    total = np.pad(hidden.astype(np.int32), ((1, 0), (1, 0), (1, 0))).cumsum(0).cumsum(1).cumsum(2)
    for axis, length in enumerate(window):
        total = np.take(total, range(length, total.shape[axis]), axis) - np.take(
            total, range(total.shape[axis] - length), axis
        )
    return np.asarray(total == 0)
