"""Invariants of the scattering engines, and of the detector."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from braggworks.diffraction.detector import poisson_counts
from braggworks.diffraction.direct import direct_sum
from braggworks.diffraction.engines import load_engine
from braggworks.diffraction.laue import fcc_block, laue_amplitude
from braggworks.diffraction.relaxed import relaxed_crystal
from braggworks.diffraction.sampling import (
    QGrid,
    largest_extent,
    random_rotation,
    reflection_vector,
    voxel_size,
)
from braggworks.errors import ConfigError, MissingToolError

A = 4.08  # gold, in angstrom
N = 32
G = reflection_vector((1, 1, 1), A, np.eye(3))
SKEW = random_rotation(np.random.default_rng(5))
gradients = arrays(np.float64, (3, 3), elements=st.floats(-0.05, 0.05))


@pytest.fixture(scope="module")
def nufft():
    pytest.importorskip("finufft")
    engine = load_engine("nufft")

    def amplitude(positions, grid: QGrid):
        return engine.amplitude(positions, grid.centre, grid.dq, grid.n, 1)

    return amplitude


def strained_ball(atoms: int = 18_000):
    """Return reference positions and a displacement whose phase spans several turns."""
    block = fcc_block((18, 18, 18), A)
    ball = block[np.argsort(np.linalg.norm(block, axis=1), kind="stable")[:atoms]]
    return ball, 1.5 * np.sin(2 * np.pi * ball[:, [1, 2, 0]] / 70)


# --- engines ---


@pytest.mark.parametrize("rotation", [np.eye(3), SKEW], ids=["unrotated", "rotated"])
@pytest.mark.parametrize("oversampling", [2.0, 3.3, 5.0])
@pytest.mark.parametrize("cells", [(8, 8, 8), (4, 6, 9)])
def test_nufft_laue_function_and_direct_sum_agree(nufft, cells, oversampling, rotation):
    atoms = fcc_block(cells, A) @ rotation.T
    grid = QGrid(N, voxel_size(largest_extent(atoms), oversampling), rotation @ G)
    F = nufft(atoms, grid)
    laue = laue_amplitude(cells, A, grid.points() @ rotation)
    peak = np.abs(laue).max()
    assert peak == pytest.approx(len(atoms), rel=1e-12)
    assert np.abs(F - laue).max() < 1e-6 * peak
    some = tuple(np.random.default_rng(0).integers(0, N, (3, 300)))
    assert np.abs(direct_sum(atoms, grid.points()[some]) - laue[some]).max() < 1e-11 * peak


def test_nufft_equals_the_direct_sum_of_a_large_strained_particle(nufft):
    positions, displacement = strained_ball()
    atoms = (positions + displacement) @ SKEW.T
    grid = QGrid(64, voxel_size(largest_extent(atoms), 2.2), SKEW @ G)
    F = nufft(atoms, grid)
    near = np.random.default_rng(1).integers(24, 40, (3, 100))
    far = np.random.default_rng(2).integers(0, 64, (3, 100))
    some = tuple(np.concatenate([near, far], axis=1))
    assert np.abs(F).max() < 0.9 * len(atoms)
    assert np.abs(F[some] - direct_sum(atoms, grid.points()[some])).max() < 1e-6 * np.abs(F).max()


def test_nufft_is_a_plain_fft_for_atoms_on_voxels(nufft):
    rng = np.random.default_rng(3)
    density = (rng.random((16, 16, 16)) < 0.05).astype(float)
    atoms = (np.argwhere(density)[:, ::-1] - 8) * 1.7
    F = nufft(atoms, QGrid(16, 1 / (16 * 1.7), np.zeros(3)))
    expected = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(density)))
    np.testing.assert_allclose(F, expected, atol=1e-6 * density.sum())
    # Parseval: the voxels span one period, so energy is n^3 times the number of atoms.
    assert (np.abs(F) ** 2).sum() == pytest.approx(16**3 * density.sum(), rel=1e-7)


def test_nufft_adds_up_over_atoms_and_ignores_their_order(nufft):
    atoms = fcc_block((4, 4, 4), A)
    grid = QGrid(N, 0.01, G)
    whole = nufft(atoms, grid)
    np.testing.assert_allclose(nufft(atoms[:99], grid) + nufft(atoms[99:], grid), whole, atol=1e-5)
    np.testing.assert_allclose(nufft(atoms[::-1], grid), whole, atol=1e-5)


def test_a_shift_is_a_phase_ramp(nufft):
    atoms = fcc_block((5, 5, 5), A)
    grid = QGrid(N, 0.01, G)
    shift = np.array([1.3, -0.4, 2.2])
    ramp = np.exp(-2j * np.pi * (grid.points() @ shift))
    np.testing.assert_allclose(nufft(atoms + shift, grid), nufft(atoms, grid) * ramp, atol=1e-6 * len(atoms))


def test_the_centre_of_a_perfect_crystal_counts_its_atoms(nufft):
    atoms = fcc_block((6, 6, 6), A)
    F = nufft(atoms, QGrid(N, 0.008, G))
    assert np.abs(F).argmax() == np.ravel_multi_index((N // 2,) * 3, F.shape)
    assert abs(F[N // 2, N // 2, N // 2]) == pytest.approx(len(atoms), rel=1e-7)


def test_friedel_symmetry_about_the_reflection_holds_without_strain_and_breaks_with_it(nufft):
    positions, displacement = strained_ball(4_000)
    # Cutting a corner off removes the ball's own centre of symmetry.
    keep = positions.sum(axis=1) < 20
    grid = QGrid(N, voxel_size(largest_extent(positions), 3), G)

    def asymmetry(atoms):
        inner = np.abs(nufft(atoms, grid))[1:, 1:, 1:]
        return np.abs(inner - inner[::-1, ::-1, ::-1]).max() / inner.max()

    assert asymmetry(positions[keep]) < 1e-6
    assert asymmetry((positions + displacement)[keep]) > 0.01


def test_rotating_particle_and_reflection_together_changes_nothing(nufft):
    atoms = fcc_block((4, 5, 6), A)
    grid = QGrid(N, 0.01, G)
    F = nufft(atoms, grid)
    assert nufft(atoms @ SKEW.T, QGrid(N, 0.01, SKEW @ G))[16, 16, 16] == pytest.approx(F[16, 16, 16], rel=1e-6)
    np.testing.assert_allclose(
        direct_sum(atoms @ SKEW.T, grid.points()[::4, ::4, ::4] @ SKEW.T), F[::4, ::4, ::4], atol=1e-6 * len(atoms)
    )
    # A quarter turn about z takes x to y and y to -x, and maps the grid onto itself.
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turned = nufft(atoms @ quarter.T, QGrid(N, 0.01, quarter @ G))
    np.testing.assert_allclose(turned[:, :, 1:], F.swapaxes(1, 2)[:, :, :0:-1], atol=1e-6 * len(atoms))


def test_homogeneous_strain_moves_the_peak_and_the_corrected_centre_takes_it_back(nufft):
    positions = fcc_block((8, 8, 8), A)
    strain = np.array([[0.02, 0.004, 0.0], [-0.003, -0.015, 0.0], [0.0, 0.006, 0.01]])
    atoms = positions + positions @ strain.T
    dq = voxel_size(largest_extent(atoms), 4)
    corrected = relaxed_crystal(positions, atoms - positions, A, np.eye(3)).centre((1, 1, 1))
    moved = np.abs(nufft(atoms, QGrid(N, dq, G)))
    found = np.array(np.unravel_index(moved.argmax(), moved.shape))[::-1] - N // 2
    np.testing.assert_array_equal(found, np.round((corrected - G) / dq))
    assert np.abs(found).max() >= 1
    back = nufft(atoms, QGrid(N, dq, corrected))
    assert np.abs(back).argmax() == np.ravel_multi_index((N // 2,) * 3, back.shape)
    assert abs(back[N // 2, N // 2, N // 2]) == pytest.approx(len(atoms), rel=1e-7)


def test_nufft_repeats_bit_by_bit_whatever_the_threads(nufft):
    engine = load_engine("nufft")
    atoms = strained_ball()[0]
    runs = [engine.amplitude(atoms, G, 0.006, 64, threads) for threads in (1, 2, 2)]
    assert runs[0].tobytes() == runs[1].tobytes() == runs[2].tobytes()


def test_an_unknown_engine_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no scattering engine 'xrt': use one of nufft, pynx\."):
        load_engine("xrt")


def test_missing_pynx_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynx", None)
    with pytest.raises(MissingToolError, match=r"python3-pynx .*trixie or later.* `make pynx`\."):
        load_engine("pynx")


# --- detector ---


def test_counts_follow_poisson_statistics_around_the_total():
    intensity = np.full((40, 40, 40), 0.7)
    counts = poisson_counts(intensity, 64_000 * 3.0, np.random.default_rng(0))
    assert counts.dtype == np.uint32
    assert counts.mean() == pytest.approx(3, abs=0.03)
    assert counts.var() == pytest.approx(3, abs=0.1)


def test_counts_repeat_keep_zeros_and_follow_the_intensity():
    intensity = np.arange(1000.0).reshape(10, 10, 10)
    counts = poisson_counts(intensity, 1e8, np.random.default_rng(1))
    np.testing.assert_array_equal(counts, poisson_counts(intensity, 1e8, np.random.default_rng(1)))
    assert counts[0, 0, 0] == 0
    np.testing.assert_allclose(counts / 1e8, intensity / intensity.sum(), atol=2e-5)


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.array([1.0, np.nan]), np.array([2.0, -1.0]), np.array([np.inf])])
def test_an_impossible_intensity_is_refused(bad):
    with pytest.raises(ValueError, match="finite and not negative, with a positive sum"):
        poisson_counts(bad, 1e6, np.random.default_rng(0))


def test_counts_beyond_32_bits_are_refused():
    with pytest.raises(ConfigError, match=r"total_counts 1e\+11 puts \d+ counts into one voxel.*use a smaller"):
        poisson_counts(np.ones(2), 1e11, np.random.default_rng(0))
