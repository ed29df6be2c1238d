"""Labels: conventions of phase, twin and ramp, gridding of atoms, and agreement with the amplitude."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from label_inputs import Case, case, smooth_displacement

from braggworks.diffraction.labels import (
    amplitude_of,
    cloud_in_cell,
    complex_correlation,
    extents,
    gridded_label,
    object_of,
    phase_agreement,
    rsp,
    spread_cells,
    support_of,
)
from braggworks.diffraction.laue import fcc_block
from braggworks.diffraction.relaxed import relaxed_crystal
from braggworks.diffraction.sampling import (
    QGrid,
    draw_view,
    extents_in_voxels,
    measured_oversampling,
    random_rotation,
)

A = 4.08
CELL = A / 2 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
SHAPES = ("wulff", "winterbottom", "cube", "octahedron", "random")
MATERIALS = ("Au", "Pt", "Pd", "Ni", "Ag", "Cu")
REFLECTIONS = ((1, 1, 1), (2, 0, 0), (-2, 2, 0), (3, -1, 1))


def random_amplitude(seed: int, ndim: int, n: int = 8):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n,) * ndim) + 1j * rng.standard_normal((n,) * ndim)


def flipped(values):
    """Invert about voxel n//2 of even grids; the planes at index 0 have no partner."""
    inner = values[(slice(1, None),) * values.ndim]
    return np.flip(inner), inner


# --- reciprocal-space phase ---


@given(st.integers(0, 2**32), st.integers(1, 4), st.floats(-10, 10))
@settings(max_examples=30, deadline=None)
def test_the_rsp_is_zero_at_the_centre_whatever_the_global_phase(seed, ndim, turn):
    F = random_amplitude(seed, ndim)
    phase = rsp(F * np.exp(1j * turn))
    assert phase.dtype == np.float32
    assert phase.shape == F.shape
    assert phase[(4,) * ndim] == 0
    assert (phase >= -np.pi).all()
    assert (phase.astype(float) < np.pi).all()
    np.testing.assert_allclose(np.exp(1j * phase), np.exp(1j * rsp(F)), atol=1e-5)
    # With this offset, the object's sum is real and positive.
    total = object_of(np.abs(F) * np.exp(1j * phase)).sum()
    assert total.real == pytest.approx(abs(F[(4,) * ndim]), rel=1e-6)
    assert abs(total.imag) < 1e-6 * total.real


@given(st.integers(0, 2**32), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_the_twin_has_the_same_intensity_and_the_negated_rsp(seed, ndim):
    F = random_amplitude(seed, ndim)
    np.testing.assert_array_equal(rsp(np.conj(F)), -rsp(F))
    there, here = flipped(object_of(F)), flipped(object_of(np.conj(F)))
    np.testing.assert_allclose(there[0], np.conj(here[1]), atol=1e-12)


def test_opposite_and_dark_voxels_have_phases_too():
    F = np.array([0.0, -1.0, 2.0, -1.0 + 1e-12j], dtype=np.complex128)
    np.testing.assert_allclose(rsp(F), [0, -np.pi, 0, -np.pi], atol=1e-6)
    assert (rsp(F.astype(np.complex64)).astype(float) >= -np.pi).all()
    # Without a phase at the centre, there is no offset to remove.
    np.testing.assert_allclose(rsp([1j, -1j, 0, 1]), [np.pi / 2, -np.pi / 2, 0, 0])


def test_a_shift_of_the_object_is_a_ramp_of_the_rsp():
    obj = np.zeros((16, 16, 16), dtype=complex)
    obj[8, 8, 9] = 2.0
    ramp = -2 * np.pi * (np.arange(16) - 8) / 16
    np.testing.assert_allclose(np.exp(1j * rsp(amplitude_of(obj))[8, 8]), np.exp(1j * ramp), atol=1e-6)


# --- object and amplitude ---


@given(st.integers(0, 2**32), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_object_and_amplitude_are_inverse_and_keep_energy(seed, ndim):
    F = random_amplitude(seed, ndim)
    obj = object_of(F)
    np.testing.assert_allclose(amplitude_of(obj), F, atol=1e-12)
    assert (np.abs(F) ** 2).sum() == pytest.approx(F.size * (np.abs(obj) ** 2).sum())
    assert obj.sum() == pytest.approx(F[(4,) * ndim])


# --- gridding ---

points = arrays(np.float64, st.tuples(st.integers(1, 20), st.just(3)), elements=st.floats(-7, 6.99))


@given(points, st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_trilinear_weights_keep_the_sum_and_the_first_moment(positions, seed):
    weights = np.random.default_rng(seed).standard_normal(len(positions))
    grid = cloud_in_cell(positions, weights, 16)
    assert grid.dtype == np.float64
    assert grid.sum() == pytest.approx(weights.sum(), abs=1e-9)
    z, y, x = np.meshgrid(*[np.arange(16) - 8] * 3, indexing="ij")
    moment = [(grid * axis).sum() for axis in (x, y, z)]
    np.testing.assert_allclose(moment, weights @ positions, atol=1e-9)


@given(points, st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_gridding_equals_the_plain_loop_and_repeats_beyond_the_edges(positions, seed):
    rng, n = np.random.default_rng(seed), 8  # points up to 7 voxels away do not fit
    weights = rng.standard_normal(len(positions)) + 1j * rng.standard_normal(len(positions))
    expected = np.zeros((n, n, n), dtype=complex)
    for position, weight in zip(positions, weights, strict=True):
        for corner in itertools.product((0, 1), repeat=3):
            place = np.floor(position).astype(int) + corner
            share = np.prod(1 - np.abs(position - place))
            x, y, z = (place + n // 2) % n
            expected[z, y, x] += share * weight
    np.testing.assert_allclose(cloud_in_cell(positions, weights, n), expected, atol=1e-12)


def test_an_atom_on_a_voxel_stays_there_and_axes_are_z_y_x():
    grid = cloud_in_cell(np.array([[1.0, -2.0, 3.0]]), np.array([5.0]), 8)
    assert grid[7, 2, 5] == 5
    assert np.count_nonzero(grid) == 1


@pytest.mark.parametrize("shift", [0.0, 0.5, 0.125])
def test_planes_on_voxel_edges_do_no_harm(shift):
    # Two planes per voxel, all on edges at shift 0.5: nearest-voxel binning would double every other voxel.
    atoms = fcc_block((16, 16, 16), A) + A / 4 + shift * A
    density = spread_cells(atoms, np.ones(len(atoms)), A, 32, CELL)
    inside = density[11:21, 11:21, 11:21]
    np.testing.assert_allclose(inside, 4, atol=1e-9)


def test_voxels_finer_than_the_lattice_hold_the_crystal_and_not_its_atoms():
    rotation = random_rotation(np.random.default_rng(2))
    atoms = fcc_block((12, 12, 12), A) @ rotation.T
    voxel, inside = 1.7, (slice(26, 38),) * 3
    smooth = spread_cells(atoms, np.ones(len(atoms)), voxel, 64, CELL @ rotation.T)
    grainy = cloud_in_cell(atoms / voxel, np.ones(len(atoms)), 64)
    assert smooth.sum() == pytest.approx(len(atoms))
    assert smooth[inside].mean() == pytest.approx(4 * (voxel / A) ** 3, rel=0.01)
    assert smooth[inside].std() < 0.1 * smooth[inside].mean()
    assert grainy[inside].std() > 0.3 * grainy[inside].mean()


@given(points, st.floats(0.5, 3), st.integers(8, 16).map(lambda half: 2 * half))
@settings(max_examples=50, deadline=None)
def test_extents_of_atoms_are_those_of_their_support(positions, voxel, n):
    support = support_of(positions, voxel, n)
    reach = np.abs(positions).max() / voxel
    if reach < n / 2 - 1:
        measured = extents_in_voxels(positions, voxel)
        np.testing.assert_array_equal(extents(support), measured)
        np.testing.assert_array_equal(measured_oversampling(n, measured), n / extents(support))
        # The label lives on the support and at most one voxel around it.
        density = cloud_in_cell(positions / voxel, np.ones(len(positions)), n) > 0
        assert (extents(density) <= measured + 2).all()


def test_extents_count_from_the_first_to_the_last_voxel():
    support = np.zeros((5, 6, 7), dtype=bool)
    np.testing.assert_array_equal(extents(support), [0, 0, 0])
    support[1, 2, 3] = support[4, 2, 5] = True
    np.testing.assert_array_equal(extents(support), [4, 1, 3])
    np.testing.assert_array_equal(extents(support.any(axis=0)), [1, 3])


# --- measures ---


@given(st.integers(0, 2**32), st.floats(-3, 3), st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_the_measures_are_1_but_for_a_factor_and_fall_with_the_phase(seed, turn, factor):
    a = random_amplitude(seed, 3)
    assert complex_correlation(a, factor * np.exp(1j * turn) * a) == pytest.approx(1)
    assert phase_agreement(a, factor * np.exp(1j * turn) * a) == pytest.approx(1)
    rng = np.random.default_rng(seed)
    assert phase_agreement(a, a * rng.random(a.shape)) == pytest.approx(1)
    assert complex_correlation(a, a * rng.random(a.shape)) < 0.95
    half = np.where(np.arange(a.size).reshape(a.shape) % 2, 1j, 1)
    both = np.ones(a.shape)
    assert phase_agreement(both, half) == pytest.approx(np.cos(np.pi / 4))
    assert complex_correlation(a, random_amplitude(seed + 1, 3)) < 0.3


# --- atoms: conventions ---


@pytest.fixture(scope="module")
def engine():
    pytest.importorskip("finufft")
    from braggworks.diffraction.engines import load_engine

    return load_engine("nufft").amplitude


@pytest.fixture(scope="module")
def odd_case(engine) -> Case:
    """Return a strained crystal without any symmetry."""
    rng = np.random.default_rng(12)
    positions = fcc_block((10, 10, 10), A)
    positions = positions[positions @ [1.0, 1.3, 0.6] < 12]
    crystal = relaxed_crystal(positions, smooth_displacement(positions, rng), A, np.eye(3))
    return case(engine, crystal, draw_view(rng, crystal, [(1, 1, 1)], n=48, oversampling=(3, 3), rotate=True))


def test_the_inverted_crystal_is_the_twin(engine, odd_case):
    grid = odd_case.view.grid
    twin = engine(-odd_case.atoms, grid.centre, grid.dq, grid.n, 1)
    F = odd_case.amplitude
    assert np.abs(twin - np.conj(F)).max() < 1e-6 * np.abs(F).max()
    there, here = (
        flipped(gridded_label(-odd_case.atoms, grid, odd_case.crystal.cell @ odd_case.view.rotation.T))[0],
        (flipped(odd_case.label)[1]),
    )
    np.testing.assert_allclose(there, np.conj(here), atol=1e-9)
    # And it is another object: an error of the sign would be seen.
    assert complex_correlation(object_of(twin), odd_case.label) < 0.9
    assert complex_correlation(object_of(F), odd_case.label) > 0.98


def test_the_centre_of_mass_is_voxel_n_half(odd_case):
    n = odd_case.view.grid.n
    modulus = np.abs(odd_case.label)
    z, y, x = np.meshgrid(*[np.arange(n) - n // 2] * 3, indexing="ij")
    moment = np.array([(modulus * axis).sum() for axis in (x, y, z)]) / modulus.sum()
    np.testing.assert_allclose(moment, 0, atol=0.02)
    # Nothing is left of a ramp in the label's own transform: the phase is flat around the peak.
    assert np.abs(rsp(amplitude_of(modulus))[n // 2, n // 2, n // 2 - 1 : n // 2 + 2]).max() < 0.01


def test_the_offset_makes_the_sum_of_the_object_real_and_positive(odd_case):
    phase = rsp(odd_case.amplitude)
    total = object_of(np.abs(odd_case.amplitude) * np.exp(1j * phase)).sum()
    assert abs(np.angle(total)) < 1e-6


def slope_of(label):
    """Return the modulus-weighted mean step of the phase per voxel along x, y, z."""
    return [
        np.angle((label[after] * np.conj(label[before])).sum())
        for after, before in (
            (np.s_[:, :, 1:], np.s_[:, :, :-1]),
            (np.s_[:, 1:], np.s_[:, :-1]),
            (np.s_[1:], np.s_[:-1]),
        )
    ]


def test_the_mean_lattice_removes_the_linear_part_of_the_phase(engine):
    positions = fcc_block((9, 10, 8), A)
    strain = np.array([[0.012, 0.004, 0.0], [-0.003, -0.01, 0.002], [0.0, 0.006, 0.008]])
    crystal = relaxed_crystal(positions, positions @ strain.T, A, np.eye(3))
    view = draw_view(np.random.default_rng(1), crystal, [(2, 0, 0)], n=48, oversampling=(3, 3), rotate=True)
    made = case(engine, crystal, view)
    np.testing.assert_allclose(slope_of(made.label), 0, atol=1e-3)
    assert np.abs(made.amplitude).argmax() == np.ravel_multi_index((24, 24, 24), (48,) * 3)
    # Around the reflection of the unstrained lattice the same atoms have the ramp 2 pi (q - G) . r.
    grid = QGrid(48, view.grid.dq, view.rotation @ crystal.reference((2, 0, 0)))
    ramp = 2 * np.pi * (view.grid.centre - grid.centre) * grid.voxel
    found = slope_of(gridded_label(made.atoms, grid, crystal.cell @ view.rotation.T))
    np.testing.assert_allclose(found, ramp, atol=0.02)
    assert np.abs(ramp).max() > 0.1


def test_the_phase_of_the_label_is_minus_2_pi_g_u(odd_case):
    voxel, n = odd_case.view.grid.voxel, odd_case.view.grid.n
    nearest = np.floor(odd_case.atoms / voxel + 0.5).astype(int) + n // 2
    at_atoms = odd_case.label[tuple(nearest.T[::-1])]
    expected = np.exp(1j * odd_case.crystal.phases((1, 1, 1)))
    agreement = np.vdot(at_atoms, expected)
    assert abs(agreement) / np.abs(at_atoms).sum() > 0.99
    assert abs(np.vdot(at_atoms, np.conj(expected))) / np.abs(at_atoms).sum() < 0.9


def test_rotating_crystal_and_reflection_together_rotates_the_object(engine, odd_case):
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    view = odd_case.view
    grid = QGrid(view.grid.n, view.grid.dq, quarter @ view.grid.centre)
    turned = gridded_label(odd_case.atoms @ quarter.T, grid, odd_case.crystal.cell @ view.rotation.T @ quarter.T)
    # x goes to y, and y to -x; the faces at -n/2, which have no partner at n/2, are left out.
    inner = (slice(1, None),) * 3
    expected = amplitude_of(odd_case.label)[inner].swapaxes(1, 2)[:, :, ::-1]
    np.testing.assert_allclose(amplitude_of(turned)[inner], expected, atol=1e-9 * np.abs(expected).max())
    F = engine(odd_case.atoms @ quarter.T, grid.centre, grid.dq, grid.n, 1)
    assert complex_correlation(object_of(F), turned) > 0.98
