"""A relaxed crystal as diffraction sees it: its mean lattice, and what its atoms' phases add to that.

The homogeneous part of the displacement only moves the Bragg peak. It is fitted over the relaxed positions, where the
object lives, so that the object's phase -2 pi G . w has no linear part there; w is the rest of the displacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from braggworks.diffraction.engines import FloatArray
from braggworks.diffraction.sampling import reflection_vector
from braggworks.particles.displacements import affine_gradient
from braggworks.particles.strain import nearest_neighbours

_PRIMITIVE = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])


@dataclass(frozen=True, eq=False)
class RelaxedCrystal:
    """A relaxed crystal in the laboratory frame.

    Parameters
    ----------
    atoms
        Relaxed positions (x, y, z), shape (N, 3), in angstrom, with the centre of mass at the origin.
    heterogeneous
        Displacement w without its homogeneous part and mean, shape (N, 3), in angstrom.
    gradient
        Homogeneous part of the displacement over the relaxed positions, shape (3, 3): rows are components.
    bulk
        Whether an atom has all its twelve neighbours in the reference lattice, shape (N,). On surfaces, atoms may hop
        from site to site, which is a whole number of turns and no phase, so that only the bulk is measured.
    local
        Gradient of w at each atom of the bulk, shape (B, 3, 3), with [b, i, j] = dw_i/dr_j.
    lattice_constant
        Edge of the cubic cell of the reference lattice, in angstrom.
    orientation
        Rotation from the cubic axes to the laboratory, shape (3, 3).
    """

    atoms: FloatArray
    heterogeneous: FloatArray
    gradient: FloatArray
    bulk: npt.NDArray[np.bool_]
    local: FloatArray
    lattice_constant: float
    orientation: FloatArray

    @property
    def cell(self) -> FloatArray:
        """Primitive vectors of the mean relaxed lattice in the laboratory, as rows, shape (3, 3), in angstrom."""
        reference = _PRIMITIVE * self.lattice_constant @ self.orientation.T
        return np.asarray(np.linalg.solve(np.eye(3) - self.gradient, reference.T).T)

    def reference(self, reflection: Sequence[int]) -> FloatArray:
        """Return G of the reference lattice in the laboratory, shape (3,), in 1/angstrom."""
        return reflection_vector(reflection, self.lattice_constant, self.orientation)

    def centre(self, reflection: Sequence[int]) -> FloatArray:
        """Return the scattering vector of the mean relaxed lattice: the peak, and the centre of the pattern."""
        return deformed_reflection(self.reference(reflection), self.gradient)

    def phases(self, reflection: Sequence[int]) -> FloatArray:
        """Return each atom's phase -2 pi G . w, in radians, unwrapped, shape (N,)."""
        return np.asarray(-2 * np.pi * (self.heterogeneous @ self.reference(reflection)))

    def phase_range(self, reflection: Sequence[int]) -> float:
        """Return the largest minus the smallest of `phases` in the bulk, in radians."""
        phases = self.phases(reflection)
        return float(np.ptp(phases[self.bulk] if self.bulk.any() else phases))

    def phase_gradient(self, reflection: Sequence[int]) -> float:
        """Return the root mean square of the gradient of `phases` in the bulk, in rad/angstrom."""
        gradient = 2 * np.pi * (self.reference(reflection) @ self.local)
        return _rms(np.linalg.norm(gradient, axis=-1))

    def strain(self, reflection: Sequence[int]) -> float:
        """Return the root mean square of the strain along G in the bulk, without the homogeneous part."""
        direction = self.reference(reflection)
        direction = direction / np.linalg.norm(direction)
        return _rms(direction @ self.local @ direction)


def relaxed_crystal(
    positions: FloatArray, displacement: FloatArray, lattice_constant: float, orientation: FloatArray
) -> RelaxedCrystal:
    """Return the crystal that a displacement makes of a perfect one.

    Parameters
    ----------
    positions
        Atoms of the perfect lattice in the laboratory, shape (N, 3), in angstrom.
    displacement
        Of each atom, shape (N, 3), in angstrom.
    lattice_constant, orientation
        As in `RelaxedCrystal`.

    Raises
    ------
    ValueError
        If the positions are no sites of the fcc lattice of this constant and orientation.
    """
    atoms = positions + displacement
    atoms = atoms - atoms.mean(axis=0)
    gradient = affine_gradient(atoms, displacement)
    heterogeneous = displacement - displacement.mean(axis=0) - atoms @ gradient.T
    neighbours = nearest_neighbours(positions, lattice_constant, orientation)
    bulk = np.asarray((neighbours >= 0).all(axis=1))
    local = _bulk_gradient(positions, heterogeneous, neighbours[bulk], bulk) / (2 * lattice_constant**2)
    return RelaxedCrystal(atoms, heterogeneous, gradient, bulk, local, lattice_constant, orientation)


def deformed_reflection(G: FloatArray, gradient: FloatArray) -> FloatArray:
    """Return G of the homogeneously deformed lattice.

    Atoms moved by u = B r + constant, where r are the positions after the move, came from (I - B) r; so the plane
    waves of the lattice there have G - B^T G.

    Parameters
    ----------
    G
        Reciprocal-lattice vector of the reference lattice, shape (3,), in 1/angstrom.
    gradient
        Displacement gradient B over the positions after the move, shape (3, 3).
    """
    return np.asarray(G - gradient.T @ G)


def _bulk_gradient(
    positions: FloatArray, field: FloatArray, neighbours: npt.NDArray[np.int64], bulk: npt.NDArray[np.bool_]
) -> FloatArray:
    """Return the sum over an atom's twelve bonds d of (step of the field) d^T, shape (B, 3, 3).

    In fcc, the sum of d d^T is 2 a^2 times the unit matrix, so that this is 2 a^2 times the least-squares gradient.
    """
    here, there = field[bulk], positions[bulk][:1]
    total = np.zeros((len(here), 3, 3))
    for column in neighbours.T:
        # The bonds of one column are the same for all atoms.
        total += (field[column] - here)[:, :, None] * (positions[column[:1]] - there)[:, None, :]
    return total


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else 0.0
