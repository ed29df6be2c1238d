"""Where reciprocal space is sampled: reflection, rotation, voxel size, and the grid around the Bragg peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from braggworks.errors import ConfigError

FloatArray = npt.NDArray[np.float64]

# Differences between fcc reflections that can come closest to a cubic grid: <111>, <200>, <220>.
_NEIGHBOURS = np.array(
    [
        [h, k, l]
        for h in range(-2, 3)
        for k in range(-2, 3)
        for l in range(-2, 3)  # noqa: E741
        if h % 2 == k % 2 == l % 2 and 0 < h * h + k * k + l * l <= 8
    ],
    dtype=np.float64,
)


@dataclass(frozen=True, eq=False)
class QGrid:
    """A cubic grid of scattering vectors, q = centre + dq k with k = -n/2 ... n/2 - 1 along each axis.

    Parameters
    ----------
    n
        Voxels per axis, even; the centre is voxel n//2.
    dq
        Edge of a voxel, in 1/angstrom (|q| = 2 sin(theta) / wavelength, without 2 pi).
    centre
        Scattering vector (x, y, z) at the centre, shape (3,), in 1/angstrom.
    """

    n: int
    dq: float
    centre: FloatArray

    def points(self) -> FloatArray:
        """Return the scattering vectors, shape (n, n, n, 3): axes (z, y, x), components (x, y, z), in 1/angstrom."""
        k = np.arange(self.n) - self.n // 2
        z, y, x = np.meshgrid(k, k, k, indexing="ij")
        return self.centre + self.dq * np.stack([x, y, z], axis=-1)


@dataclass(frozen=True, eq=False)
class View:
    """One pattern's geometry.

    Parameters
    ----------
    rotation
        Proper rotation, shape (3, 3): rotated = rotation @ laboratory.
    oversampling
        Oversampling ratio along the largest extent of the rotated particle.
    grid
        The scattering vectors, in the rotated frame.
    crowded
        Whether another reflection reaches into the grid.
    """

    rotation: FloatArray
    oversampling: float
    grid: QGrid
    crowded: bool


def is_allowed_fcc(reflection: Sequence[int]) -> bool:
    """Return whether a face-centred cubic lattice has this reflection: hkl all even or all odd, and not all zero."""
    return any(reflection) and len({index % 2 for index in reflection}) == 1


def reflection_vector(reflection: Sequence[int], lattice_constant: float, orientation: FloatArray) -> FloatArray:
    """Return the reciprocal-lattice vector G of a reflection of an fcc crystal.

    Parameters
    ----------
    reflection
        Miller indices hkl of the cubic cell.
    lattice_constant
        Edge of the cubic cell, in angstrom.
    orientation
        Rotation from the crystal's cubic axes to the laboratory, shape (3, 3).

    Returns
    -------
    ndarray
        G in the laboratory, shape (3,), in 1/angstrom.

    Raises
    ------
    ConfigError
        If the lattice forbids the reflection.
    """
    if not is_allowed_fcc(reflection):
        raise ConfigError(
            f"reflection {list(reflection)} is forbidden in a face-centred cubic lattice: "
            "use three even or three odd indices, such as [1, 1, 1]."
        )
    return np.asarray(orientation @ (np.asarray(reflection, dtype=np.float64) / lattice_constant))


def displacement_gradient(positions: FloatArray, displacement: FloatArray) -> FloatArray:
    """Return the homogeneous part of a displacement field: E in the least-squares fit u = E r + constant.

    Parameters
    ----------
    positions, displacement
        Reference positions r and displacements u, shape (N, 3), in angstrom.

    Returns
    -------
    ndarray
        E, shape (3, 3), dimensionless; rows are components of u. A flat direction of the particle gets zero gradient.
    """
    r = positions - positions.mean(axis=0)
    u = displacement - displacement.mean(axis=0)
    return np.asarray(np.linalg.lstsq(r, u, rcond=None)[0].T)


def deformed_reflection(G: FloatArray, gradient: FloatArray) -> FloatArray:
    """Return G of the homogeneously deformed lattice: r -> (I + E) r takes G to (I + E)^-T G.

    Parameters
    ----------
    G
        Reciprocal-lattice vector of the reference lattice, shape (3,), in 1/angstrom.
    gradient
        Displacement gradient E, shape (3, 3).
    """
    return np.asarray(np.linalg.solve((np.eye(3) + gradient).T, G))


def random_rotation(rng: np.random.Generator) -> FloatArray:
    """Return a rotation matrix, shape (3, 3), uniform on SO(3): a normalised Gaussian quaternion (Shoemake 1992)."""
    w, x, y, z = (q := rng.standard_normal(4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def largest_extent(positions: FloatArray) -> float:
    """Return the largest extent of positions (N, 3) along the three grid axes, in their unit."""
    return float(np.ptp(positions, axis=0).max())


def voxel_size(extent: float, oversampling: float) -> float:
    """Return dq = 1 / (oversampling x extent) in 1/angstrom, for an extent in angstrom."""
    return 1.0 / (oversampling * extent)


def clear_oversampling(n: int, extent: float, lattice_constant: float, frame: FloatArray) -> float:
    """Return the oversampling ratio from which on no other fcc reflection reaches into the grid.

    The other reflection's first two fringes, one oversampling ratio wide each, are kept out as well.

    Parameters
    ----------
    n
        Voxels per axis.
    extent
        Largest extent of the rotated particle, in angstrom.
    lattice_constant
        Edge of the cubic cell, in angstrom.
    frame
        Rotation from the crystal's cubic axes to the grid, shape (3, 3).

    Returns
    -------
    float
        The ratio; infinite if the particle is so small that no ratio suffices.
    """
    nearest = np.abs(_NEIGHBOURS @ frame.T).max(axis=1).min() / lattice_constant
    fringes = extent * nearest - 2.0
    return float(n / 2 / fringes) if fringes > 0 else np.inf


def draw_view(
    rng: np.random.Generator,
    atoms: FloatArray,
    G: FloatArray,
    *,
    n: int,
    oversampling: tuple[float, float],
    rotate: bool,
    lattice_constant: float,
    orientation: FloatArray,
) -> View:
    """Draw the geometry of one pattern.

    The oversampling ratio is uniform between the two limits, where the lower one is raised as far as needed, and at
    most to the upper one, to keep other reflections out of the grid (see `clear_oversampling`).

    Parameters
    ----------
    rng
        Takes the same five numbers for every pattern, whatever the settings.
    atoms
        Relaxed positions in the laboratory, shape (N, 3), in angstrom.
    G
        Scattering vector of the relaxed lattice in the laboratory, shape (3,), in 1/angstrom.
    n
        Voxels per axis.
    oversampling
        Smallest and largest oversampling ratio.
    rotate
        Whether particle and G are rotated at random together, against the grid.
    lattice_constant, orientation
        As in `reflection_vector`.
    """
    drawn = random_rotation(rng)
    uniform = rng.random()
    rotation = drawn if rotate else np.eye(3)
    extent = largest_extent(atoms @ rotation.T)
    low, high = oversampling
    clear = clear_oversampling(n, extent, lattice_constant, rotation @ orientation)
    low = min(max(low, clear), high)
    ratio = low + (high - low) * uniform
    grid = QGrid(n, voxel_size(extent, ratio), rotation @ G)
    return View(rotation, ratio, grid, crowded=ratio < clear)
