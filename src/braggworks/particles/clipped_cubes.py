"""Cubes clipped by random high-symmetry planes, the particles of Yao et al., npj Comput. Mater. 8, 124 (2022)."""

from __future__ import annotations

import numpy as np

from braggworks.particles.clipping import fcc_points
from braggworks.particles.crystals import Crystal
from braggworks.particles.materials import Material
from braggworks.particles.polyhedra import Array, Polyhedron
from braggworks.particles.shapes import MAX_ASPECT_RATIO, family

#: Families of the clipping planes.
FAMILIES = ((1, 1, 1), (1, 0, 0), (1, 1, 0))
#: Distances of the clipping planes from the cube's centre, in edges; all of them clip a cube that is whole.
DISTANCES = (0.25, 0.5)
#: Largest width that a clipped cube may have, in edges, so that a grid a little larger holds it in every orientation.
MAX_WIDTH = 1.25
_TRIES = 500


def cut_clipped_cube(material: Material, edge: float, facets: tuple[int, int], rng: np.random.Generator) -> Crystal:
    """Cut one clipped cube.

    Parameters
    ----------
    material
        Gives the lattice.
    edge
        Of the cube, in angstrom.
    facets
        Fewest and most clipping planes; see `clipped_cube`.
    rng
        Gives the planes and the position of the lattice, which is uniform in the unit cell.

    Returns
    -------
    Crystal
        Laboratory and crystal frame are the same.
    """
    polyhedron = clipped_cube(facets, rng).scaled(edge)
    positions = fcc_points(polyhedron, material.lattice_constant, rng.random(3) * material.lattice_constant)
    centre = positions.mean(axis=0)
    moved = Polyhedron(polyhedron.normals, polyhedron.distances - polyhedron.normals @ centre)
    return Crystal(positions - centre, moved, np.eye(3))


def clipped_cube(facets: tuple[int, int], rng: np.random.Generator) -> Polyhedron:
    """Return a cube of edge 1, centred at the origin, clipped by random planes.

    Parameters
    ----------
    facets
        Fewest and most clipping planes; the number is uniform, and at most that of the planes in `FAMILIES`, 26.
    rng
        Gives the planes and their distances, drawn again until the body is compact: aspect ratio at most
        `shapes.MAX_ASPECT_RATIO`, largest width at most `MAX_WIDTH`. Where the planes are too few for that, the body
        of least width is kept.

    Returns
    -------
    Polyhedron
        Without planes that hold no facet, because other planes have cut it away.
    """
    families = [family(indices) for indices in FAMILIES]
    candidates = np.vstack(families)
    weights = np.concatenate([np.full(len(planes), 1 / len(planes) / len(families)) for planes in families])
    count = min(int(rng.integers(*facets, endpoint=True)), len(candidates))
    sides = family((1, 0, 0))
    best, least = Polyhedron(sides, np.full(6, 0.5)), np.inf
    for _ in range(_TRIES):
        chosen = candidates[rng.choice(len(candidates), count, replace=False, p=weights)]
        distances = np.r_[np.full(6, 0.5), rng.uniform(*DISTANCES, size=count)]
        body = Polyhedron(np.vstack([sides, chosen]), distances)
        width = _largest_width(body.vertices)
        if width < least and body.aspect_ratio <= MAX_ASPECT_RATIO:
            best, least = body, width
            if width <= MAX_WIDTH:
                break
    return best.trimmed()


def _largest_width(vertices: Array) -> float:
    """Return the largest distance between two corners."""
    return float(np.sqrt(((vertices[:, None] - vertices) ** 2).sum(axis=-1).max()))
