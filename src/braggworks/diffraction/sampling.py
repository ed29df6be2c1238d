"""Where reciprocal space is sampled: reflection, rotation, voxel size, and the grid around the Bragg peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from braggworks.errors import ConfigError

FloatArray = npt.NDArray[np.float64]

#: Smallest oversampling ratio at which the intensity holds the object's whole autocorrelation.
NYQUIST = 2.0
#: Draws of one pattern's geometry before giving up.
MOST_DRAWS = 100

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

    @property
    def voxel(self) -> float:
        """Edge of a voxel of the object, in angstrom."""
        return 1 / (self.n * self.dq)


class Lattice(Protocol):
    """What drawing a view needs to know of a relaxed crystal."""

    @property
    def atoms(self) -> FloatArray:
        """Positions in the laboratory, shape (N, 3), in angstrom."""

    @property
    def lattice_constant(self) -> float:
        """Edge of the cubic cell, in angstrom."""

    @property
    def orientation(self) -> FloatArray:
        """Rotation from the cubic axes to the laboratory, shape (3, 3)."""

    def centre(self, reflection: Sequence[int]) -> FloatArray:
        """Return the scattering vector of the mean relaxed lattice, shape (3,), in 1/angstrom."""


@dataclass(frozen=True, eq=False)
class View:
    """One pattern's geometry.

    Parameters
    ----------
    rotation
        Proper rotation, shape (3, 3): rotated = rotation @ laboratory.
    reflection
        Miller indices hkl.
    ratio
        Oversampling ratio along the largest extent of the rotated particle, as drawn.
    oversampling
        Oversampling ratio along z, y, x, as measured on the grid: voxels per axis over the particle's extent in them.
    grid
        The scattering vectors, in the rotated frame.
    crowded
        Whether another reflection reaches into the grid.
    rejected
        Number of draws before this one that were rejected.
    """

    rotation: FloatArray
    reflection: tuple[int, int, int]
    ratio: float
    oversampling: FloatArray
    grid: QGrid
    crowded: bool
    rejected: int


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


def extents_in_voxels(atoms: FloatArray, voxel: float) -> npt.NDArray[np.int64]:
    """Return how many voxels a particle extends over along z, y, x: from the first to the last that holds an atom.

    Parameters
    ----------
    atoms
        Positions (x, y, z), shape (N, 3), in angstrom; the origin is the centre of a voxel.
    voxel
        Edge of a voxel, in angstrom.
    """
    nearest = nearest_voxels(np.stack([atoms.min(axis=0), atoms.max(axis=0)]), voxel)
    return np.asarray((nearest[1] - nearest[0] + 1)[::-1])


def nearest_voxels(positions: FloatArray, voxel: float) -> npt.NDArray[np.int64]:
    """Return the voxels (x, y, z), counted from the origin's, nearest to positions (N, 3), both in angstrom."""
    # Up at the half, always, so that a plane of atoms on voxel edges does not fall to both sides.
    return np.floor(positions / voxel + 0.5).astype(np.int64)


def measured_oversampling(n: int, extents: npt.ArrayLike) -> FloatArray:
    """Return the oversampling ratio of each axis: n voxels over the extents in voxels."""
    return np.asarray(n / np.asarray(extents, dtype=np.float64))


def draw_view(
    rng: np.random.Generator,
    crystal: Lattice,
    reflections: Sequence[tuple[int, int, int]],
    *,
    n: int,
    oversampling: tuple[float, float],
    rotate: bool,
) -> View:
    """Draw the geometry of one pattern.

    The oversampling ratio is uniform between the two limits, where the lower one is raised as far as needed, and at
    most to the upper one, to keep other reflections out of the grid (see `clear_oversampling`). Then the particle is
    measured on the voxels of the object; where an axis has an oversampling below 2, everything is drawn again.

    Parameters
    ----------
    rng
        Takes the same numbers for every draw, whatever the settings: five, and one more where there are several
        reflections.
    crystal
        The relaxed crystal (`braggworks.diffraction.relaxed.RelaxedCrystal`).
    reflections
        Miller indices, one of which is taken, all with equal probability.
    n
        Voxels per axis.
    oversampling
        Smallest and largest oversampling ratio.
    rotate
        Whether particle and G are rotated at random together, against the grid.

    Raises
    ------
    ConfigError
        If `MOST_DRAWS` draws are rejected one after the other.
    """
    for rejected in range(MOST_DRAWS):
        rotation, uniform = random_rotation(rng), rng.random()
        reflection = draw_reflection(rng, reflections)
        rotation = rotation if rotate else np.eye(3)
        atoms = crystal.atoms @ rotation.T
        extent = largest_extent(atoms)
        low, high = oversampling
        clear = clear_oversampling(n, extent, crystal.lattice_constant, rotation @ crystal.orientation)
        low = min(max(low, clear), high)
        ratio = low + (high - low) * uniform
        grid = QGrid(n, voxel_size(extent, ratio), rotation @ crystal.centre(reflection))
        measured = measured_oversampling(n, extents_in_voxels(atoms, grid.voxel))
        if measured.min() >= NYQUIST:
            return View(rotation, reflection, ratio, measured, grid, ratio < clear, rejected)
    raise ConfigError(
        f"None of {MOST_DRAWS} draws has an oversampling of 2 or more along every axis of the grid of {n}^3 voxels: "
        f"raise diffraction.oversampling, which is {low:g} to {high:g}, or diffraction.grid."
    )


def draw_reflection(rng: np.random.Generator, reflections: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    """Return one of the reflections; a single one takes no random number."""
    return reflections[0] if len(reflections) == 1 else reflections[int(rng.integers(len(reflections)))]
