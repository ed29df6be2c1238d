"""Cutting one crystal: draw a shape, scale it, fill it with atoms, turn it into the laboratory frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braggworks.particles.clipping import fcc_points
from braggworks.particles.materials import Material
from braggworks.particles.polyhedra import Array, Polyhedron, rotation_between
from braggworks.particles.shapes import SHAPES

_DOWN = np.array([0.0, 0.0, -1.0])
# The lattice of a crystal whose number of atoms is out of bounds is placed at most this often.
_TRIES = 20


@dataclass(frozen=True)
class Crystal:
    """An unrelaxed crystal in the laboratory frame, with its centre of mass at the origin.

    Attributes
    ----------
    positions
        Atoms, shape (N, 3), columns (x, y, z), in angstrom.
    polyhedron
        The planes that bound it, in the same frame.
    orientation
        Rotation R, shape (3, 3), with laboratory = R @ crystal frame.
    """

    positions: Array
    polyhedron: Polyhedron
    orientation: Array


def cut(shape: str, material: Material, atoms: tuple[int, int], rng: np.random.Generator) -> Crystal:
    """Cut one crystal.

    Parameters
    ----------
    shape
        One of `shapes.SHAPES`.
    material
        Gives lattice and surface energies.
    atoms
        Smallest and largest number of atoms. The volume is that of a number drawn log-uniformly between the two; the
        lattice is moved where the atoms in it are too few or too many, and the nearest is kept where none will do.
    rng
        Gives shape, size and the position of the lattice, which is uniform in the unit cell.

    Returns
    -------
    Crystal
        On a substrate, the facet at the interface faces -z; otherwise laboratory and crystal frame are the same.
    """
    polyhedron, a = SHAPES[shape](material, rng), material.lattice_constant
    wanted = np.exp(rng.uniform(*np.log(atoms)))
    polyhedron = polyhedron.scaled((wanted * a**3 / 4 / polyhedron.volume) ** (1 / 3))
    positions = _fill(polyhedron, a, atoms, rng)
    interface = polyhedron.interface_normal
    orientation = np.eye(3) if interface is None else rotation_between(interface, _DOWN)
    centre = positions.mean(axis=0)
    moved = Polyhedron(
        polyhedron.normals @ orientation.T,
        polyhedron.distances - polyhedron.normals @ centre,
        None if interface is None else orientation @ interface,
    )
    return Crystal((positions - centre) @ orientation.T, moved, orientation)


def _fill(polyhedron: Polyhedron, a: float, atoms: tuple[int, int], rng: np.random.Generator) -> Array:
    """Fill a polyhedron; the number of atoms varies with the lattice's place, and on average it is the volume's."""
    best, least = np.empty((0, 3)), np.inf
    for _ in range(_TRIES):
        positions = fcc_points(polyhedron, a, rng.random(3) * a)
        miss = max(atoms[0] - len(positions), len(positions) - atoms[1], 0)
        if miss < least:
            best, least = positions, miss
        if not miss:
            break
    return best
