"""Atoms of a face-centred cubic lattice inside a polyhedron."""

from __future__ import annotations

import numpy as np

from braggworks.particles.polyhedra import Array, Polyhedron

# A plane this parallel to z bounds whole rows; an atom this close to a plane (in angstrom) counts as inside.
_PARALLEL = 1e-12
_TOLERANCE = 1e-9


def fcc_points(polyhedron: Polyhedron, lattice_constant: float, offset: Array) -> Array:
    """Return the lattice points inside a polyhedron.

    Parameters
    ----------
    polyhedron
        Planes in the crystal frame, in angstrom.
    lattice_constant
        Edge of the cubic cell, in angstrom.
    offset
        Position of one lattice point, shape (3,), in angstrom.

    Returns
    -------
    ndarray
        Positions, shape (N, 3), columns (x, y, z), in angstrom, sorted by x, y and z.

    Notes
    -----
    With half the cell's edge as unit, the lattice points are the integers (i, j, k) with an even sum. Along each row
    (i, j) the planes bound z from below and above, so that only atoms that are kept are ever made.
    """
    half = lattice_constant / 2
    low, high = polyhedron.vertices.min(axis=0), polyhedron.vertices.max(axis=0)
    first, last = np.ceil((low - offset) / half - 1e-6), np.floor((high - offset) / half + 1e-6)
    i, j = (axis.ravel() for axis in np.meshgrid(*(np.arange(first[k], last[k] + 1) for k in (0, 1)), indexing="ij"))
    x, y = i * half + offset[0], j * half + offset[1]
    bottom, top = _row_bounds(polyhedron, x, y)
    # Along a row k takes every second integer: k = 2 m + parity.
    parity = (i + j) % 2
    start = np.ceil(((bottom - offset[2]) / half - parity) / 2)
    count = np.maximum(np.floor(((top - offset[2]) / half - parity) / 2) - start + 1, 0).astype(np.int64)
    rank = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    z = (2 * (np.repeat(start, count) + rank) + np.repeat(parity, count)) * half + offset[2]
    return np.column_stack([np.repeat(x, count), np.repeat(y, count), z])


def _row_bounds(polyhedron: Polyhedron, x: Array, y: Array) -> tuple[Array, Array]:
    """Return the lowest and highest z inside the polyhedron for each (x, y); lowest above highest where none is."""
    bottom, top = np.full_like(x, -np.inf), np.full_like(x, np.inf)
    for (nx, ny, nz), distance in zip(polyhedron.normals, polyhedron.distances + _TOLERANCE, strict=True):
        room = distance - nx * x - ny * y
        if nz > _PARALLEL:
            np.minimum(top, room / nz, out=top)
        elif nz < -_PARALLEL:
            np.maximum(bottom, room / nz, out=bottom)
        else:
            bottom[room < 0], top[room < 0] = np.inf, -np.inf
    outside = bottom > top
    bottom[outside], top[outside] = 1.0, -1.0
    return bottom, top
