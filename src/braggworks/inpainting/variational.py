"""Filling gaps by the smoothest continuation: biharmonic, and of least total variation.

Both change masked voxels alone and look at measured ones near the gap. As in `interpolation`, what is filled is in
practice ``log(1 + counts)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg

from braggworks.inpainting.interpolation import interpolate

Float = NDArray[np.floating[Any]]

_MARGIN = 4  # measured voxels around the gap that are looked at
_TOLERANCE = 1e-4
_ITERATIONS = 300


def fill_biharmonic(values: Float, mask: NDArray[Any]) -> Float:
    """Fill masked voxels so that the squared Laplacian, summed over the array, is least.

    The solution is biharmonic in the gap and continues values and slopes of its surroundings (Damelin and Hoang 2018,
    10.1155/2018/3950312). Found by conjugate gradients from the linear interpolation.

    Parameters
    ----------
    values
        Array (z, y, x); its content under the mask is not looked at.
    mask
        Array of the same shape; true (1) where nothing was measured.

    Returns
    -------
    ndarray
        Filled copy of `values`; measured voxels are unchanged.
    """
    filled, box, gap = _start(values, mask)
    if not gap.any():
        return filled
    part = filled[box].astype(np.float64)

    def twice(free: NDArray[np.float64]) -> NDArray[np.float64]:
        array = np.zeros(gap.shape)
        array[gap] = free
        return np.asarray(_laplacian(_laplacian(array))[gap])

    size = int(gap.sum())
    operator = LinearOperator((size, size), matvec=twice, dtype=np.float64)
    change, _ = cg(operator, -_laplacian(_laplacian(part))[gap], rtol=_TOLERANCE, maxiter=_ITERATIONS)
    part[gap] += change
    filled[box] = part
    return filled


def fill_total_variation(values: Float, mask: NDArray[Any]) -> Float:
    """Fill masked voxels so that the total variation is least.

    The primal-dual method of Chambolle and Pock, J. Math. Imaging Vis. 40, 120 (2011), 10.1007/s10851-010-0251-1, from
    the linear interpolation. Parameters and result are those of `fill_biharmonic`.
    """
    filled, box, gap = _start(values, mask)
    if not gap.any():
        return filled
    part = filled[box].astype(np.float32)
    known, leading = part.copy(), part.copy()
    dual = np.zeros((3, *part.shape), np.float32)
    step = np.float32(1 / np.sqrt(12.0))  # the gradient's norm is at most sqrt(4 x 3)
    for _ in range(_ITERATIONS):
        dual += step * _gradient(leading)
        dual /= np.maximum(1, np.sqrt((dual**2).sum(0)))
        new = np.where(gap, part + step * _divergence(dual), known)
        leading = 2 * new - part
        part = new
    filled[box] = part
    return filled


def _start(values: Float, mask: NDArray[Any]) -> tuple[Float, tuple[slice, ...], NDArray[np.bool_]]:
    """Return the linear interpolation, and the box around the gap with the gap in it."""
    gap = np.asarray(mask, dtype=bool)
    filled = interpolate(values, gap, "linear")
    places = np.nonzero(gap)
    if not len(places[0]):
        return filled, (slice(0, 0),) * gap.ndim, gap[:0]
    box = tuple(
        slice(max(0, int(p.min()) - _MARGIN), min(n, int(p.max()) + _MARGIN + 1))
        for p, n in zip(places, gap.shape, strict=True)
    )
    return filled, box, gap[box]


def _laplacian(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of second differences, symmetric as a matrix, with free ends."""
    total = np.zeros_like(array)
    for axis in range(array.ndim):
        difference = np.diff(array, axis=axis)
        ends = [(0, 0)] * array.ndim
        ends[axis] = (1, 1)
        total += np.diff(np.pad(difference, ends), axis=axis)
    return total


def _gradient(array: Float) -> Float:
    return np.stack([np.diff(array, axis=axis, append=np.take(array, [-1], axis)) for axis in range(array.ndim)])


def _divergence(field: Float) -> Float:
    """Return minus the adjoint of `_gradient`."""
    total: Float = np.zeros_like(field[0])
    for axis, part in enumerate(field):
        inner = np.moveaxis(part, axis, 0).copy()
        inner[-1] = 0
        total += np.moveaxis(np.diff(inner, axis=0, prepend=np.zeros_like(inner[:1])), 0, axis)
    return total
