"""Rigid motion, affine fit and held layer in numpy; the minimisation in LAMMPS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from particle_inputs import GOLD, mean_strain, needs_lammps, potential, truncated_octahedron

from braggworks.particles.displacements import (
    affine_gradient,
    clamped_layer,
    rigid_rotation,
    rotation_angle,
    without_rigid_motion,
)
from braggworks.particles.materials import MATERIALS


def rotation_about(axis: tuple[float, float, float], angle: float) -> np.ndarray:
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


# --- displacements ---


@pytest.mark.parametrize("angle", [0.0, 1e-7, 0.02, 1.3, np.pi - 1e-3])
def test_an_applied_rigid_motion_is_removed_exactly(angle: float) -> None:
    reference = truncated_octahedron() + np.array([3.0, -7.0, 11.0])
    rotation = rotation_about((1.0, -2.0, 0.5), angle)
    moved = reference @ rotation.T + [4.0, 5.0, -6.0]
    assert np.allclose(rigid_rotation(reference, moved), rotation, atol=1e-12)
    displacement, removed = without_rigid_motion(reference, moved)
    assert np.abs(displacement).max() < 1e-10
    assert removed == pytest.approx(angle, abs=1e-9)


def test_removing_a_rotation_leaves_the_strain() -> None:
    reference = truncated_octahedron()
    strain = np.array([[0.01, 0.002, 0.0], [0.002, -0.004, 0.001], [0.0, 0.001, 0.003]])
    moved = (reference + reference @ strain) @ rotation_about((0.0, 1.0, 1.0), 0.1).T
    displacement, removed = without_rigid_motion(reference, moved)
    assert np.allclose(displacement, reference @ strain, atol=1e-10)
    assert removed == pytest.approx(0.1, abs=1e-9)


def test_a_mirror_image_is_no_rotation() -> None:
    reference = truncated_octahedron() * [1.0, 1.1, 1.3]
    rotation = rigid_rotation(reference, reference * [1.0, 1.0, -1.0])
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_affine_fit_recovers_an_imposed_gradient_and_ignores_a_shift() -> None:
    reference, rng = truncated_octahedron() + 5.0, np.random.default_rng(0)
    imposed = rng.normal(scale=0.01, size=(3, 3))
    displacement = reference @ imposed.T + [1.0, 2.0, 3.0]
    assert np.allclose(affine_gradient(reference, displacement), imposed, atol=1e-12)


def test_affine_fit_of_a_flat_layer_has_no_gradient_along_its_normal() -> None:
    flat = truncated_octahedron() * [1.0, 1.0, 0.0]
    imposed = np.arange(9.0).reshape(3, 3)
    assert np.allclose(affine_gradient(flat, flat @ imposed.T), imposed * [1, 1, 0], atol=1e-12)


def test_rotation_angle_is_accurate_where_the_cosine_is_not() -> None:
    assert rotation_angle(rotation_about((0.0, 0.0, 1.0), 1e-9)) == pytest.approx(1e-9, rel=1e-6)


def test_clamped_layer_is_the_one_at_the_interface() -> None:
    positions = truncated_octahedron()
    spacing = GOLD.lattice_constant / 2
    lowest = positions[:, 2].min()
    assert np.array_equal(clamped_layer(positions, 0.1), positions[:, 2] < lowest + 0.5 * spacing)
    assert np.array_equal(clamped_layer(positions, spacing), positions[:, 2] < lowest + 1.5 * spacing)
    sideways = clamped_layer(positions, 0.1, np.array([1.0, 0.0, 0.0]))
    assert np.array_equal(sideways, positions[:, 0] > positions[:, 0].max() - 0.1)


# --- LAMMPS ---


@needs_lammps
def test_relaxation_lowers_energy_and_forces_and_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    from braggworks.particles.relaxation import relax

    positions = truncated_octahedron()
    result = relax(positions, potential(), GOLD.mass)
    assert result.energy < result.energy_initial < 0
    assert result.force_norm <= 1e-3 < result.force_norm_initial
    assert result.max_force <= result.force_norm
    assert (result.stop, result.steps > 5) == ("force tolerance", True)
    assert result.displacement.shape == positions.shape
    # Surface tension contracts a gold particle, equally along the three cubic axes.
    strain = mean_strain(positions, result.displacement)
    assert np.allclose(strain, np.eye(3) * strain[0, 0], atol=1e-5)
    assert -0.03 < strain[0, 0] < -0.003
    assert np.allclose(result.displacement, -result.displacement[::-1], atol=1e-3)
    assert capfd.readouterr() == ("", "")


@needs_lammps
@pytest.mark.parametrize("material", MATERIALS)
def test_lattice_constants_are_those_of_the_potentials(material: str) -> None:
    header = potential(material).read_text(encoding="utf-8").splitlines()[1].split()
    assert header[3] == "FCC"
    assert float(header[2]) == MATERIALS[material].lattice_constant
    assert float(header[1]) == pytest.approx(MATERIALS[material].mass, rel=1e-3)


@needs_lammps
def test_result_does_not_depend_on_position_or_order_of_the_atoms() -> None:
    from braggworks.particles.relaxation import relax

    positions = truncated_octahedron(5.2)
    order = np.random.default_rng(1).permutation(len(positions))
    plain = relax(positions, potential(), GOLD.mass)
    other = relax(positions[order] + [200.0, -30.0, 4.0], potential(), GOLD.mass)
    assert other.energy == pytest.approx(plain.energy, abs=1e-6)
    assert np.allclose(other.displacement, plain.displacement[order], atol=1e-3)


@needs_lammps
def test_clamped_atoms_stay_exactly_where_they_are() -> None:
    from braggworks.particles.relaxation import relax

    positions = truncated_octahedron()
    clamped = clamped_layer(positions, 3.0)
    result = relax(positions, potential(), GOLD.mass, clamped=clamped)
    assert 0 < clamped.sum() < len(positions)
    assert not result.displacement[clamped].any()
    assert np.linalg.norm(result.displacement[~clamped], axis=1).min() > 0
    assert result.energy < result.energy_initial
    assert result.rotation == 0
    free = relax(positions, potential(), GOLD.mass)
    assert result.energy > free.energy
    held, loose = (mean_strain(positions, one.displacement)[0, 0] for one in (result, free))
    assert abs(held) < abs(loose)


@needs_lammps
def test_a_bounded_number_of_steps_is_said() -> None:
    from braggworks.particles.relaxation import Stopping, relax

    result = relax(truncated_octahedron(), potential(), GOLD.mass, Stopping(max_steps=3))
    assert (result.steps, result.stop) == (3, "max iterations")


@needs_lammps
def test_a_particle_that_lammps_refuses_gives_its_reason(tmp_path: Path) -> None:
    from braggworks.particles.relaxation import relax

    (tmp_path / "empty.eam").write_text("no potential\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"^Missing line in eam potential file"):
        relax(truncated_octahedron(), tmp_path / "empty.eam", GOLD.mass)
    overlapping = truncated_octahedron()
    overlapping[0] = overlapping[1]
    with pytest.raises(RuntimeError, match="atoms overlap"):
        relax(overlapping, potential(), GOLD.mass)
