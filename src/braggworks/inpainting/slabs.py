"""A mask as slabs: runs of masked voxels across which a pattern is continued, and the order in which that is done.

A gap between detector modules is a slab through the scan, or a part of one, such as the stem of a tee. Every masked
voxel belongs to the axis along which its run of masked voxels is shortest, measured on both ends. Where gaps cross, no
axis reaches a measured voxel until the arms are filled: those voxels come in a second round.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]
Index = NDArray[np.intp]

SMALLEST = 64
"""Voxels of a gap; parts of slabs with fewer, such as hot pixels, are interpolated linearly."""

_NEVER = np.int32(np.iinfo(np.int32).max)  # the cost of a run that is not measured on both ends


@dataclass(frozen=True)
class Slab:
    """Masked planes that lie side by side.

    Parameters
    ----------
    axis
        Axis (0, 1, 2 for z, y, x) that the slab is normal to.
    start, width
        First plane, and number of planes.
    """

    axis: int
    start: int
    width: int

    @property
    def stop(self) -> int:
        """First plane after it."""
        return self.start + self.width

    @property
    def where(self) -> tuple[slice, ...]:
        """Index of its voxels, where it covers whole planes."""
        return (slice(None),) * self.axis + (slice(self.start, self.start + self.width),)


@dataclass(frozen=True, eq=False)
class Part:
    """Voxels that are filled across one slab.

    Parameters
    ----------
    slab
        The planes in which they lie.
    voxels
        Flat indices into the array (z, y, x).
    """

    slab: Slab
    voxels: Index


def find_slabs(mask: Bool) -> list[Slab]:
    """Return the slabs of a mask (z, y, x): wholly masked planes, neighbours together, with measured ones around.

    Planes at the array's edge are left out: with data on one side only there is nothing to inpaint from.
    """
    found = []
    for axis in range(3):
        full = np.asarray(mask.all(axis=tuple(a for a in range(3) if a != axis)))
        edges = np.flatnonzero(np.diff(np.concatenate([[False], full, [False]]).astype(np.int8)))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            if start > 0 and stop < len(full):
                found.append(Slab(axis, int(start), int(stop - start)))
    return found


def cut_mask(mask: Bool) -> list[list[Part]]:
    """Cut a mask into parts of slabs.

    Parameters
    ----------
    mask
        (z, y, x), true where nothing was measured.

    Returns
    -------
    list of list of Part
        Rounds: what a part continues from is measured, or was filled in a round before. A voxel whose shortest runs are
        equally long along several axes is in a part of each. Voxels that can never be reached from two sides, such as
        those of planes at the array's edge, are in none.
    """
    left, rounds = np.flatnonzero(mask), []
    while left.size:
        runs = [_Runs(left, mask.shape, axis) for axis in range(3)]
        shortest = np.minimum.reduce([run.cost for run in runs])
        reached = shortest < _NEVER
        if not reached.any():
            break
        rounds.append([part for run in runs for part in run.parts(np.flatnonzero(reached & (run.cost == shortest)))])
        left = left[~reached]
    return rounds


class _Runs:
    """Runs of masked voxels along one axis; arrays have one entry per masked voxel."""

    def __init__(self, voxels: Index, shape: tuple[int, ...], axis: int) -> None:
        stride, length = math.prod(shape[axis + 1 :]), shape[axis]
        key = voxels // (stride * length) * stride + voxels % stride  # of the line along the axis
        # One more than the axis is long, so that the end of a line never meets the start of the next.
        key *= length + 1
        key += voxels // stride % length
        order = np.argsort(key, kind="stable")
        first = np.concatenate([[True], np.diff(key[order]) != 1])
        starts = (key[order][first] % (length + 1)).astype(np.int32)
        del key
        number = np.cumsum(first, dtype=np.int32) - 1
        widths = np.bincount(number).astype(np.int32)
        self.axis, self._length, self._voxels = axis, length, voxels
        self.start, self.width = np.empty((2, voxels.size), np.int32)
        self.start[order], self.width[order] = starts[number], widths[number]
        inside = (self.start > 0) & (self.start + self.width < length)
        self.cost = np.where(inside, self.width, _NEVER)

    def parts(self, rows: Index) -> list[Part]:
        """Return some of the voxels, slab by slab."""
        if not rows.size:
            return []
        keys = self.start[rows].astype(np.int64) * (self._length + 1) + self.width[rows]
        slabs, member = np.unique(keys, return_inverse=True)
        order = np.argsort(member, kind="stable")
        groups = np.split(self._voxels[rows][order], np.cumsum(np.bincount(member, minlength=len(slabs)))[:-1])
        return [
            Part(Slab(self.axis, *(int(n) for n in divmod(key, self._length + 1))), group)
            for key, group in zip(slabs, groups, strict=True)
        ]
