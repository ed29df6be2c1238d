"""Where patches of a pattern lie: cubes whose centres are on shells around the peak (M. Masto's thesis, 4.6.2)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Cube = tuple[slice, slice, slice]
Shape = tuple[int, ...]

STEP_PX = 10
"""Distance between shells, in voxels."""

_GOLDEN = math.pi * (3 - math.sqrt(5))


@lru_cache(maxsize=8)
def shells_of(shape: Shape, size: int) -> tuple[tuple[list[Cube], ...], NDArray[np.int16]]:
    """Return the patches that cover a pattern.

    Parameters
    ----------
    shape
        Voxels of the pattern (z, y, x), the peak at n // 2.
    size
        Voxels per axis of a patch.

    Returns
    -------
    shells
        Patches by shell, the one around the peak first, until the pattern is covered but for a few voxels in corners;
        without those in which nothing is left for their shell to say.
    first
        (z, y, x), the number of the shell that says something of a voxel first, -1 where none does.
    """
    first = np.full(shape, -1, np.int16)
    shells: list[list[Cube]] = []
    last = math.ceil(math.sqrt(sum((n / 2 - size / 2) ** 2 for n in shape)) / STEP_PX)
    for shell in range(last + 1):
        cubes = [cube for cube in _cubes(shape, size, shell) if (first[cube] < 0).any()]
        for cube in cubes:
            there = first[cube]
            there[there < 0] = shell
        shells.append(cubes)
    return tuple(shells), first


def known_before(shape: Shape, size: int, shell: int) -> NDArray[np.float32]:
    """Return 1 where a shell within says something, (z, y, x); nothing is known before the patch at the peak."""
    _, first = shells_of(shape, size)
    return ((first >= 0) & (first < shell)).astype(np.float32)


def _cubes(shape: Shape, size: int, shell: int) -> list[Cube]:
    """Return the cubes of a shell, a step apart: the directions of a Fibonacci lattice."""
    number = max(1, math.ceil(4 * math.pi * shell**2))
    place = np.arange(number)
    height = 1 - (2 * place + 1) / number
    radius, turn = np.sqrt(1 - height**2), _GOLDEN * place
    directions = np.stack([height, radius * np.cos(turn), radius * np.sin(turn)], 1)
    return [_cube_at(shape, size, shell * STEP_PX * direction) for direction in directions]


def _cube_at(shape: Shape, size: int, offset: NDArray[np.floating]) -> Cube:
    """Return the cube whose centre lies so far from the peak, moved into the pattern where it would reach beyond."""
    starts = [
        min(max(0, n // 2 + round(float(step)) - size // 2), n - size) for n, step in zip(shape, offset, strict=True)
    ]
    z, y, x = (slice(start, start + size) for start in starts)
    return z, y, x
