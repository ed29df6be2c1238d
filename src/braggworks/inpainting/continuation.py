"""The smoothest continuation of a pattern into a slab, solved exactly: the biharmonic fill, frequency by frequency.

A gap between detector modules is a slab. Along its plane the cosine transform splits the squared Laplacian, summed over
the array, into one small least-squares problem per in-plane frequency, whose unknowns are the slab's planes and whose
knowns are the two planes on either side. The result is that of `braggworks.inpainting.variational.fill_biharmonic`,
without iterations.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

KNOWN_PLANES = 2
"""Measured planes on either side that the continuation looks at."""

_TABLE = 1024
_LARGEST = math.acosh(5)  # the squared in-plane frequency reaches 8


def continue_planes(before: Tensor, after: Tensor, width: int) -> Tensor:
    """Return the planes of a slab, as smooth as its surroundings allow.

    Parameters
    ----------
    before, after
        The two planes on either side, in the order in which they lie, shape (batch, 2, z, y); in practice
        ``log(1 + counts)``.
    width
        Planes in the slab.

    Returns
    -------
    Tensor
        Shape (batch, width, z, y).
    """
    known = torch.cat([before, after], 1)
    rows, columns = (_cosines(n).to(known) for n in known.shape[-2:])
    spectrum = rows @ known @ columns.T
    weights = _weights(width, *known.shape[-2:]).to(known)
    return rows.T @ torch.einsum("wkzy,bkzy->bwzy", weights, spectrum) @ columns


@lru_cache(maxsize=16)
def _cosines(n: int) -> Tensor:
    """Return the orthonormal cosine transform (type 2) as a matrix (frequency, place)."""
    frequency, place = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64) + 0.5
    matrix = torch.cos(math.pi / n * frequency * place) * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix.float()


@lru_cache(maxsize=64)
def _weights(width: int, rows: int, columns: int) -> Tensor:
    """Return how each of the slab's planes follows from the four known ones, shape (width, 4, rows, columns)."""
    along = [2 - 2 * torch.cos(math.pi / n * torch.arange(n, dtype=torch.float64)) for n in (rows, columns)]
    # Solutions fall off as exp(-decay x distance), and are smooth functions of it.
    decay = torch.acosh(1 + (along[0][:, None] + along[1]) / 2) / _LARGEST * (_TABLE - 1)
    below = decay.long().clamp(max=_TABLE - 2)
    share = (decay - below).float()
    table = _table(width)
    return torch.lerp(table[:, :, below], table[:, :, below + 1], share)


@lru_cache(maxsize=64)
def _table(width: int) -> Tensor:
    """Return the weights of evenly spaced decays, shape (width, 4, `_TABLE`)."""
    values = 2 * torch.cosh(torch.linspace(0, _LARGEST, _TABLE, dtype=torch.float64)) - 2
    second, unity = torch.zeros(2, width + 2, width + 4, dtype=torch.float64)
    for row in range(width + 2):
        second[row, row : row + 3] = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)
        unity[row, row + 1] = 1
    system = second - values[:, None, None] * unity
    inner = system[:, :, KNOWN_PLANES : KNOWN_PLANES + width]
    outer = torch.cat([system[:, :, :KNOWN_PLANES], system[:, :, KNOWN_PLANES + width :]], 2)
    found = -torch.linalg.solve(inner.mT @ inner, inner.mT @ outer)
    table: Tensor = found.permute(1, 2, 0).float().contiguous()
    return table
