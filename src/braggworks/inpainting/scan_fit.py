"""The plane network's predictions, corrected by what the scan itself shows about their errors.

Where a slab as wide as the gap would have hidden measured voxels, the network fills it, and how the truth differs from
that is regressed on the prediction and on the planes beside the slab, in the neighbourhood of each line. The ridge is
the one that does best on places left out (Hoerl and Kennard, Technometrics 12, 55 (1970),
10.1080/00401706.1970.10488634); where no correction helps, there is none. Without the network it would be the linear
predictor of `braggworks.inpainting.linear_predictor`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from braggworks.inpainting.slab_inpainter import SlabInpainter
from braggworks.inpainting.slabs import Part, Slab, find_slabs
from braggworks.inpainting.whole_scan import Inpainted, Progress
from braggworks.seeds import generator

Float = NDArray[np.floating[Any]]
Bool = NDArray[np.bool_]

PLANES, HALF = 6, 2
"""What the correction sees: planes on each side of the slab, and half the edge of its neighbourhood in each."""

PLACES = 32
"""Places to learn from, at most."""

_WINDOWS = (64, 32, 16)  # edges of a place in pixels, along both axes of the plane
_DRAWS = 1000
_FOLDS = 4
_NEAR = 24.0  # planes over which places lose weight with their distance from the gap
_RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, math.inf)
_ROWS = 64


class _Sums(NamedTuple):
    """Sums over lines: features with features, features with errors, and squared errors."""

    features: Float
    products: Float
    squares: float

    def plus(self, other: _Sums) -> _Sums:
        return _Sums(self.features + other.features, self.products + other.products, self.squares + other.squares)

    def minus(self, other: _Sums) -> _Sums:
        return _Sums(self.features - other.features, self.products - other.products, self.squares - other.squares)


def correct(
    inpainter: SlabInpainter, found: Inpainted, mask: Bool, progress: Progress = lambda slabs: None
) -> Inpainted:
    """Return a scan whose slabs are corrected; measured voxels, and those where gaps cross, stay as they are.

    Parameters
    ----------
    inpainter
        What filled the scan.
    found
        The filled scan.
    mask
        (z, y, x), true where nothing was measured.
    progress
        Called with 1 after each slab.
    """
    counts = found.counts.copy()
    slabs = find_slabs(mask)
    crossed = np.zeros(mask.shape, np.uint8)
    for slab in slabs:
        crossed[slab.where] += 1
    for slab in slabs:
        weights = _fit(inpainter, found.counts, mask, slab)
        if weights is not None:
            alone = np.moveaxis(crossed, slab.axis, 2)[..., slab.start : slab.start + slab.width] == 1
            view = np.moveaxis(counts, slab.axis, 2)[..., slab.start : slab.start + slab.width]
            seen = np.moveaxis(found.counts, slab.axis, 2)
            for first in range(0, len(view), _ROWS):
                rows = slice(first, first + _ROWS)
                guess = np.log1p(seen[rows, :, slab.start : slab.start + slab.width], dtype=np.float64)
                better = guess.reshape(-1, slab.width) + _features(seen, guess, rows, slice(None), slab) @ weights
                filled = np.expm1(np.maximum(better, 0)).reshape(guess.shape)
                view[rows] = np.where(alone[rows], filled, view[rows])
        progress(1)
    return replace(found, counts=counts)


def _fit(inpainter: SlabInpainter, counts: NDArray[Any], mask: Bool, slab: Slab) -> Float | None:
    """Return weights (features, width); None where the scan has too few places to learn from, or nothing is learned."""
    view, folds = np.moveaxis(counts, slab.axis, 2), []
    for number, (start, rows, columns) in enumerate(_places(np.moveaxis(mask, slab.axis, 2), slab)):
        place = Slab(slab.axis, start, slab.width)
        guess = _predicted(inpainter, counts, place, rows, columns)
        features = _features(view, guess, rows, columns, place)
        truth = np.log1p(view[rows, columns, start : start + slab.width], dtype=np.float64)
        errors = (truth - guess).reshape(len(features), -1)
        sums = _Sums(features.T @ features, features.T @ errors, float((errors**2).sum()))
        if number < _FOLDS:
            folds.append(sums)
        else:
            folds[number % _FOLDS] = folds[number % _FOLDS].plus(sums)
    if len(folds) < _FOLDS:
        return None
    whole = folds[0].plus(folds[1]).plus(folds[2]).plus(folds[3])

    def left(ridge: float) -> float:
        return sum(_left(fold, _solve(whole.minus(fold), ridge)) for fold in folds)

    best = min(_RIDGES, key=left)
    return None if math.isinf(best) else _solve(whole, best)


def _left(sums: _Sums, weights: Float) -> float:
    """Return the sum of squared errors that weights leave."""
    return (
        sums.squares - 2 * float((weights * sums.products).sum()) + float((weights * (sums.features @ weights)).sum())
    )


def _solve(sums: _Sums, ridge: float) -> Float:
    if math.isinf(ridge):
        return np.zeros_like(sums.products)
    normal = sums.features.copy()
    normal[np.diag_indices_from(normal)] += ridge * np.trace(normal) / len(normal) + np.finfo(float).tiny
    solved: Float = np.linalg.solve(normal, sums.products)
    return solved


def _places(hidden: Bool, slab: Slab) -> list[tuple[int, slice, slice]]:
    """Return first planes, rows and columns of measured places, as large as the scan allows, more of them near."""
    for edge in _WINDOWS:
        found = list(islice(_draws(hidden, slab, edge), PLACES))
        if len(found) >= _FOLDS:
            return found
    return []


def _draws(hidden: Bool, slab: Slab, edge: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield those of many random places where nothing is hidden."""
    span = slab.width + 2 * PLANES
    if span > hidden.shape[2]:
        return
    firsts = np.arange(PLANES, hidden.shape[2] - slab.width - PLANES + 1)
    chance = np.exp(-np.abs(firsts - slab.start) / _NEAR) + 0.05
    rng = generator("scan fit", slab.axis, slab.start, slab.width, edge)
    for _ in range(_DRAWS):
        first = int(rng.choice(firsts, p=chance / chance.sum()))
        rows, columns = (
            slice(start := int(rng.integers(n - size, endpoint=True)), start + size)
            for n, size in ((n, min(edge, n)) for n in hidden.shape[:2])
        )
        if not hidden[rows, columns, first - PLANES : first + slab.width + PLANES].any():
            yield first, rows, columns


def _predicted(inpainter: SlabInpainter, counts: NDArray[Any], slab: Slab, rows: slice, columns: slice) -> Float:
    """Return log(1 + counts) of a part of a slab as the network fills it, (rows, columns, width)."""
    ranges = [range(rows.start, rows.stop), range(columns.start, columns.stop)]
    across = range(slab.start, slab.start + slab.width)
    grid = np.meshgrid(*ranges, across, indexing="ij")
    place = [grid[2] if axis == slab.axis else grid[axis - (axis > slab.axis)] for axis in range(3)]
    voxels = np.ravel_multi_index(place, counts.shape)
    return inpainter.predict(counts, Part(slab, voxels.ravel())).reshape(voxels.shape)


def _features(view: NDArray[Any], guess: Float, rows: slice, columns: slice, slab: Slab) -> Float:
    """Return what is known of each line across a slab: planes around it and the prediction, without their level."""
    stop = slab.start + slab.width
    height, length = view.shape[:2]
    row_range, column_range = range(*rows.indices(height)), range(*columns.indices(length))
    around = np.ix_(
        np.clip(np.arange(row_range.start - HALF, row_range.stop + HALF), 0, height - 1),
        np.clip(np.arange(column_range.start - HALF, column_range.stop + HALF), 0, length - 1),
        np.clip([*range(slab.start - PLANES, slab.start), *range(stop, stop + PLANES)], 0, view.shape[2] - 1),
    )
    near = np.log1p(view[around], dtype=np.float64)
    edge = 2 * HALF + 1
    windows = sliding_window_view(near, (edge, edge), axis=(0, 1)).reshape(len(row_range) * len(column_range), -1)
    level = windows.mean(axis=1, keepdims=True)
    return np.concatenate([windows - level, guess.reshape(len(windows), -1) - level], axis=1)
