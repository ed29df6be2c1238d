"""A linear predictor that is fitted to the scan itself: each gap voxel from measured ones on both sides of the gap.

The weights come from ridge regression on places of the same scan where a gap of the same width would have hidden
measured voxels, so that they know the scan's fringes and noise. It is a Wiener filter whose covariances are estimated
from the data (N. Wiener, Extrapolation, Interpolation, and Smoothing of Stationary Time Series, MIT Press, 1949).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from braggworks.inpainting.interpolation import interpolate
from braggworks.inpainting.slabs import Slab, find_slabs
from braggworks.seeds import generator

Float = NDArray[np.floating[Any]]
Bool = NDArray[np.bool_]

PLANES = 5  # on each side of the gap
HALF = 2  # half the edge of the neighbourhood within a plane
_RIDGE = 1e-2  # share of the mean variance of a neighbour
_PLACES = 40_000  # to fit to
_BLOCK = 20_000  # voxels predicted together


def predict_gaps(values: Float, mask: NDArray[Any], planes: int = PLANES, half: int = HALF) -> Float:
    """Fill the slabs of a scan's mask by a linear predictor that is fitted to the same scan.

    Parameters
    ----------
    values
        Array (z, y, x), in practice ``log(1 + counts)``; its content under the mask is not looked at.
    mask
        Array of the same shape; true (1) where nothing was measured.
    planes
        Planes on each side of the gap that the predictor sees.
    half
        Half the edge of what it sees within each plane: 2 for 5 x 5 voxels.

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
    slabs = sorted(find_slabs(gap), key=lambda slab: slab.width)
    weights = {
        slab: _fit(np.moveaxis(filled, slab.axis, 2), np.moveaxis(gap, slab.axis, 2), slab.width, planes, half)
        for slab in slabs
    }
    crossed = np.zeros(gap.shape, np.int8)
    for slab in slabs:
        crossed[slab.where] += 1
    # Where gaps cross, their arms are filled first, so that they can be seen.
    for depth in (1, 2, 3):
        found = filled.copy()
        for slab in slabs:
            solved = weights[slab]
            if solved is not None and planes <= slab.start <= gap.shape[slab.axis] - slab.width - planes:
                new = crossed[slab.where] == depth
                found[slab.where][new] = _predict(filled, slab, solved, planes, half)[new]
                crossed[slab.where][new] = 0
        filled = found
    return filled


def _predict(filled: Float, slab: Slab, weights: Float, planes: int, half: int) -> Float:
    """Return the slab's voxels, in the order of the array's axes."""
    view, stop = np.moveaxis(filled, slab.axis, 2), slab.start + slab.width
    sides = np.concatenate([view[..., slab.start - planes : slab.start], view[..., stop : stop + planes]], axis=2)
    padded = np.pad(sides, ((half, half), (half, half), (0, 0)), mode="edge")
    windows = sliding_window_view(padded, (2 * half + 1, 2 * half + 1), axis=(0, 1))
    predicted = _apply(windows.reshape(view.shape[0] * view.shape[1], -1), weights)
    return np.moveaxis(predicted.reshape(*view.shape[:2], slab.width), 2, slab.axis)


def _apply(features: Float, weights: Float) -> Float:
    parts = []
    for begin in range(0, len(features), _BLOCK):
        part = features[begin : begin + _BLOCK]
        mean = part.mean(axis=1, keepdims=True)
        parts.append((part - mean) @ weights + mean)
    return np.concatenate(parts)


def _fit(view: Float, hidden: Bool, width: int, planes: int, half: int) -> Float | None:
    """Return weights (neighbours, width), from places where all of the window is measured."""
    span, edge = 2 * planes + width, 2 * half + 1
    shape = tuple(n - w + 1 for n, w in zip(view.shape, (edge, edge, span), strict=True))
    if min(shape) < 1:
        return None
    free = _all_free(hidden, (edge, edge, span))
    places = np.flatnonzero(free)
    if len(places) < 4 * edge * edge * 2 * planes:
        return None
    chosen = generator("linear predictor", width, len(places)).permutation(places)[:_PLACES]
    windows = sliding_window_view(view, (edge, edge, span))[np.unravel_index(np.sort(chosen), shape)]
    sides = np.concatenate([windows[..., :planes], windows[..., planes + width :]], axis=3)
    # The order of `_predict`: planes, then the neighbourhood within a plane.
    features = np.moveaxis(sides, 3, 1).reshape(len(windows), -1).astype(np.float64)
    targets = windows[:, half, half, planes : planes + width].astype(np.float64)
    mean = features.mean(axis=1, keepdims=True)
    features -= mean
    normal = features.T @ features
    normal[np.diag_indices_from(normal)] += _RIDGE * np.trace(normal) / len(normal) + np.finfo(float).tiny
    solved: Float = np.linalg.solve(normal, features.T @ (targets - mean)).astype(view.dtype)
    return solved


def _all_free(hidden: Bool, window: tuple[int, int, int]) -> Bool:
    """Return, for every place of the window, whether nothing in it is masked."""
    total = np.pad(hidden.astype(np.int32), ((1, 0), (1, 0), (1, 0))).cumsum(0).cumsum(1).cumsum(2)
    for axis, length in enumerate(window):
        total = np.take(total, range(length, total.shape[axis]), axis) - np.take(
            total, range(total.shape[axis] - length), axis
        )
    return np.asarray(total == 0)
