"""Labels of diffraction patterns: the reciprocal-space phase, and the object of atoms on the pattern's own voxels.

The inverse transform of an amplitude, `object_of`, is the crystal seen through the measured cube of reciprocal space.
The label, `gridded_label`, is made in real space: each atom is shared, with its phase, by the eight nearest voxels of a
grid twice as fine (trilinear weights, "cloud in cell"), and what lies beyond the pattern's cube is left out. Three
other ways were measured and agree less with the amplitude: the nearest voxel, which beats with the lattice planes;
trilinear weights on the pattern's own voxels, which wash out phases steeper than about 1 rad per voxel; and to divide
those weights' transfer function out, which amplifies the flanks of other reflections. Fine voxels would show single
atoms; there, each atom first stands for its primitive cell, which fills the crystal without gaps.

Conventions: F(q) = sum exp(-2 pi i q . r), so that the object's phase is -2 pi G . u; arrays are (z, y, x); the origin,
and the peak, are at voxel n//2 of every axis. conj(F) belongs to the twin, the inverted and conjugated object.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from braggworks.diffraction.engines import ComplexArray, FloatArray
from braggworks.diffraction.sampling import QGrid, nearest_voxels

BoolArray = npt.NDArray[np.bool_]
AnyArray = npt.NDArray[Any]

# Voxels below this part of a primitive vector's length (0.6 lattice constants) resolve single atoms.
_FINE = 0.85


def rsp(amplitude: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the reciprocal-space phase (RSP) of an amplitude, zero at the centre voxel.

    With this offset the sum of the object is real and positive. Nothing else is removed: a ramp of the RSP is a shift
    of the object, and the patterns of `braggworks scatter` have their centre of mass at voxel n//2.

    Parameters
    ----------
    amplitude
        F, with any number of axes and the peak at voxel n//2 of each.

    Returns
    -------
    ndarray
        Phase in radians, in [-pi, pi), of the same shape, float32; conj(F), of the twin, has the negated RSP. An
        amplitude of exactly zero has the phase 0.
    """
    F = np.asarray(amplitude, dtype=np.complex128)
    middle = tuple(length // 2 for length in F.shape)
    phase = np.angle(F * np.exp(-1j * np.angle(F[middle]))).astype(np.float32)
    # float32(pi) lies above pi and stands for the same phase as -pi, of which float32 takes the value next to 0.
    phase[np.abs(phase) >= np.float32(np.pi)] = np.nextafter(np.float32(-np.pi), np.float32(0))
    phase[middle] = 0
    return np.asarray(phase)


def object_of(amplitude: npt.ArrayLike) -> ComplexArray:
    """Return the object of an amplitude: its inverse Fourier transform.

    Parameters
    ----------
    amplitude
        F, with any number of axes and the peak at voxel n//2 of each.

    Returns
    -------
    ndarray
        The object, of the same shape, complex128, in scatterers per voxel; the origin is at voxel n//2.
    """
    return np.asarray(np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(np.asarray(amplitude, dtype=np.complex128)))))


def amplitude_of(obj: npt.ArrayLike) -> ComplexArray:
    """Return the amplitude of an object: the inverse of `object_of`."""
    return np.asarray(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(np.asarray(obj)))))


def cloud_in_cell(voxels: FloatArray, weights: FloatArray | ComplexArray, n: int) -> AnyArray:
    """Spread points over a grid with trilinear weights.

    Parameters
    ----------
    voxels
        Positions (x, y, z) in voxels, relative to the voxel n//2, shape (N, 3); the grid repeats beyond its edges.
    weights
        What is spread, real or complex, shape (N,).
    n
        Voxels per axis.

    Returns
    -------
    ndarray
        Sums, shape (n, n, n), axes (z, y, x), float64 or complex128; their total is that of the weights.
    """
    floor = np.floor(voxels)
    fraction = voxels - floor
    low = floor.astype(np.int64)
    # Sums over the points' own box stay in the processor's cache; it is pasted into the grid at the end.
    origin = low.min(axis=0)
    size = np.minimum(low.max(axis=0) + 2 - origin, n)
    near = [(low[:, axis] - origin[axis]) % n for axis in range(3)]
    far = [(index + 1) % n for index in near]
    strides = (1, size[0], size[0] * size[1])
    index = [(near[axis] * strides[axis], far[axis] * strides[axis]) for axis in range(3)]
    share = [(1 - fraction[:, axis], fraction[:, axis]) for axis in range(3)]
    parts = [weights.real, weights.imag] if np.iscomplexobj(weights) else [weights]
    sums = [np.zeros(size.prod()) for _ in parts]
    for x, y in product((0, 1), repeat=2):
        flat, spread = index[0][x] + index[1][y], share[0][x] * share[1][y]
        for z in (0, 1):
            place, amount = flat + index[2][z], spread * share[2][z]
            for part, values in enumerate(parts):
                sums[part] += np.bincount(place, amount * values, len(sums[part]))
    box = (sums[0] if len(sums) == 1 else sums[0] + 1j * sums[1]).reshape(size[::-1])
    grid = np.zeros((n, n, n), dtype=box.dtype)
    x, y, z = ((origin[axis] + n // 2 + np.arange(size[axis])) % n for axis in range(3))
    grid[np.ix_(z, y, x)] = box
    return grid


def spread_cells(
    atoms: FloatArray, weights: FloatArray | ComplexArray, voxel: float, n: int, cell: FloatArray
) -> AnyArray:
    """Spread atoms over a grid, and in grids finer than the lattice also over their primitive cells.

    Parameters
    ----------
    atoms
        Positions (x, y, z), shape (N, 3), in angstrom.
    weights
        What is spread, real or complex, shape (N,).
    voxel
        Edge of a voxel, in angstrom.
    n
        Voxels per axis.
    cell
        Primitive vectors of the crystal, as rows, shape (3, 3), in angstrom.

    Returns
    -------
    ndarray
        Sums, shape (n, n, n), axes (z, y, x), float64 or complex128; their total is that of the weights.
    """
    offsets = np.zeros((1, 3))
    if voxel < _FINE * np.linalg.norm(cell, axis=1).min():
        # Eight points, equally spaced, stand for the cell: what is left has half the lattice's period.
        offsets = np.array(list(product((-0.25, 0.25), repeat=3))) @ cell / voxel
    total = np.zeros((n, n, n), dtype=weights.dtype)
    for offset in offsets:
        total += cloud_in_cell(atoms / voxel + offset, weights, n)
    return np.asarray(total / len(offsets))


def gridded_label(atoms: FloatArray, grid: QGrid, cell: FloatArray) -> ComplexArray:
    """Return the object of atoms on the voxels of a pattern: their density, with the phase -2 pi q . r.

    Parameters
    ----------
    atoms
        Relaxed positions (x, y, z) in the rotated frame, shape (N, 3), in angstrom.
    grid
        The pattern's scattering vectors, of which the centre is q.
    cell
        Primitive vectors of the crystal in the rotated frame, as rows, shape (3, 3), in angstrom.

    Returns
    -------
    ndarray
        Complex density in atoms per voxel, shape (n, n, n), axes (z, y, x), complex128.
    """
    # Whole turns are dropped before the exponential, where they would cost digits.
    strength = np.exp(-2j * np.pi * np.mod(atoms @ grid.centre, 1.0))
    n = grid.n
    fine = amplitude_of(spread_cells(atoms, strength, grid.voxel / 2, 2 * n, cell))
    return object_of(fine[(slice(n // 2, n // 2 + n),) * 3])


def support_of(atoms: FloatArray, voxel: float, n: int) -> BoolArray:
    """Return the voxels that hold atoms.

    Parameters
    ----------
    atoms
        Positions (x, y, z), shape (N, 3), in angstrom.
    voxel
        Edge of a voxel, in angstrom.
    n
        Voxels per axis.

    Returns
    -------
    ndarray
        Shape (n, n, n), axes (z, y, x): whether a voxel is the nearest one of any atom. It has holes where voxels are
        finer than the lattice.
    """
    x, y, z = (nearest_voxels(atoms, voxel) + n // 2).T % n
    support = np.zeros((n, n, n), dtype=np.bool_)
    support[z, y, x] = True
    return support


def extents(support: BoolArray) -> npt.NDArray[np.int64]:
    """Return a support's extent along each of its axes, in voxels: from the first to the last one; 0 if it is empty."""
    axes = range(support.ndim)
    hit = [np.flatnonzero(support.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    return np.array([where[-1] - where[0] + 1 if len(where) else 0 for where in hit], dtype=np.int64)


def complex_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return |<a, b>| / (|a| |b|) of two objects: 1 if they are equal but for a complex factor, such as a phase."""
    a, b = np.ravel(np.asarray(first)), np.ravel(np.asarray(second))
    return float(np.abs(np.vdot(a, b)) / (np.linalg.norm(a) * np.linalg.norm(b)))


def phase_agreement(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return how well the phases of two objects agree, whatever their moduli.

    It is sum w cos(delta) / sum w, with w the product of the moduli and delta the difference of the phases, less the
    one global phase that makes the sum largest: 1 if the phases are equal, about 0 if they are unrelated.
    """
    a, b = np.ravel(np.asarray(first)), np.ravel(np.asarray(second))
    return float(np.abs(np.vdot(a, b)) / np.dot(np.abs(a), np.abs(b)))
