"""Density and lattice phase on a coarse grid: conventions, padding, and agreement with the sum over atoms."""

from __future__ import annotations

import numpy as np
import pytest

from braggworks.diffraction.gridding import PADDING, draw_gridded_view, gridded_amplitude, gridded_object
from braggworks.diffraction.labels import complex_correlation, extents, object_of, phase_agreement, rsp
from braggworks.diffraction.laue import fcc_block
from braggworks.diffraction.relaxed import RelaxedCrystal, relaxed_crystal
from braggworks.diffraction.sampling import QGrid, View, random_rotation
from braggworks.errors import ConfigError

A = 4.08
HKL = (1, 1, 1)
SETTINGS = {"bin_size": 8.0, "object_grid": 16, "n": 32, "rotate": True}


def crystal_of(cells=(14, 15, 13), size=0.3, strain=0.0, orientation=None) -> RelaxedCrystal:
    """Return a crystal without symmetry: a block with one corner cut, and long waves of displacement."""
    turn = np.eye(3) if orientation is None else orientation
    block = fcc_block(cells, A)
    block = block[block @ [1.0, 1.2, 0.7] < 25]
    waves = size * np.sin(block[:, [1, 2, 0]] / 15 + [0.3, 1.0, 2.0])
    return relaxed_crystal(block @ turn.T, (waves + strain * block) @ turn.T, A, turn)


def aligned(crystal: RelaxedCrystal, n: int = 32, voxel: float = 8.0, rotation=None) -> View:
    rotation = np.eye(3) if rotation is None else rotation
    grid = QGrid(n, 1 / (n * voxel), rotation @ crystal.centre(HKL))
    return View(rotation, HKL, 2.0, np.full(3, 2.0), grid, crowded=False, rejected=0)


@pytest.mark.parametrize("seed", range(4))
def test_the_gridded_object_agrees_with_the_sum_over_atoms(seed):
    pytest.importorskip("finufft")
    from braggworks.diffraction.engines import load_engine

    crystal = crystal_of(orientation=random_rotation(np.random.default_rng(seed)))
    reflections = ((1, 1, 1), (2, 0, 0), (-2, 2, 0))
    view = draw_gridded_view(np.random.default_rng(seed), crystal, reflections, **SETTINGS)
    grid, atoms = view.grid, crystal.atoms @ view.rotation.T
    obj = object_of(gridded_amplitude(crystal, view))
    # What trilinear weights do to an atom, on average over its places in a voxel.
    transfer = np.sinc((np.arange(grid.n) - grid.n // 2) / grid.n) ** 2
    F = load_engine("nufft").amplitude(atoms, grid.centre, grid.dq, grid.n, 1)
    summed = object_of(F * transfer * transfer[:, None] * transfer[:, None, None])
    assert complex_correlation(obj, summed) > 0.99
    assert phase_agreement(obj, summed) > 0.995
    # The twin is another object.
    assert complex_correlation(np.conj(obj), summed) < 0.98


def test_a_perfect_crystal_has_a_flat_phase_and_a_density_of_1():
    crystal = crystal_of(size=0.0)
    obj = gridded_object(crystal.atoms, crystal.phases(HKL), 2 * A, 32, crystal.cell)
    assert np.abs(obj).max() == pytest.approx(1)
    np.testing.assert_allclose(np.angle(obj), 0, atol=1e-9)
    inner = np.abs(obj)[14:17, 14:17, 14:17]
    np.testing.assert_allclose(inner, 1, atol=0.01)
    # The modulus, times the atoms of a full voxel, counts the atoms.
    assert np.abs(obj).sum() * 4 * 2**3 == pytest.approx(len(crystal.atoms), rel=0.01)


@pytest.mark.parametrize("shift", [0.0, 0.125, 0.25, 0.5])
def test_planes_on_voxel_edges_leave_the_density_even(shift):
    atoms = fcc_block((12, 12, 12), A) + shift * A
    obj = gridded_object(atoms, np.zeros(len(atoms)), 2 * A, 16, A / 2 * (1 - np.eye(3)))
    np.testing.assert_allclose(np.abs(obj)[7:10, 7:10, 7:10], np.abs(obj)[8, 8, 8], rtol=1e-9)


def test_a_voxel_has_the_mean_phase_of_its_atoms_and_no_wraps():
    atoms = np.array([[0.0, 0, 0], [0, 0, 0], [8.0, 0, 0], [12.0, 0, 0]])
    obj = gridded_object(atoms, np.array([1.0, 2.0, 50.0, 50.0]), 8.0, 8, A / 2 * (1 - np.eye(3)))
    assert np.angle(obj[4, 4, 4]) == pytest.approx(1.5)
    assert np.exp(1j * np.angle(obj[4, 4, 5])) == pytest.approx(np.exp(50j))
    # The atom half way between two voxels belongs to both.
    np.testing.assert_allclose(np.abs(obj)[4, 4, 4:7], [1, 0.75, 0.25])


def test_the_phase_is_minus_2_pi_g_u_without_the_linear_part():
    crystal, strained = crystal_of(), crystal_of(strain=0.004)
    for one in (crystal, strained):
        obj = object_of(gridded_amplitude(one, aligned(one)))
        nearest = np.floor(one.atoms / 8.0 + 0.5).astype(int) + 16
        at_atoms = obj[tuple(nearest.T[::-1])]
        expected = np.exp(1j * one.phases(HKL))
        assert abs(np.vdot(at_atoms, expected)) / np.abs(at_atoms).sum() > 0.98
    # A homogeneous strain moves the peak, which stays in the centre, and hardly changes the object.
    first, second = (object_of(gridded_amplitude(one, aligned(one))) for one in (crystal, strained))
    assert complex_correlation(first, second) > 0.995
    assert np.linalg.norm(strained.centre(HKL)) < 0.998 * np.linalg.norm(crystal.centre(HKL))


def test_the_pattern_is_centred_and_its_rsp_zero_there():
    crystal = crystal_of(size=0.1)
    F = gridded_amplitude(crystal, aligned(crystal))
    assert np.abs(F).argmax() == np.ravel_multi_index((16, 16, 16), F.shape)
    assert rsp(F)[16, 16, 16] == 0
    modulus = np.abs(object_of(F))
    z, y, x = np.meshgrid(*[np.arange(32) - 16] * 3, indexing="ij")
    np.testing.assert_allclose([(modulus * axis).sum() for axis in (x, y, z)], 0, atol=0.01 * modulus.sum())


def test_rotating_the_particle_rotates_the_object():
    crystal = crystal_of()
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    plain = object_of(gridded_amplitude(crystal, aligned(crystal)))
    turned = object_of(gridded_amplitude(crystal, aligned(crystal, rotation=quarter)))
    np.testing.assert_allclose(turned[:, :, 1:], plain.swapaxes(1, 2)[:, :, :0:-1], atol=1e-9)


def test_a_view_fits_with_its_padding_and_is_measured():
    crystal = crystal_of()
    views = [draw_gridded_view(np.random.default_rng(seed), crystal, [HKL], **SETTINGS) for seed in range(10)]
    for view in views:
        atoms = crystal.atoms @ view.rotation.T
        extent = np.ptp(atoms, axis=0).max()
        assert extent + PADDING * A <= 16 * 8.0
        assert view.ratio == pytest.approx(32 * 8.0 / extent)
        assert view.grid.dq == pytest.approx(1 / (32 * 8.0))
        np.testing.assert_allclose(view.grid.centre, view.rotation @ crystal.centre(HKL))
        obj = object_of(gridded_amplitude(crystal, view))
        assert (extents(np.abs(obj) > 1e-6) <= 16).all()
        assert (32 / view.oversampling <= extents(np.abs(obj) > 1e-6)).all()
        assert (32 / view.oversampling >= extents(np.abs(obj) > 0.5)).all()
    assert len({view.rotation.tobytes() for view in views}) == 10


def test_orientations_that_do_not_fit_are_rejected_and_counted():
    crystal = crystal_of((17, 17, 17), size=0.0)
    tight = {**SETTINGS, "bin_size": 6.5}
    rng = np.random.default_rng(0)
    views = [draw_gridded_view(rng, crystal, [HKL], **tight) for _ in range(5)]
    assert sum(view.rejected for view in views) > 5
    for view in views:
        assert np.ptp(crystal.atoms @ view.rotation.T, axis=0).max() <= 16 * 6.5 - PADDING * A


def test_a_particle_that_never_fits_is_told_with_its_width():
    crystal = crystal_of((17, 17, 17), size=0.0)
    tight = {**SETTINGS, "bin_size": 4.0, "rotate": False}
    with pytest.raises(ConfigError, match=r"is 67 angstrom wide or more .*leaves 44 beside the padding: raise"):
        draw_gridded_view(np.random.default_rng(0), crystal, [HKL], **tight)


def test_voxels_finer_than_the_lattice_show_no_atoms():
    crystal = crystal_of((8, 8, 8), size=0.0)
    obj = np.abs(gridded_object(crystal.atoms, crystal.phases(HKL), 2.2, 32, crystal.cell))
    inner = obj[13:18, 13:18, 13:18]
    assert inner.std() < 0.1 * inner.mean()
