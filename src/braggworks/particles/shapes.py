"""Shapes of crystals: each is one function from a material and random numbers to planes in the crystal frame.

To add a shape, write its function and name it in `SHAPES` (and in the configuration's list of shapes). The size is
free: `crystals.cut` scales the planes to the wanted number of atoms.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from itertools import permutations, product
from typing import Any

import numpy as np

from braggworks.particles.materials import Material
from braggworks.particles.polyhedra import Array, Polyhedron, closed

Miller = tuple[int, int, int]
Shape = Callable[[Material, np.random.Generator], Polyhedron]

#: Relative spread (half width) of each surface energy about its published value, so that particles differ.
ENERGY_SPREAD = 0.1
#: Interface energy in units of the smallest surface energy: from flat caps (negative) to nearly free particles.
INTERFACE_ENERGY = (-0.2, 0.6)
RANDOM_FAMILIES: tuple[Miller, ...] = ((1, 1, 1), (1, 0, 0), (1, 1, 0), (1, 1, 3))
RANDOM_PLANES = (8, 20)
#: Relative spread (half width) of the distances of random facets.
RANDOM_SPREAD = 0.2
MAX_ASPECT_RATIO = 2.0


def wulff(material: Material, rng: np.random.Generator) -> Polyhedron:
    """Equilibrium shape of a free particle, with slightly varied surface energies."""
    return wulff_construction(varied_energies(material, rng))


def winterbottom(material: Material, rng: np.random.Generator) -> Polyhedron:
    """Equilibrium shape on a substrate, with drawn interface direction, (111) or (100), and interface energy."""
    energies = varied_energies(material, rng)
    return winterbottom_construction(energies, *draw_interface(energies, rng))


def cube(material: Material, rng: np.random.Generator) -> Polyhedron:
    """Bounded by {100}."""
    return wulff_construction({(1, 0, 0): 1.0})


def octahedron(material: Material, rng: np.random.Generator) -> Polyhedron:
    """Bounded by {111}."""
    return wulff_construction({(1, 1, 1): 1.0})


def random(material: Material, rng: np.random.Generator) -> Polyhedron:
    """Bounded by 8 to 20 low-index planes, drawn at random and at random distances."""
    families = [family(indices) for indices in RANDOM_FAMILIES]
    candidates = np.vstack(families)
    # Each family is as likely as any other, or the 24 planes of {113} would outnumber the stable facets.
    weights = np.concatenate([np.full(len(planes), 1 / len(planes) / len(families)) for planes in families])
    while True:  # about two draws in three are closed and compact
        count = rng.integers(*RANDOM_PLANES, endpoint=True)
        chosen = candidates[rng.choice(len(candidates), count, replace=False, p=weights)]
        distances = rng.uniform(1 - RANDOM_SPREAD, 1 + RANDOM_SPREAD, len(chosen))
        if not closed(chosen):
            continue
        polyhedron = Polyhedron(chosen, distances).trimmed()
        if len(polyhedron.normals) >= RANDOM_PLANES[0] and polyhedron.aspect_ratio <= MAX_ASPECT_RATIO:
            return polyhedron


#: Every shape by the name that a configuration gives it.
SHAPES: Mapping[str, Shape] = {
    "wulff": wulff,
    "winterbottom": winterbottom,
    "cube": cube,
    "octahedron": octahedron,
    "random": random,
}


def wulff_construction(energies: Mapping[Miller, float]) -> Polyhedron:
    """Return the Wulff construction: planes at distances proportional to their surface energies.

    Parameters
    ----------
    energies
        Energy per area of each family of planes, in any unit.
    """
    from wulffpack import SingleCrystal

    with _quiet():
        return _polyhedron(SingleCrystal(dict(energies)))


def winterbottom_construction(
    energies: Mapping[Miller, float], direction: Miller, interface_energy: float
) -> Polyhedron:
    """Return the Winterbottom construction: a Wulff construction cut by a substrate.

    Parameters
    ----------
    energies
        Energy per area of each family of planes, in any unit.
    direction
        Miller indices of the outward normal of the facet at the substrate.
    interface_energy
        Energy of the interface minus that of the bare substrate, in the same unit; its absolute value must stay below
        the smallest surface energy, and it must not be exactly zero.

    Notes
    -----
    Winterbottom, Acta Metall. 15, 303 (1967), doi:10.1016/0001-6160(67)90206-4.
    """
    from wulffpack import Winterbottom

    with _quiet():
        particle = Winterbottom(dict(energies), direction, interface_energy)
    return _polyhedron(particle, np.array(direction) / np.linalg.norm(direction))


def family(indices: Miller) -> Array:
    """Return the unit normals of all planes of a cubic family, shape (P, 3), such as 24 for {113}."""
    members = {
        tuple(sign * index for sign, index in zip(signs, order, strict=True))
        for order in permutations(indices)
        for signs in product((1, -1), repeat=3)
    }
    normals = np.array(sorted(members), dtype=np.float64)
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True), dtype=np.float64)


def varied_energies(material: Material, rng: np.random.Generator) -> dict[Miller, float]:
    """Return a material's surface energies, in J/m^2, each drawn uniformly within `ENERGY_SPREAD` of its value."""
    return {
        indices: energy * rng.uniform(1 - ENERGY_SPREAD, 1 + ENERGY_SPREAD)
        for indices, energy in material.surface_energies.items()
    }


def draw_interface(energies: Mapping[Miller, float], rng: np.random.Generator) -> tuple[Miller, float]:
    """Return the Miller indices of a facet at a substrate, (111) or (100), and the interface's energy, in J/m^2."""
    direction: Miller = (1, 1, 1) if rng.random() < 0.5 else (1, 0, 0)
    return direction, rng.uniform(*INTERFACE_ENERGY) * min(energies.values())


def _polyhedron(particle: Any, interface_normal: Array | None = None) -> Polyhedron:
    """Take the planes of a WulffPack particle, turned back into the crystal frame."""
    facets = [facet for form in particle.forms for facet in form.facets]
    axes = np.asarray(particle.standardized_structure.cell)
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    normals = np.array([facet.normal for facet in facets]) @ axes.T
    distances = np.array([facet.distance_from_origin for facet in facets])
    return Polyhedron(normals, distances, interface_normal).trimmed()


def _quiet() -> warnings.catch_warnings[None]:
    """Silence the symmetry library's announcement about its future error handling."""
    return warnings.catch_warnings(action="ignore", category=DeprecationWarning)
