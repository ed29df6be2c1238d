"""Strained crystals with their amplitude and their gridded label, for tests of labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braggworks.diffraction.labels import gridded_label
from braggworks.diffraction.relaxed import RelaxedCrystal
from braggworks.diffraction.sampling import View


@dataclass(frozen=True, eq=False)
class Case:
    crystal: RelaxedCrystal
    view: View
    amplitude: np.ndarray
    label: np.ndarray

    @property
    def atoms(self):
        return self.crystal.atoms @ self.view.rotation.T


def smooth_displacement(positions, rng, size=0.25):
    """Return waves about as long as the particle, and a homogeneous strain."""
    reach = np.abs(positions).max()
    waves = np.sin(positions @ rng.normal(size=(3, 3)) * 1.2 / reach + rng.uniform(0, 2 * np.pi, 3))
    return size * waves @ rng.normal(size=(3, 3)) + positions @ rng.normal(size=(3, 3)) * 0.005


def case(engine, crystal, view) -> Case:
    atoms, grid = crystal.atoms @ view.rotation.T, view.grid
    F = engine(atoms, grid.centre, grid.dq, grid.n, 1)
    return Case(crystal, view, F, gridded_label(atoms, grid, crystal.cell @ view.rotation.T))
