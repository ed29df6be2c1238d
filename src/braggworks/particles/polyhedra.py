"""Convex polyhedra given by planes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, HalfspaceIntersection

Array = NDArray[np.float64]

# Directions in which widths are measured: a Fibonacci lattice on the sphere, about 6 degrees apart.
_TURNS = np.arange(600) + 0.5
_HEIGHT = 1 - _TURNS / 300
_AZIMUTH = np.pi * (1 + np.sqrt(5)) * _TURNS
_DIRECTIONS = np.column_stack(
    [np.sqrt(1 - _HEIGHT**2) * np.cos(_AZIMUTH), np.sqrt(1 - _HEIGHT**2) * np.sin(_AZIMUTH), _HEIGHT]
)


@dataclass(frozen=True)
class Polyhedron:
    """The points r with ``normals @ r <= distances``.

    Attributes
    ----------
    normals
        Outward unit normals, shape (P, 3), columns (x, y, z).
    distances
        Distances of the planes from the origin, shape (P,), in angstrom; negative where the origin lies outside.
    interface_normal
        Outward unit normal of the facet at the substrate, shape (3,); ``None`` without a substrate.

    Notes
    -----
    That the planes enclose a finite volume is assumed and not checked; see `closed`.
    """

    normals: Array
    distances: Array
    interface_normal: Array | None = None

    @cached_property
    def vertices(self) -> Array:
        """Corners, shape (V, 3), in angstrom; a corner where more than three planes meet may occur more than once."""
        halfspaces = np.column_stack([self.normals, -self.distances])
        return np.asarray(HalfspaceIntersection(halfspaces, self._interior).intersections, dtype=np.float64)

    @property
    def _interior(self) -> Array:
        """A point well inside: the origin where it is one, or the centre of the largest inscribed sphere."""
        if self.distances.min() > 0.1 * self.distances.max():
            return np.zeros(3)
        inscribed = linprog(
            [0, 0, 0, -1],
            A_ub=np.column_stack([self.normals, np.ones(len(self.normals))]),
            b_ub=self.distances,
            bounds=[(None, None)] * 3 + [(0, None)],
        )
        return np.asarray(inscribed.x[:3], dtype=np.float64)

    @property
    def volume(self) -> float:
        """Volume, in cubic angstrom."""
        return float(ConvexHull(self.vertices).volume)

    @property
    def aspect_ratio(self) -> float:
        """Largest width over smallest width, of the widths along 600 directions and the planes' normals."""
        widths = np.ptp(self.vertices @ np.vstack([_DIRECTIONS, self.normals]).T, axis=0)
        return float(widths.max() / widths.min())

    def scaled(self, factor: float) -> Polyhedron:
        """Return the polyhedron with all lengths multiplied by `factor`."""
        return Polyhedron(self.normals, self.distances * factor, self.interface_normal)

    def trimmed(self) -> Polyhedron:
        """Return the polyhedron without the planes that hold no facet."""
        tolerance = 1e-6 * np.ptp(self.vertices, axis=0).max()
        touching = np.abs(self.vertices @ self.normals.T - self.distances) < tolerance
        facets = [len(np.unique(np.round(self.vertices[plane] / tolerance), axis=0)) >= 3 for plane in touching.T]
        return Polyhedron(self.normals[facets], self.distances[facets], self.interface_normal)


def closed(normals: Array, margin: float = 0.05) -> bool:
    """Say whether planes with these normals enclose a finite volume, wherever they stand.

    Parameters
    ----------
    normals
        Unit normals, shape (P, 3).
    margin
        Least distance of the origin from the surface of the normals' convex hull; a small positive number keeps away
        from shapes that close only far away.
    """
    if np.linalg.matrix_rank(normals - normals.mean(axis=0)) < 3:
        return False
    return bool(ConvexHull(normals).equations[:, -1].max() < -margin)


def rotation_between(start: Array, end: Array) -> Array:
    """Return the matrix, shape (3, 3), of the smallest rotation that turns the unit vector `start` onto `end`.

    The two must not be opposite. The equation is Rodrigues': R = 1 + K + K^2 / (1 + cos), with K the cross product
    by ``start x end``.
    """
    axis = np.cross(start, end)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + start @ end), dtype=np.float64)
