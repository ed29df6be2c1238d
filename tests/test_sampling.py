"""Invariants of the sampling of reciprocal space, and of the mean lattice of relaxed crystals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from braggworks.diffraction.laue import fcc_block, laue_amplitude
from braggworks.diffraction.relaxed import RelaxedCrystal, deformed_reflection, relaxed_crystal
from braggworks.diffraction.sampling import (
    MOST_DRAWS,
    QGrid,
    clear_oversampling,
    draw_view,
    extents_in_voxels,
    is_allowed_fcc,
    random_rotation,
    reflection_vector,
)
from braggworks.errors import ConfigError
from braggworks.seeds import generator

A = 4.08  # gold, in angstrom
N = 32
G = reflection_vector((1, 1, 1), A, np.eye(3))
SKEW = random_rotation(np.random.default_rng(5))
gradients = arrays(np.float64, (3, 3), elements=st.floats(-0.05, 0.05))


def strained_ball(atoms: int = 18_000):
    """Return reference positions and a displacement whose phase spans several turns."""
    block = fcc_block((18, 18, 18), A)
    ball = block[np.argsort(np.linalg.norm(block, axis=1), kind="stable")[:atoms]]
    return ball, 1.5 * np.sin(2 * np.pi * ball[:, [1, 2, 0]] / 70)


def test_grid_points_are_centred_and_ordered_z_y_x():
    grid = QGrid(8, 0.5, np.array([1.0, 2.0, 3.0]))
    points = grid.points()
    np.testing.assert_array_equal(points[4, 4, 4], grid.centre)
    np.testing.assert_array_equal(points[4, 4, 5] - points[4, 4, 4], [0.5, 0, 0])
    np.testing.assert_array_equal(points[5, 4, 4] - points[4, 4, 4], [0, 0, 0.5])
    np.testing.assert_array_equal(points[0, 0, 0], grid.centre - 4 * 0.5)


@pytest.mark.parametrize("hkl", [(1, 1, 1), (2, 0, 0), (-2, 2, 0), (3, 1, -1), (0, 0, 4)])
def test_allowed_reflections_have_the_length_of_their_indices(hkl):
    assert is_allowed_fcc(hkl)
    assert np.linalg.norm(reflection_vector(hkl, A, SKEW)) == pytest.approx(np.linalg.norm(hkl) / A)
    assert abs(laue_amplitude((2, 3, 4), A, reflection_vector(hkl, A, np.eye(3)))) == pytest.approx(96)


@pytest.mark.parametrize("hkl", [(1, 0, 0), (2, 1, 1), (0, 0, 0), (-1, 2, 0)])
def test_forbidden_reflections_are_refused(hkl):
    assert not is_allowed_fcc(hkl)
    with pytest.raises(ConfigError, match="is forbidden in a face-centred cubic lattice"):
        reflection_vector(hkl, A, np.eye(3))
    if any(hkl):
        assert abs(laue_amplitude((2, 3, 4), A, np.array(hkl) / A)) < 1e-9


@given(gradients)
@settings(max_examples=25, deadline=None)
def test_the_mean_lattice_of_a_homogeneous_field_is_found_and_nothing_remains(gradient):
    positions = fcc_block((2, 3, 2), A) + 7.0
    moved = positions @ gradient.T + [0.3, -1.0, 0.1]
    crystal = relaxed_crystal(positions, moved, A, np.eye(3))
    # r -> (I + E) r takes G to (I + E)^-T G: phases G . r of the lattice are the same before and after.
    np.testing.assert_allclose(crystal.centre((1, 1, 1)), np.linalg.solve((np.eye(3) + gradient).T, G), atol=1e-12)
    np.testing.assert_allclose(crystal.cell @ crystal.centre((1, 1, 1)), [1, 1, 1], atol=1e-9)
    np.testing.assert_allclose(crystal.heterogeneous, 0, atol=1e-9)
    np.testing.assert_allclose(crystal.atoms.mean(axis=0), 0, atol=1e-12)
    assert crystal.phase_range((2, 0, 0)) < 1e-8
    assert crystal.strain((2, 0, 0)) < 1e-8


def test_phases_are_those_of_the_atoms_without_a_linear_part():
    positions, displacement = strained_ball(4_000)
    positions, displacement = positions @ SKEW.T, displacement + 0.01 * positions
    crystal = relaxed_crystal(positions, displacement, A, SKEW)
    for hkl in ((1, 1, 1), (-2, 2, 0)):
        phases = crystal.phases(hkl)
        # The plane wave at the centre of the pattern, over the relaxed atoms, has these phases but for a constant.
        wave = np.exp(-2j * np.pi * (crystal.atoms @ crystal.centre(hkl)) - 1j * phases)
        np.testing.assert_allclose(wave, wave[0], atol=1e-9)
        slope = np.linalg.lstsq(np.c_[crystal.atoms, np.ones(len(phases))], phases, rcond=None)[0]
        np.testing.assert_allclose(slope, 0, atol=1e-12)
        inner = np.linalg.norm(positions, axis=1) < np.linalg.norm(positions, axis=1).max() - A
        assert crystal.bulk[inner].all()
        assert np.ptp(phases[inner]) <= crystal.phase_range(hkl) < np.ptp(phases)
        assert crystal.phase_range(hkl) > 3


@pytest.mark.parametrize("hkl", [(1, 1, 1), (2, 0, 0), (-3, 1, 1)])
def test_gradient_and_strain_of_a_wave_are_the_analytic_ones(hkl):
    positions = fcc_block((14, 14, 14), A) @ SKEW.T
    wave, direction = SKEW @ [0.0, 0.4, 0.7] / (4 * A), np.array([0.2, -0.5, 0.3])
    displacement = np.sin(2 * np.pi * positions @ wave)[:, None] * direction
    crystal = relaxed_crystal(positions, displacement, A, SKEW)
    G = SKEW @ np.array(hkl) / A
    # u = d sin(2 pi k . r): mean squares of cosines are 1/2 over many periods.
    slope = (2 * np.pi) ** 2 * abs(G @ direction) / np.sqrt(2)
    assert crystal.phase_gradient(hkl) == pytest.approx(slope * np.linalg.norm(wave), rel=0.1)
    along = abs(G @ wave) / np.linalg.norm(G)
    assert crystal.strain(hkl) == pytest.approx(slope * along / (2 * np.pi * np.linalg.norm(G)), rel=0.1, abs=3e-4)


def test_an_atom_that_hops_on_the_surface_changes_no_measure():
    positions, displacement = strained_ball(4_000)
    hopped = displacement.copy()
    hopped[np.linalg.norm(positions, axis=1).argmax()] += [A / 2, A / 2, 0]
    before, after = (relaxed_crystal(positions, u, A, np.eye(3)) for u in (displacement, hopped))
    for measure in ("phase_range", "phase_gradient", "strain"):
        values = [getattr(crystal, measure)((1, 1, 1)) for crystal in (before, after)]
        assert values[0] == pytest.approx(values[1], rel=0.02)
    assert np.ptp(after.phases((1, 1, 1))) > np.ptp(before.phases((1, 1, 1))) + 1


def test_atoms_off_the_lattice_are_refused():
    positions = fcc_block((3, 3, 3), A)
    for wrong in (positions @ SKEW.T, positions * 1.1, positions[:, :] + 0.3 * np.arange(len(positions))[:, None]):
        with pytest.raises(ValueError, match="no sites of a face-centred cubic lattice"):
            relaxed_crystal(wrong, np.zeros_like(wrong), A, np.eye(3))


def test_a_displacement_gradient_acts_on_the_reflection_from_the_left():
    gradient = np.zeros((3, 3))
    gradient[0, 1] = 0.01  # u_x grows along y
    np.testing.assert_allclose(deformed_reflection(np.array([1.0, 0, 0]), gradient), [1, -0.01, 0])


def test_random_rotations_are_proper_and_uniform():
    rng = np.random.default_rng(0)
    rotations = np.stack([random_rotation(rng) for _ in range(4000)])
    np.testing.assert_allclose(
        rotations @ rotations.swapaxes(1, 2), np.broadcast_to(np.eye(3), (4000, 3, 3)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    # On SO(3) every entry is uniform in [-1, 1], and the trace's mean is 0.
    np.testing.assert_allclose(np.quantile(rotations, [0.25, 0.5, 0.75], axis=0)[:, 0, 0], [-0.5, 0, 0.5], atol=0.05)
    np.testing.assert_allclose((rotations**2).mean(axis=0), 1 / 3, atol=0.02)
    assert abs(np.trace(rotations, axis1=1, axis2=2).mean()) < 0.06


def perfect(cells) -> RelaxedCrystal:
    positions = fcc_block(cells, A)
    return relaxed_crystal(positions, np.zeros_like(positions), A, np.eye(3))


def view(oversampling=(2.2, 5.0), *, rotate=True, n=64, cells=(12, 12, 12), rng=None, reflections=((1, 1, 1),)):
    rng = rng or generator("campaign", 1, 0, "scatter")
    return draw_view(rng, perfect(cells), reflections, n=n, oversampling=oversampling, rotate=rotate)


def test_a_view_has_the_ratio_that_it_names_on_its_longest_axis():
    drawn = view()
    atoms = fcc_block((12, 12, 12), A) @ drawn.rotation.T
    ratios = 1 / (drawn.grid.dq * np.ptp(atoms, axis=0))
    assert ratios.min() == pytest.approx(drawn.ratio)
    assert 2.2 <= drawn.ratio <= 5
    np.testing.assert_allclose(drawn.grid.centre, drawn.rotation @ G)
    assert drawn.grid.voxel * 64 * drawn.grid.dq == pytest.approx(1)
    assert drawn.reflection == (1, 1, 1)
    assert not drawn.crowded


@given(st.integers(0, 2**32), st.integers(3, 12), st.integers(3, 12), st.sampled_from([16, 24, 64]))
@settings(max_examples=25, deadline=None)
def test_every_axis_of_a_view_is_measured_and_at_least_2(seed, short, long, n):
    drawn = view((2.0, 4.0), cells=(short, long, 8), n=n, rng=np.random.default_rng(seed))
    atoms = fcc_block((short, long, 8), A) @ drawn.rotation.T
    # From the first to the last voxel is more than the atoms span, by less than one voxel at either end.
    span = np.ptp(atoms, axis=0)[::-1] / drawn.grid.voxel
    extent = n / drawn.oversampling
    assert (np.abs(extent - 1 - span) < 1).all()
    np.testing.assert_allclose(extent, np.round(extent), atol=1e-9)
    assert drawn.oversampling.min() >= 2


def test_extents_count_the_voxels_along_z_y_x():
    atoms = np.array([[0.0, 0, 0], [10, 0, 0], [0, -4.9, 0], [0, 1.2, 0]])
    np.testing.assert_array_equal(extents_in_voxels(atoms, 2.0), [1, 4, 6])
    # An atom on the edge of two voxels belongs to the upper one.
    np.testing.assert_array_equal(extents_in_voxels(np.array([[-1.0, 0, 0], [1.0, 0, 0]]), 2.0), [1, 1, 2])


def test_an_undersampled_draw_is_rejected_counted_and_drawn_again():
    drawn = [view((2.0, 2.6), n=24, rng=np.random.default_rng(seed)) for seed in range(40)]
    rejected = [one.rejected for one in drawn]
    assert max(rejected) > 0
    assert min(rejected) == 0
    assert all((one.oversampling >= 2).all() for one in drawn)
    # What was rejected comes from the same generator: the next draw is what a fresh view would take there.
    seed = next(seed for seed, count in enumerate(rejected) if count == 1)
    rng = np.random.default_rng(seed)
    view((2.2, 5.0), n=64, rng=rng)
    np.testing.assert_array_equal(view((2.0, 2.6), n=24, rng=rng).rotation, drawn[seed].rotation)


def test_a_grid_that_never_suffices_is_told_after_many_draws():
    sentence = rf"None of {MOST_DRAWS} draws has an oversampling of 2 or more .*: raise diffraction\.oversampling"
    with pytest.raises(ConfigError, match=sentence):
        view((2.0, 2.0), rotate=False, cells=(6, 6, 6), n=16)


def test_views_repeat_and_later_ones_do_not_depend_on_the_settings():
    first, second = generator("c", 1, 0, "scatter"), generator("c", 1, 0, "scatter")
    view(rng=first)
    view((3.0, 3.0), rotate=False, n=16, rng=second)
    np.testing.assert_array_equal(view(rng=first).rotation, view(rng=second).rotation)
    assert view(rng=generator("c", 1, 1, "scatter")).ratio != view(rng=generator("c", 1, 2, "scatter")).ratio


def test_reflections_are_drawn_evenly_and_a_single_one_costs_no_random_number():
    several, rng = ((1, 1, 1), (2, 0, 0), (-2, 2, 0)), np.random.default_rng(3)
    drawn = [view(reflections=several, cells=(4, 4, 4), n=32, rng=rng) for _ in range(300)]
    counts = [sum(one.reflection == hkl for one in drawn) for hkl in several]
    assert sum(counts) == 300
    assert min(counts) > 70
    for one in drawn[:10]:
        np.testing.assert_allclose(one.grid.centre, one.rotation @ np.array(one.reflection) / A)
    single, plain = np.random.default_rng(4), np.random.default_rng(4)
    view(rng=single)
    random_rotation(plain)
    plain.random()
    assert single.random() == plain.random()


def test_without_rotation_the_grid_keeps_the_laboratory():
    drawn = view(rotate=False)
    np.testing.assert_array_equal(drawn.rotation, np.eye(3))
    np.testing.assert_array_equal(drawn.grid.centre, G)


@given(st.integers(0, 2**32), st.integers(3, 9))
@settings(max_examples=25, deadline=None)
def test_no_other_reflection_lies_in_a_clear_grid(seed, cells):
    rng = np.random.default_rng(seed)
    drawn = view((2.0, 20.0), cells=(cells,) * 3, rng=rng)
    h = np.array([[h, k, l] for h in range(-4, 5) for k in range(-4, 5) for l in range(-4, 5)])  # noqa: E741
    others = [hkl for hkl in h[np.all(h % 2 == h[:, :1] % 2, axis=1)] if tuple(hkl) != (1, 1, 1)]
    offsets = (np.array(others) / A @ drawn.rotation.T - drawn.grid.centre) / drawn.grid.dq
    assert drawn.crowded or np.abs(offsets).max(axis=1).min() >= 32


def test_a_tiny_particle_is_taken_at_the_highest_ratio_and_marked():
    drawn = view((2.2, 5.0), cells=(2, 2, 2))
    assert drawn.ratio == 5
    assert drawn.crowded
    assert clear_oversampling(64, 2.0, A, np.eye(3)) == np.inf
