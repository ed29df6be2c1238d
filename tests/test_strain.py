"""Strain: what a protocol asks for, the local strain of analytic fields, and what LAMMPS leaves of it."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from particle_inputs import GOLD, mean_strain, needs_lammps, potential, truncated_octahedron

from braggworks.campaigns import ClampedStrain, FieldKind, FieldStrain, FreeStrain, StoppedStrain
from braggworks.particles.displacements import affine_gradient, without_rigid_motion
from braggworks.particles.materials import MATERIALS
from braggworks.particles.strain import (
    local_gradient,
    log_uniform_integer,
    nearest_neighbours,
    plan,
    random_strain,
    smooth_field,
    statistics,
)
from braggworks.seeds import generator

A = 4.08
DOWN = np.array([0.0, 0.0, -1.0])


def turned(seed: int) -> np.ndarray:
    rotation, _ = np.linalg.qr(generator("turn", seed).standard_normal((3, 3)))
    return rotation * np.sign(np.linalg.det(rotation))


# --- neighbours and local strain ---


def test_neighbours_are_those_within_one_bond() -> None:
    positions, rotation = truncated_octahedron(4.2), turned(0)
    positions = positions[generator("order").permutation(len(positions))] @ rotation.T + [3.0, -50.0, 7.0]
    found = nearest_neighbours(positions, A, rotation)
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
    expected = (distances < 0.8 * A) & (distances > 0)
    for atom, row in enumerate(found):
        assert set(row[row >= 0]) == set(np.flatnonzero(expected[atom]))
    assert (found >= 0).sum(axis=1).max() == 12


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_local_strain_of_an_affine_field_is_exact_at_every_atom(seed: int) -> None:
    rng, rotation = generator("affine", seed), turned(seed)
    positions, gradient = truncated_octahedron(4.2) @ rotation.T, rng.normal(scale=0.01, size=(3, 3))
    displacement = positions @ gradient.T + rng.normal(size=3)
    assert np.allclose(local_gradient(positions, displacement, A, rotation), gradient, atol=1e-12)
    found = statistics(positions, displacement, A, rotation)
    symmetric = (gradient + gradient.T) / 2
    for tensor in (found.strain_mean, found.strain_min, found.strain_max):
        assert np.allclose(tensor, symmetric, atol=1e-12)
    assert np.allclose(found.strain_rms, 0, atol=1e-12)
    assert found.strain_atoms == len(positions)


def test_a_simple_shear_has_half_its_slope_as_strain_and_a_rotation_has_none() -> None:
    positions = truncated_octahedron(4.2)
    shear = np.column_stack([0.02 * positions[:, 1], np.zeros((len(positions), 2))])
    found = statistics(positions, shear, A, np.eye(3))
    assert np.allclose(found.strain_mean, [[0, 0.01, 0], [0.01, 0, 0], [0, 0, 0]], atol=1e-12)
    spin = np.array([[0, 0.02, 0], [-0.02, 0, 0], [0, 0, 0]])
    assert np.allclose(statistics(positions, positions @ spin.T, A, np.eye(3)).strain_max, 0, atol=1e-12)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_local_strain_of_a_quadratic_field_is_exact_inside(seed: int) -> None:
    rng, rotation = generator("quadratic", seed), turned(seed)
    positions, second = truncated_octahedron(5.2) @ rotation.T, rng.normal(scale=1e-3, size=(3, 3, 3))
    second = second + second.swapaxes(1, 2)
    displacement = np.einsum("ijk,nj,nk->ni", second, positions, positions) / 2
    inside = (nearest_neighbours(positions, A, rotation) >= 0).all(axis=1)
    gradient = local_gradient(positions, displacement, A, rotation)
    assert 50 < inside.sum() < len(positions)
    assert np.allclose(gradient[inside], np.einsum("ijk,nk->nij", second, positions)[inside], atol=1e-12)
    assert not np.allclose(gradient[~inside], np.einsum("ijk,nk->nij", second, positions)[~inside], atol=1e-5)


def test_statistics_of_a_linear_strain_are_the_closed_form() -> None:
    positions = truncated_octahedron(8.2)
    x = positions[:, 0]
    found = statistics(positions, np.column_stack([1e-4 * x**2 / 2, np.zeros((len(x), 2))]), A, np.eye(3))
    # u_x = s x^2 / 2 has the strain s x. On a facet (100) half of the bonds are missing, all of them beyond x, and what
    # is found is the strain half a layer, a / 4, below.
    assert found.strain_mean[0, 0] == pytest.approx(0, abs=1e-12)
    assert found.strain_rms[0, 0] == pytest.approx(1e-4 * x.std(), rel=0.05)
    assert found.strain_max[0, 0] == pytest.approx(1e-4 * (x.max() - A / 4))
    assert found.strain_min[0, 0] == pytest.approx(-1e-4 * (x.max() - A / 4))
    assert found.displacement_max == pytest.approx(1e-4 * x.max() ** 2 / 2)
    assert found.displacement_rms == pytest.approx(np.sqrt((1e-8 * x**4 / 4).mean()))


def test_atoms_whose_bonds_lie_in_one_plane_have_no_local_strain() -> None:
    layer = truncated_octahedron(4.2)
    layer = layer[np.abs(layer[:, 2]) < 0.1]
    adatom = np.array([[A / 2, 0.0, A / 2]])  # four bonds, all to the layer
    gradient = local_gradient(np.vstack([layer, adatom]), np.zeros((len(layer) + 1, 3)), A, np.eye(3))
    determined = np.isfinite(gradient[:, 0, 0])
    assert determined[-1]
    assert determined.sum() == 5  # the adatom and the four below it
    assert not gradient[determined].any()


def test_atoms_off_the_lattice_are_refused() -> None:
    positions = truncated_octahedron(3.2)
    with pytest.raises(ValueError, match="no sites of a face-centred cubic lattice"):
        nearest_neighbours(positions * 1.02, A, np.eye(3))
    with pytest.raises(ValueError, match="no sites"):
        nearest_neighbours(np.vstack([positions, positions[:1] + np.array([A / 2, 0, 0])]), A, np.eye(3))


@pytest.mark.alone
def test_statistics_of_134_000_atoms_take_less_than_two_seconds() -> None:
    positions = truncated_octahedron(41.2)
    assert len(positions) > 134_000
    start = time.perf_counter()
    statistics(positions, 0.01 * positions, A, np.eye(3))
    assert time.perf_counter() - start < 2


# --- what is asked ---


@given(seed=st.integers(0, 2**32), largest=st.floats(0, 0.05))
def test_random_strain_is_symmetric_and_bounded(seed: int, largest: float) -> None:
    tensor = random_strain(largest, generator("strain", seed))
    assert np.array_equal(tensor, tensor.T)
    assert np.abs(tensor).max() <= largest


def test_components_of_the_random_strain_are_uniform_and_independent() -> None:
    rng = generator("uniform")
    drawn = np.array([random_strain(0.01, rng)[np.triu_indices(3)] for _ in range(4_000)])
    assert np.allclose(drawn.mean(axis=0), 0, atol=5e-4)
    assert np.allclose(np.cov(drawn.T), np.eye(6) * 0.01**2 / 3, atol=3e-6)


@given(seed=st.integers(0, 2**32), low=st.integers(1, 50), more=st.integers(0, 500))
def test_steps_stay_in_their_range(seed: int, low: int, more: int) -> None:
    assert low <= log_uniform_integer(low, low + more, generator("steps", seed)) <= low + more


def test_steps_are_log_uniform() -> None:
    rng = generator("steps")
    drawn = np.array([log_uniform_integer(5, 50, rng) for _ in range(4_000)])
    assert (drawn.min(), drawn.max()) == (5, 50)
    assert (drawn < 16).mean() == pytest.approx(np.log(16 / 5) / np.log(51 / 5), abs=0.03)


@pytest.mark.parametrize("kind", ["gaussians", "cosines", "random_field"])
def test_field_has_the_asked_ranges_and_no_affine_part(kind: FieldKind) -> None:
    positions, ranges = truncated_octahedron() + np.array([5.0, 0.0, -3.0]), np.array([1.0, 0.0, 4.0])
    field = smooth_field(positions, kind, ranges, generator("field", kind))
    assert np.allclose(np.ptp(field, axis=0), ranges)
    assert np.allclose(field.mean(axis=0), 0, atol=1e-12)
    assert np.allclose(affine_gradient(positions, field), 0, atol=1e-12)
    assert np.allclose(without_rigid_motion(positions, positions + field)[0], field, atol=5e-3)


def test_field_of_the_kind_none_is_zero() -> None:
    assert not smooth_field(truncated_octahedron(), "none", np.ones(3), generator("field")).any()


def test_kinds_of_field_are_drawn_and_the_record_holds_the_draw() -> None:
    strain = FieldStrain(kinds=["cosines", "none"], displacement=(2.0, 3.0))
    plans = [plan(strain, truncated_octahedron(), generator("kinds", index)) for index in range(12)]
    assert {drawn.asked["kind"] for drawn in plans} == {"cosines", "none"}
    for drawn in plans:
        assert drawn.field is not None
        spans = drawn.asked["ranges"] if drawn.asked["kind"] == "cosines" else np.zeros(3)
        assert np.ptp(drawn.field, axis=0) == pytest.approx(spans)
    assert all(2 <= value <= 3 for drawn in plans for value in drawn.asked["ranges"])
    assert plans[0].start is plans[0].clamped is plans[0].steps is None


def test_prestrain_is_applied_about_the_centroid() -> None:
    positions = truncated_octahedron(4.2) + np.array([1.0, 2.0, 3.0])
    for strain in (FreeStrain(prestrain=0.01), StoppedStrain(prestrain=0.01)):
        drawn = plan(strain, positions, generator("about"))
        assert drawn.start is not None
        assert np.allclose(drawn.start.mean(axis=0), positions.mean(axis=0))
        found = statistics(positions, drawn.start - positions, A, np.eye(3))
        assert np.allclose(found.strain_mean, drawn.asked["prestrain"], atol=1e-12)
        assert drawn.asked["protocol"] == strain.protocol


@pytest.mark.parametrize("strain", [FreeStrain(), StoppedStrain(prestrain=0.0), ClampedStrain()])
def test_without_prestrain_the_perfect_lattice_is_the_start(strain: FreeStrain | StoppedStrain | ClampedStrain) -> None:
    drawn = plan(strain, truncated_octahedron(4.2), generator("none"))
    assert drawn.start is None
    assert drawn.asked["prestrain"] == np.zeros((3, 3)).tolist()


@pytest.mark.parametrize("normal", [DOWN, np.array([1.0, 1.0, 1.0]) / np.sqrt(3)])
def test_the_held_layer_takes_the_in_plane_strain_alone(normal: np.ndarray) -> None:
    positions = truncated_octahedron()
    drawn = plan(ClampedStrain(prestrain=0.02), positions, generator("layer"), normal)
    assert drawn.start is not None
    assert drawn.clamped is not None
    moved = drawn.start - positions
    layer, tensor, flat = drawn.clamped, np.array(drawn.asked["prestrain"]), np.eye(3) - np.outer(normal, normal)
    assert 0 < layer.sum() < len(positions)
    assert np.allclose(moved[layer] @ normal, 0, atol=1e-12)
    assert np.allclose(affine_gradient(positions[layer], moved[layer]), flat @ tensor @ flat, atol=1e-12)
    assert np.allclose(affine_gradient(positions[~layer], moved[~layer]), tensor, atol=1e-12)
    assert np.allclose(moved[layer].mean(axis=0), 0, atol=1e-12)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_a_plan_depends_on_its_generator_alone(seed: int) -> None:
    for strain in (FreeStrain(prestrain=0.01), ClampedStrain(prestrain=0.01), StoppedStrain(), FieldStrain()):
        one, two = (plan(strain, truncated_octahedron(3.2), generator("same", seed)) for _ in range(2))
        other = plan(strain, truncated_octahedron(3.2), generator("other", seed))
        assert one.asked == two.asked != other.asked
        for first, second in ((one.start, two.start), (one.field, two.field)):
            assert first is second is None or np.array_equal(first, second)  # type: ignore[arg-type]


# --- what LAMMPS leaves of it ---

PRESTRAIN = np.array([[0.010, 0.004, -0.003], [0.004, -0.008, 0.005], [-0.003, 0.005, 0.009]])


def kept(positions: np.ndarray, displacement: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """Mean strain that the prestrain has left."""
    return mean_strain(positions, displacement - plain)


@needs_lammps
@pytest.mark.parametrize("seed", range(4))
def test_a_free_particle_forgets_any_prestrain(seed: int) -> None:
    from braggworks.particles.relaxation import relax

    positions = truncated_octahedron(9.2)
    drawn = plan(FreeStrain(prestrain=0.01), positions, generator("forget", seed))
    plain = relax(positions, potential(), GOLD.mass)
    strained = relax(positions, potential(), GOLD.mass, start=drawn.start)
    assert drawn.start is not None
    assert len(positions) > 1_300
    assert np.abs(drawn.start - positions).max() > 0.1
    # Two stops at the default force tolerance differ by 2e-4 angstrom, and by less with a smaller tolerance.
    assert np.abs(strained.displacement - plain.displacement).max() < 5e-4
    assert strained.energy == pytest.approx(plain.energy, abs=5e-6)


@needs_lammps
def test_a_stopped_minimisation_keeps_part_of_the_strain_and_less_with_more_steps() -> None:
    from braggworks.particles.relaxation import Stopping, relax

    positions = truncated_octahedron(8.7)
    parts = []
    for steps in (2, 15, 30):
        start = positions + positions @ PRESTRAIN
        plain, strained = (
            relax(positions, potential(), GOLD.mass, Stopping(max_steps=steps), start=begin) for begin in (None, start)
        )
        left = kept(positions, strained.displacement, plain.displacement)
        parts.append(float(np.tensordot(left, PRESTRAIN) / np.tensordot(PRESTRAIN, PRESTRAIN)))
        assert (strained.steps, strained.stop) == (steps, "max iterations")
    assert 1.02 > parts[0] > 0.9 > parts[1] > 0.3
    assert 0.2 > parts[2] > -0.05


@needs_lammps
def test_a_clamped_particle_keeps_the_in_plane_strain_and_loses_the_rest() -> None:
    from braggworks.particles.relaxation import relax

    # A flat plate, because the strain from the interface fades away over about the width of the particle.
    copper = MATERIALS["Cu"]
    half = copper.lattice_constant / 2
    sites = np.stack(np.meshgrid(np.arange(21), np.arange(21), np.arange(6), indexing="ij"), axis=-1).reshape(-1, 3)
    positions = sites[sites.sum(axis=1) % 2 == 0] * half
    drawn = plan(ClampedStrain(prestrain=0.01, thickness=3.0), positions, generator("plate", 1), DOWN)
    assert drawn.start is not None
    assert drawn.clamped is not None
    eam = potential("Cu")
    plain, strained = (
        relax(positions, eam, copper.mass, clamped=drawn.clamped, start=start) for start in (None, drawn.start)
    )
    held = drawn.clamped
    assert np.allclose(strained.displacement[held], (drawn.start - positions)[held], atol=1e-12)
    left, asked = kept(positions, strained.displacement, plain.displacement), np.array(drawn.asked["prestrain"])
    assert 0.8 < (left[:2, :2] / asked[:2, :2]).min() <= (left[:2, :2] / asked[:2, :2]).max() < 1.02
    # Along the normal only the Poisson effect of the in-plane strain remains, and no shear.
    assert -0.8 < left[2, 2] / (left[0, 0] + left[1, 1]) < -0.3
    assert np.abs(left[:2, 2]).max() < 0.01 * np.abs(asked[:2, 2]).max()
