"""Patterns of crystals on a coarse grid: number density and lattice phase per voxel, transformed by FFT.

Yao et al., npj Comput. Mater. 8, 124 (2022), doi:10.1038/s41524-022-00803-w: the density is normalised by its largest
value, the lattice phase is 2 pi times the displacement along the reflection in units of its planes, both on voxels
("bins") of about two lattice constants in a grid that is half as wide as the pattern's.

Different here: atoms are shared by the eight nearest voxels (`labels.cloud_in_cell`), where nearest-voxel bins beat
with the lattice planes and, on planes that fall on edges, depend on rounding; and the phase is -2 pi G . u, without its
linear part, as everywhere in this package.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from braggworks.diffraction.engines import ComplexArray, FloatArray
from braggworks.diffraction.labels import amplitude_of, spread_cells
from braggworks.diffraction.relaxed import RelaxedCrystal
from braggworks.diffraction.sampling import (
    MOST_DRAWS,
    NYQUIST,
    QGrid,
    View,
    draw_reflection,
    extents_in_voxels,
    measured_oversampling,
    random_rotation,
)
from braggworks.errors import ConfigError

#: Empty space that the object's grid holds along each axis beside the particle, both sides together, in lattice units.
PADDING = 5.0
# Less than this part of the largest density is rounding, and has no phase.
_EMPTY = 1e-9


def draw_gridded_view(
    rng: np.random.Generator,
    crystal: RelaxedCrystal,
    reflections: Sequence[tuple[int, int, int]],
    *,
    bin_size: float,
    object_grid: int,
    n: int,
    rotate: bool,
) -> View:
    """Draw the geometry of one pattern, anew until the particle with its padding fits into the object's grid.

    Parameters
    ----------
    rng
        Takes four numbers for every draw, and one more where there are several reflections.
    crystal
        The relaxed crystal.
    reflections
        Miller indices, one of which is taken, all with equal probability.
    bin_size
        Edge of a voxel of the object, in angstrom.
    object_grid
        Voxels per axis in which the particle must fit, with `PADDING`.
    n
        Voxels per axis of the pattern, after zero-padding.
    rotate
        Whether particle and G are rotated at random together, against the grid.

    Raises
    ------
    ConfigError
        If the particle does not fit in any of `MOST_DRAWS` orientations.
    """
    room = object_grid * bin_size - PADDING * crystal.lattice_constant
    least = np.inf
    for rejected in range(MOST_DRAWS):
        rotation = random_rotation(rng)
        reflection = draw_reflection(rng, reflections)
        rotation = rotation if rotate else np.eye(3)
        atoms = crystal.atoms @ rotation.T
        extent = float(np.ptp(atoms, axis=0).max())
        measured = measured_oversampling(n, extents_in_voxels(atoms, bin_size))
        if extent <= room and measured.min() >= NYQUIST:
            grid = QGrid(n, 1 / (n * bin_size), rotation @ crystal.centre(reflection))
            return View(rotation, reflection, n * bin_size / extent, measured, grid, crowded=False, rejected=rejected)
        least = min(least, extent)
    raise ConfigError(
        f"The particle is {least:.0f} angstrom wide or more in each of {MOST_DRAWS} orientations, where object_grid, "
        f"{object_grid} voxels of {bin_size:g} angstrom, leaves {room:.0f} beside the padding: raise "
        "diffraction.bin_size or diffraction.object_grid, or make the crystals smaller."
    )


def gridded_object(atoms: FloatArray, phases: FloatArray, voxel: float, n: int, cell: FloatArray) -> ComplexArray:
    """Return the object: number density, normalised by its largest value, times exp(i lattice phase).

    Parameters
    ----------
    atoms
        Positions (x, y, z) in the rotated frame, shape (N, 3), in angstrom, around the origin.
    phases
        Lattice phase of each atom, in radians, unwrapped, shape (N,); a voxel gets the mean of its atoms.
    voxel
        Edge of a voxel, in angstrom.
    n
        Voxels per axis.
    cell
        Primitive vectors of the crystal in the rotated frame, as rows, shape (3, 3), in angstrom.

    Returns
    -------
    ndarray
        Shape (n, n, n), axes (z, y, x), complex128; the origin is at voxel n//2.
    """
    # Both sums in one pass: the density as the real part, the phases as the imaginary one.
    both = spread_cells(atoms, (1 + 1j * phases).astype(np.complex128), voxel, n, cell)
    density = both.real / both.real.max()
    filled = density > _EMPTY
    phase = np.divide(both.imag, both.real, out=np.zeros_like(density), where=filled)
    return np.asarray(density * np.exp(1j * phase))


def gridded_amplitude(crystal: RelaxedCrystal, view: View) -> ComplexArray:
    """Return the amplitude of a view of `draw_gridded_view`, shape (n, n, n), axes (z, y, x), peak at n//2."""
    R = view.rotation
    phases = crystal.phases(view.reflection)
    return amplitude_of(gridded_object(crystal.atoms @ R.T, phases, view.grid.voxel, view.grid.n, crystal.cell @ R.T))
