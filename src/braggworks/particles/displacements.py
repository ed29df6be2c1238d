"""Displacement fields of atoms: rigid motion, the homogeneous part, the held layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Atoms of one lattice plane differ by rounding (angstrom) and must fall on the same side of the layer's edge.
_TOLERANCE = 1e-6


def rigid_rotation(reference: Array, moved: Array) -> Array:
    """Return the rotation R, shape (3, 3), that best maps `reference` onto `moved`, about their centroids.

    Parameters
    ----------
    reference, moved
        The same atoms before and after, shape (N, 3).

    Notes
    -----
    Minimises the sum of ``|moved - R reference|^2`` over proper rotations: Kabsch, Acta Cryst. A32, 922 (1976),
    doi:10.1107/S0567739476001873.
    """
    covariance = (moved - moved.mean(axis=0)).T @ (reference - reference.mean(axis=0))
    u, _, vt = np.linalg.svd(covariance)
    return np.asarray(u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt, dtype=np.float64)


def rotation_angle(rotation: Array) -> float:
    """Return the angle of a rotation matrix, in radians, accurate for small angles as well."""
    twice_sine = np.linalg.norm(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    return float(np.arctan2(twice_sine, np.trace(rotation) - 1))


def without_rigid_motion(reference: Array, moved: Array) -> tuple[Array, float]:
    """Return the displacement, shape (N, 3), without translation and rotation, and the rotation's angle in radians."""
    rotation = rigid_rotation(reference, moved)
    aligned = (moved - moved.mean(axis=0)) @ rotation
    return aligned - (reference - reference.mean(axis=0)), rotation_angle(rotation)


def affine_gradient(reference: Array, displacement: Array) -> Array:
    """Return the homogeneous part of a displacement field: A in the least-squares fit u = A r + constant.

    Parameters
    ----------
    reference
        Positions r, shape (N, 3), in angstrom.
    displacement
        Displacements u, shape (N, 3), in angstrom.

    Returns
    -------
    ndarray
        A, shape (3, 3), dimensionless, with A[i, j] = du_i/dr_j; its symmetric part is the mean strain. A direction in
        which the atoms do not extend gets zero gradient.
    """
    centred = reference - reference.mean(axis=0)
    gradient = np.linalg.lstsq(centred, displacement - displacement.mean(axis=0), rcond=None)[0]
    return np.asarray(gradient.T, dtype=np.float64)


def clamped_layer(positions: Array, thickness: float, interface_normal: Array | None = None) -> NDArray[np.bool_]:
    """Say which atoms lie within `thickness` of the outermost one along the interface.

    Parameters
    ----------
    positions
        Shape (N, 3), columns (x, y, z), in angstrom.
    thickness
        Of the layer, in angstrom.
    interface_normal
        Outward unit normal of the facet at the substrate, shape (3,); ``None`` is -z: the lowest layer.

    Returns
    -------
    ndarray
        Shape (N,), true for atoms to be held.
    """
    outward = np.array([0.0, 0.0, -1.0]) if interface_normal is None else interface_normal
    depth = positions @ outward
    return np.asarray(depth >= depth.max() - thickness - _TOLERANCE)
