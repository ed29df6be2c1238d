"""The analytic amplitude of a perfect fcc block, after Laue: what every engine must reproduce."""

from __future__ import annotations

import numpy as np

from braggworks.diffraction.engines import ComplexArray, FloatArray

_BASIS = np.array([[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])


def fcc_block(cells: tuple[int, int, int], lattice_constant: float) -> FloatArray:
    """Return the atoms of a block of whole cubic cells.

    Parameters
    ----------
    cells
        Number of cells along x, y and z.
    lattice_constant
        Edge of a cell, in angstrom.

    Returns
    -------
    ndarray
        Positions (x, y, z), shape (4 x cells, 3), in angstrom, centred on the centre of mass.
    """
    corners = np.stack(np.meshgrid(*map(np.arange, cells), indexing="ij"), axis=-1).reshape(-1, 1, 3)
    return np.asarray(((corners + _BASIS).reshape(-1, 3) - _middle(cells)) * lattice_constant)


def laue_amplitude(cells: tuple[int, int, int], lattice_constant: float, q: FloatArray) -> ComplexArray:
    """Return F(q) of `fcc_block`: three lattice sums times the structure factor of the cell.

    F(h) = S(h) prod_i sum_{m<N_i} exp(-2 pi i h_i m), h = a q, S(h) = sum over the four atoms of exp(-2 pi i h . b).
    Warren, X-ray Diffraction (Dover, 1990).

    Parameters
    ----------
    cells, lattice_constant
        As in `fcc_block`.
    q
        Scattering vectors along the block's own axes, shape (..., 3), in 1/angstrom.

    Returns
    -------
    ndarray
        F, shape (...), complex128; the number of atoms at an allowed reflection.
    """
    h = lattice_constant * q
    structure = np.exp(-2j * np.pi * (h @ _BASIS.T)).sum(axis=-1)
    sums = np.prod([_lattice_sum(h[..., axis], count) for axis, count in enumerate(cells)], axis=0)
    return np.asarray(structure * sums * np.exp(2j * np.pi * (h @ _middle(cells))))


def _middle(cells: tuple[int, int, int]) -> FloatArray:
    return np.asarray((np.asarray(cells, dtype=np.float64) - 1) / 2 + _BASIS.mean(axis=0))


def _lattice_sum(h: FloatArray, count: int) -> ComplexArray:
    # The sum has period 1 in h; near whole numbers a quotient of sincs stays exact where one of sines does not.
    f = h - np.round(h)
    return np.asarray(count * np.sinc(count * f) / np.sinc(f) * np.exp(-1j * np.pi * (count - 1) * f))
