"""Windows through measured voxels of one scan, all of them listed, so that none that fits is missed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from braggworks.networks.plane_network import PLANES

EDGES_PX = (48, 40, 32, 24, 16, 8)
"""In-plane edges of windows, the wanted one first."""

Bool = NDArray[np.bool_]


class Windows:
    """Windows without a masked voxel: squares of one size in the plane of a slab, through it and `PLANES` on each side.

    Parameters
    ----------
    mask
        (z, y, x), true where nothing was measured, or where nothing is to be looked at.
    axes
        Axes that slabs may be normal to.
    edge
        Edge of the squares, in pixels.
    """

    def __init__(self, mask: Bool, axes: tuple[int, ...], edge: int) -> None:
        self.edge = edge
        self._free = {axis: _free_planes(np.moveaxis(mask, axis, 0), edge) for axis in axes}
        self._most = {axis: int(free.max(initial=0)) for axis, free in self._free.items()}

    @property
    def widest(self) -> int:
        """Widest slab with a window, in pixels; 0 if there is none."""
        return max(0, max(self._most.values()) - 2 * PLANES)

    def normals(self, width: int) -> tuple[int, ...]:
        """Return the axes along which a slab of this width has a window."""
        return tuple(axis for axis, most in self._most.items() if most >= width + 2 * PLANES)

    def number(self, width: int) -> int:
        """Return how many windows there are for slabs of one width."""
        return sum(int((free >= width + 2 * PLANES).sum()) for free in self._free.values())

    def draw(self, width: int, rng: np.random.Generator) -> tuple[int, tuple[slice, ...]]:
        """Return the axis that a slab is normal to, and the voxels of its window; `normals` must name an axis."""
        axis, thick = int(rng.choice(self.normals(width))), width + 2 * PLANES
        free = self._free[axis]
        start = np.unravel_index(rng.choice(np.flatnonzero(free >= thick)), free.shape)
        window = [slice(int(n), int(n) + size) for n, size in zip(start, (thick, self.edge, self.edge), strict=True)]
        window.insert(axis, window.pop(0))
        return axis, tuple(window)


def find_windows(mask: Bool, axes: tuple[int, ...], width: int) -> Windows:
    """Return the largest windows that have room for slabs up to a width, normal to every axis or to as many as can be.

    Parameters
    ----------
    mask, axes
        As for `Windows`.
    width
        Widest slab, in pixels. Where it has no room, `Windows.widest` says how much there is.
    """
    tried = []
    for edge in EDGES_PX:
        tried.append(Windows(mask, axes, edge))
        if len(tried[-1].normals(width)) == len(axes):
            break
    return max(tried, key=lambda found: (len(found.normals(width)), min(found.widest, width)))


def _free_planes(planes: Bool, edge: int) -> NDArray[np.int16]:
    """Return how many planes on from each place, along the first axis, have a square without a masked voxel there."""
    spoilt = _any(_any(np.ascontiguousarray(planes), edge, 1), edge, 2)
    free = np.zeros(spoilt.shape, np.int16)
    following = np.zeros(spoilt.shape[1:], np.int16)
    for plane in reversed(range(len(spoilt))):
        following = np.where(spoilt[plane], 0, following + 1)
        free[plane] = following
    return free


def _any(mask: Bool, length: int, axis: int) -> Bool:
    """Return, for each place with so many neighbours on from it along an axis, whether any of them is true."""
    sums = np.insert(np.cumsum(mask, axis=axis, dtype=np.int32), 0, 0, axis=axis)
    last, first = (np.moveaxis(sums, axis, 0)[part] for part in (slice(length, None), slice(None, -length)))
    return np.moveaxis(last > first, 0, axis)
