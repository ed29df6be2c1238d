"""The ways in which a pattern can be turned without leaving its grid: mirrored through its peak, its axes reordered."""

from __future__ import annotations

import itertools
import math

from torch import Tensor


def turned(x: Tensor, turn: int) -> Tensor:
    """Return a pattern (z, y, x) or (y, x), all axes of one length, mirrored and with its axes reordered.

    Parameters
    ----------
    x
        The peak at voxel n // 2.
    turn
        Any whole number from 0 on: the lowest bits mirror, one per axis, and the rest reorders; 0 changes nothing.
    """
    return _mirrored(x, turn).permute(_order(x.ndim, turn))


def turned_back(x: Tensor, turn: int) -> Tensor:
    """Return the inverse of `turned`."""
    order = _order(x.ndim, turn)
    return _mirrored(x.permute([order.index(axis) for axis in range(x.ndim)]), turn)


def _order(ndim: int, turn: int) -> tuple[int, ...]:
    return list(itertools.permutations(range(ndim)))[(turn >> ndim) % math.factorial(ndim)]


def _mirrored(x: Tensor, turn: int) -> Tensor:
    axes = [axis for axis in range(x.ndim) if turn >> axis & 1]
    # The peak lies beside the middle of an even number of voxels: one further after the flip.
    steps = [1 - x.shape[axis] % 2 for axis in axes]
    return x.flip(axes).roll(steps, axes) if axes else x
