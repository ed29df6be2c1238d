"""Homogeneous convex bodies with a phase field, for the families without atoms: polygons and polyhedra as half-spaces.

Columns of vectors are (x, y) or (x, y, z). A body lies with its centre of mass at the origin, and its largest extent
along these axes is 2, so that fields of `fields.draw_field` fit it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull

from braggworks.campaigns import FieldKind, PolygonConfig, PolyhedronConfig, SamplingConfig
from braggworks.diffraction.sampling import random_rotation
from braggworks.particles import shapes
from braggworks.particles.fields import Field, draw_field
from braggworks.particles.materials import MATERIALS, Material
from braggworks.particles.polyhedra import Array, Polyhedron
from braggworks.particles.shapes import Miller, family

#: Polygons are drawn again above this ratio of the largest diagonal to the smallest width.
MAX_POLYGON_ASPECT = 3.0


@dataclass(frozen=True, eq=False)
class Body:
    """The points r with ``normals @ r <= distances``.

    Attributes
    ----------
    normals
        Outward unit normals, shape (P, ndim).
    distances
        Distances of the planes (or lines) from the origin, shape (P,).
    vertices
        Corners, shape (V, ndim); a corner may occur more than once.
    """

    normals: Array
    distances: Array
    vertices: Array

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return int(self.normals.shape[1])

    @property
    def volume(self) -> float:
        """Volume, or area in two dimensions."""
        return float(ConvexHull(self.vertices).volume)

    def turned(self, rotation: Array) -> Body:
        """Return the body with every point r at ``rotation @ r``."""
        return Body(self.normals @ rotation.T, self.distances, self.vertices @ rotation.T)

    def standard(self) -> Body:
        """Return the body moved to its centre of mass and scaled to a largest extent of 2."""
        factor = 2 / np.ptp(self.vertices, axis=0).max()
        centre = centre_of_mass(self.vertices)
        distances = factor * (self.distances - self.normals @ centre)
        return Body(self.normals, distances, factor * (self.vertices - centre))


@dataclass(frozen=True, eq=False)
class Particle:
    """A body, its phase, and how its edge looks.

    Attributes
    ----------
    body, field
        In the same frame and unit.
    phase_range
        Largest minus smallest phase inside, in radians; 0 for the field kind ``none``.
    edge
        Standard deviation of the Gaussian that smooths the surface, in voxels.
    noise
        Standard deviation of the modulus inside, relative.
    shape, kind
        Names of the body's shape (``polygon`` in two dimensions) and of the field's kind.
    """

    body: Body
    field: Field
    phase_range: float
    edge: float
    noise: float
    shape: str
    kind: FieldKind


@dataclass(frozen=True, eq=False)
class View:
    """One pattern's geometry.

    Attributes
    ----------
    rotation
        Shape (ndim, ndim), with grid = rotation @ body frame.
    ratio
        Oversampling ratio along the largest extent.
    """

    rotation: Array
    ratio: float


def centre_of_mass(vertices: Array) -> Array:
    """Return the centre of mass, shape (ndim,), of the convex hull of points (V, ndim), as a sum over simplices."""
    hull = ConvexHull(vertices)
    inside = vertices.mean(axis=0)
    corners = vertices[hull.simplices]
    volumes = np.abs(np.linalg.det(corners - inside))
    means = (corners.sum(axis=1) + inside) / (vertices.shape[1] + 1)
    return np.asarray(volumes @ means / volumes.sum(), dtype=np.float64)


# --- shapes ---


def wulff_planes(energies: Mapping[Miller, float]) -> Polyhedron:
    """Return the Wulff construction of a cubic crystal: every plane of a family as far out as its surface energy.

    Parameters
    ----------
    energies
        Energy per area of each family of planes; its unit becomes the unit of length.
    """
    normals = [family(indices) for indices in energies]
    distances = np.repeat(list(energies.values()), [len(planes) for planes in normals])
    return Polyhedron(np.vstack(normals), distances).trimmed()


def winterbottom_planes(energies: Mapping[Miller, float], direction: Miller, interface_energy: float) -> Polyhedron:
    """Return the Winterbottom construction: `wulff_planes` cut by the substrate's plane.

    Parameters
    ----------
    energies
        As in `wulff_planes`.
    direction
        Miller indices of the outward normal of the facet at the substrate.
    interface_energy
        Energy of the interface minus that of the bare substrate, in the same unit; negative where the particle wets.

    Notes
    -----
    Winterbottom, Acta Metall. 15, 303 (1967), doi:10.1016/0001-6160(67)90206-4.
    """
    free = wulff_planes(energies)
    normal = np.array(direction) / np.linalg.norm(direction)
    normals, distances = np.vstack([free.normals, normal]), np.append(free.distances, interface_energy)
    return Polyhedron(normals, distances, normal).trimmed()


def _wulff(material: Material, rng: np.random.Generator) -> Polyhedron:
    return wulff_planes(shapes.varied_energies(material, rng))


def _winterbottom(material: Material, rng: np.random.Generator) -> Polyhedron:
    energies = shapes.varied_energies(material, rng)
    return winterbottom_planes(energies, *shapes.draw_interface(energies, rng))


#: The polyhedra of `shapes.SHAPES`, without the library that those need.
POLYHEDRA: Mapping[str, Callable[[Material, np.random.Generator], Polyhedron]] = {
    "wulff": _wulff,
    "winterbottom": _winterbottom,
    "cube": lambda material, rng: wulff_planes({(1, 0, 0): 1.0}),
    "octahedron": lambda material, rng: wulff_planes({(1, 1, 1): 1.0}),
    "random": shapes.random,
}


def polyhedron_body(shape: str, material: Material, rng: np.random.Generator) -> Body:
    """Draw a polyhedron of one of the shapes `POLYHEDRA`, in standard position (`Body.standard`)."""
    solid = POLYHEDRA[shape](material, rng)
    return Body(solid.normals, solid.distances, solid.vertices).standard()


def polygon_body(points: tuple[int, int], rng: np.random.Generator) -> Body:
    """Draw a polygon, in standard position: the convex hull of random points, uniform in a square.

    Parameters
    ----------
    points
        Fewest and most points; the hull has as many corners or fewer.
    rng
        Gives the points; needle-like polygons are drawn again (`MAX_POLYGON_ASPECT`).
    """
    while True:
        hull = ConvexHull(rng.uniform(-1, 1, (rng.integers(*points, endpoint=True), 2)))
        normals, distances = hull.equations[:, :2], -hull.equations[:, 2]
        corners = hull.points[hull.vertices]
        longest = np.linalg.norm(corners[:, None] - corners, axis=-1).max()
        if longest <= MAX_POLYGON_ASPECT * np.ptp(corners @ normals.T, axis=0).min():
            return Body(normals, distances, corners).standard()


# --- particles and views ---


def draw_particle(config: PolyhedronConfig | PolygonConfig, index: int, rng: np.random.Generator) -> Particle:
    """Draw the particle of an index: shape and field kind go by the index, everything else is drawn.

    Parameters
    ----------
    config
        What the campaign says of its bodies.
    index
        Number of the particle in its campaign.
    rng
        The generator of the particle's identity.
    """
    kind = config.phases[index % len(config.phases)]
    span, edge, noise = (rng.uniform(*bounds) for bounds in (config.phase_range, config.edge_px, config.modulus_noise))
    if isinstance(config, PolygonConfig):
        shape, body = "polygon", polygon_body(config.points, rng)
    else:
        shape = config.shapes[index % len(config.shapes)]
        body = polyhedron_body(shape, MATERIALS[config.material], rng)
    field = draw_field(kind, rng, body.ndim, config.correlation)
    return Particle(body, field, 0.0 if kind == "none" else span, edge, noise, shape, kind)


def draw_view(sampling: SamplingConfig, ndim: int, rng: np.random.Generator) -> View:
    """Draw one pattern's rotation, uniform over all orientations, and its oversampling ratio, uniform in its range.

    The generator gives the same numbers whether the rotation is used or not.
    """
    if ndim == 3:
        rotation = random_rotation(rng)
    else:
        angle = rng.uniform(0, 2 * np.pi)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    ratio = rng.uniform(*sampling.oversampling)
    return View(rotation if sampling.rotation == "random" else np.eye(ndim), ratio)
