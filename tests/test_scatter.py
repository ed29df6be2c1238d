"""The verbs scatter and simulate-scan: what they write, and what they say to bad input."""

from __future__ import annotations

import json
import sys

import h5py
import numpy as np
import pytest
from scatter_inputs import (
    EACH,
    ORIENTATION,
    A,
    arguments_for,
    contents,
    refused,
    replace,
    scatter,
    write_campaign,
    write_relaxed,
)

from braggworks.cli import main
from braggworks.config import ScanConfig
from braggworks.diffraction.direct import direct_sum
from braggworks.diffraction.labels import extents, object_of, support_of
from braggworks.diffraction.sampling import QGrid
from braggworks.recipes import ScanRecipe
from braggworks.scans.readers import read_scan

pytest.importorskip("finufft")


@pytest.fixture
def made(tmp_path):
    campaign, source = write_campaign(tmp_path), write_relaxed(tmp_path / "relaxed.h5")
    assert scatter(campaign, source, tmp_path / "patterns.h5") == 0
    return tmp_path


def test_the_file_holds_what_the_next_stages_read(made):
    with h5py.File(made / "patterns.h5") as file:
        header = dict(file.attrs)
        assert (header["kind"], header["campaign"], header["batch"], header["particles"]) == ("patterns", "tiny", 1, 2)
        assert header["engine"] == "nufft"
        assert header["engine_version"][0].isdigit()
        assert json.loads(header["recipe"])["diffraction"]["grid"] == 24
        assert sorted(file) == ["0000002", "0000003"]
        assert header["seconds"] == pytest.approx(sum(file[name].attrs["seconds"] for name in file))
        group = file["0000003"]
        assert (group["amplitude"].shape, group["amplitude"].dtype) == ((2, 24, 24, 24), np.complex64)
        assert group["rotation"].shape == (2, 3, 3)
        assert group["centre"].shape == (2, 3)
        assert group["reflection"].dtype == np.int32
        np.testing.assert_array_equal(group["reflection"], [[1, 1, 1], [1, 1, 1]])
        assert group["oversampling"].shape == (2, 3)
        for key in ("dq", "ratio", "phase_range", "gradient", "strain"):
            assert group[key].shape == (2,)
        assert (group.attrs["shape"], group.attrs["material"], group.attrs["lattice_constant"]) == ("cube", "Au", A)
        assert group.attrs["atoms"] == 4 * 4 * 5 * 6
        assert header["rejected"] == sum(file[name].attrs["rejected"] for name in file)
        history = json.loads(header["lineage"])
        assert [entry["stage"] for entry in history] == ["crystals", "scatter"]
        assert history[-1]["recipe"] == json.loads(header["recipe"])
        assert set(history[-1]["tools"]) == {"nufft", "numpy"}


def test_amplitudes_are_the_direct_sum_over_displaced_atoms_with_the_peak_in_the_middle(made):
    with h5py.File(made / "patterns.h5") as patterns, h5py.File(made / "relaxed.h5") as relaxed:
        for name in patterns:
            group = patterns[name]
            atoms = relaxed[name]["positions"][()] + relaxed[name]["displacement"][()]
            atoms -= atoms.mean(axis=0)
            for i, F in enumerate(group["amplitude"]):
                grid = QGrid(24, group["dq"][i], group["centre"][i])
                expected = direct_sum(atoms @ group["rotation"][i].T, grid.points()[::5, ::3, ::4])
                assert np.abs(F[::5, ::3, ::4] - expected).max() < 1e-6 * np.abs(F).max()
                peak = np.unravel_index(np.abs(F).argmax(), F.shape)
                assert np.abs(np.array(peak) - 12).max() <= 1


def test_a_second_run_and_more_threads_give_the_same_bytes(made):
    campaign, source = made / "tiny.yaml", made / "relaxed.h5"
    assert scatter(campaign, source, made / "again.h5", "--threads", "2") == 0
    assert contents(made / "again.h5") == contents(made / "patterns.h5")


def test_a_pattern_depends_on_its_own_particle_and_number_only(made):
    more = write_campaign(made, patterns_per_particle=3)
    alone = write_relaxed(made / "alone.h5", [(4, 5, 6)], first=3)
    assert scatter(more, alone, made / "more.h5") == 0
    with h5py.File(made / "patterns.h5") as few, h5py.File(made / "more.h5") as many:
        for key in EACH:
            np.testing.assert_array_equal(few["0000003"][key][()], many["0000003"][key][:2])
        assert not np.allclose(few["0000003"]["rotation"][0], few["0000002"]["rotation"][0])


def test_what_is_measured_follows_from_atoms_and_geometry(made):
    with h5py.File(made / "patterns.h5") as patterns, h5py.File(made / "relaxed.h5") as relaxed:
        for name in patterns:
            group, source = patterns[name], relaxed[name]
            atoms = source["positions"][()] + source["displacement"][()]
            atoms -= atoms.mean(axis=0)
            G = ORIENTATION @ [1, 1, 1] / A
            for i, rotation in enumerate(group["rotation"]):
                voxel = 1 / (24 * group["dq"][i])
                rotated = atoms @ rotation.T
                assert 24 * voxel / np.ptp(rotated, axis=0).max() == pytest.approx(group["ratio"][i])
                support = support_of(rotated, voxel, 24)
                np.testing.assert_allclose(group["oversampling"][i], 24 / extents(support))
                # The wave at the pattern's centre is the object's phase; G . r_0 is a whole number but for a constant.
                turns = rotated @ group["centre"][i] - source["positions"][()] @ G
                assert 0.3 < group["phase_range"][i] / (2 * np.pi * np.ptp(turns)) <= 1  # without the surface
                slope = group["gradient"][i] / voxel
                assert 0 < 2 * np.pi * np.linalg.norm(G) * group["strain"][i] < slope


def test_several_reflections_are_drawn_and_each_pattern_is_centred_on_its_own(tmp_path):
    several = [[1, 1, 1], [2, 0, 0], [-2, 2, 0]]
    campaign = write_campaign(tmp_path, reflections=several, patterns_per_particle=8)
    source = write_relaxed(tmp_path / "relaxed.h5", [(5, 5, 5)], strain=0.001)
    assert scatter(campaign, source, tmp_path / "patterns.h5") == 0
    with h5py.File(tmp_path / "patterns.h5") as file:
        group = file["0000002"]
        drawn = group["reflection"][()].tolist()
        assert {tuple(hkl) for hkl in drawn} == {tuple(hkl) for hkl in several}
        for hkl, rotation, centre, F, spread in zip(
            drawn, group["rotation"], group["centre"], group["amplitude"], group["phase_range"], strict=True
        ):
            np.testing.assert_allclose(centre, rotation @ ORIENTATION @ hkl / A, atol=5e-3)
            assert np.abs(F).argmax() == np.ravel_multi_index((12, 12, 12), F.shape)
            assert spread == group["phase_range"][drawn.index(hkl)]
        lengths = {tuple(hkl): spread for hkl, spread in zip(drawn, group["phase_range"], strict=True)}
        assert len(set(lengths.values())) == 3


def test_each_particle_keeps_its_own_material(tmp_path):
    source = write_relaxed(tmp_path / "relaxed.h5")
    with h5py.File(source, "r+") as file:
        copper = file["0000003"]
        copper.attrs.update(material="Cu", lattice_constant=3.615)
        for key in ("positions", "displacement"):
            replace(copper, key, copper[key][()] * 3.615 / A)
    assert scatter(write_campaign(tmp_path), source, tmp_path / "patterns.h5") == 0
    with h5py.File(tmp_path / "patterns.h5") as file:
        assert [file[name].attrs["material"] for name in sorted(file)] == ["Au", "Cu"]
        for name, a in (("0000002", A), ("0000003", 3.615)):
            np.testing.assert_allclose(np.linalg.norm(file[name]["centre"], axis=1), 3**0.5 / a, rtol=0.03)


def test_undersampled_draws_are_counted(tmp_path):
    campaign = write_campaign(tmp_path, grid=16, oversampling=[2.0, 3.0], patterns_per_particle=6)
    assert scatter(campaign, write_relaxed(tmp_path / "relaxed.h5"), tmp_path / "patterns.h5") == 0
    with h5py.File(tmp_path / "patterns.h5") as file:
        counts = [int(file[name].attrs["rejected"]) for name in file]
        assert file.attrs["rejected"] == sum(counts) > 0
        assert min(file[name]["oversampling"][()].min() for name in file) >= 2


# --- density and lattice phase on a coarse grid ---


def test_the_family_autophasenn_is_gridded(tmp_path):
    campaign, source = write_campaign(tmp_path, family="autophasenn"), write_relaxed(tmp_path / "relaxed.h5")
    assert scatter(campaign, source, tmp_path / "patterns.h5") == 0
    assert scatter(campaign, source, tmp_path / "again.h5", "--threads", "2") == 0
    assert contents(tmp_path / "again.h5") == contents(tmp_path / "patterns.h5")
    with h5py.File(tmp_path / "patterns.h5") as file:
        assert file.attrs["engine"] == "gridded"
        group = file["0000003"]
        assert set(EACH) == set(group)
        assert group["amplitude"].shape == (2, 32, 32, 32)
        np.testing.assert_allclose(group["dq"], 1 / (32 * 4.0))
        obj = object_of(group["amplitude"][1])
        assert np.abs(obj).max() == pytest.approx(1, rel=1e-5)
        inside = extents(np.abs(obj) > 0.01)
        assert (inside <= 16).all()
        assert (32 / group["oversampling"][1] <= inside).all()


def test_a_particle_that_does_not_fit_its_padding_is_refused(tmp_path, capsys):
    source = write_relaxed(tmp_path / "relaxed.h5", [(5, 5, 5), (12, 12, 12)])
    campaign = write_campaign(tmp_path, family="autophasenn")
    sentence = "16 voxels of 4 angstrom, leaves 44 beside the padding: raise diffraction.bin_size"
    refused(tmp_path, capsys, arguments_for(campaign, source), "particle 0000003: The particle is", sentence)


def test_an_engine_for_a_gridded_family_is_refused(tmp_path, capsys):
    source = write_relaxed(tmp_path / "relaxed.h5")
    arguments = [*arguments_for(write_campaign(tmp_path, family="autophasenn"), source), "--engine", "nufft"]
    refused(tmp_path, capsys, arguments, "is of the family autophasenn, which is gridded: leave --engine away")


def test_progress_and_crowded_grids_are_told(tmp_path, capsys):
    source = write_relaxed(tmp_path / "relaxed.h5", [(2, 2, 2), (2, 2, 2)])
    assert scatter(write_campaign(tmp_path, grid=64), source, tmp_path / "patterns.h5") == 0
    told = capsys.readouterr().err
    assert "scatter tiny batch 1 (nufft)" in told
    assert "another reflection reaches into 4 of 4 patterns; larger particles" in told


# --- bad input: one sentence, exit code 2, nothing left behind ---


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (
            {"reflections": [[1, 1, 1], [1, 1, 0]]},
            "reflection [1, 1, 0] is forbidden in a face-centred cubic lattice: use three even",
        ),
        ({"oversampling": [1.5, 4.0]}, "oversampling starts at 1.5, and below 2 the pattern loses the object"),
        ({"grid": 23}, "grid"),
        ({"ovrsampling": [2.2, 4.0]}, "did you mean 'oversampling"),
    ],
)
def test_a_bad_setting_is_refused(tmp_path, capsys, setting, sentence):
    source = write_relaxed(tmp_path / "relaxed.h5")
    campaign = write_campaign(tmp_path, **setting)
    refused(tmp_path, capsys, arguments_for(campaign, source), str(campaign), sentence)


def test_a_missing_truncated_or_foreign_input_is_refused(tmp_path, capsys):
    campaign = write_campaign(tmp_path)
    refused(tmp_path, capsys, arguments_for(campaign, tmp_path / "no.h5"), "no.h5 does not exist")
    source = write_relaxed(tmp_path / "relaxed.h5")
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) // 2])
    refused(tmp_path, capsys, arguments_for(campaign, source), "relaxed.h5 is truncated or is no HDF5 file")
    write_relaxed(source, kind="particles")
    refused(tmp_path, capsys, arguments_for(campaign, source), "holds particles, not relaxed")
    write_relaxed(source, campaign="other")
    refused(tmp_path, capsys, arguments_for(campaign, source), "belongs to campaign 'other', not 'tiny'")
    write_relaxed(source)
    refused(tmp_path, capsys, [*arguments_for(campaign, source), "--batch", "7"], "of the campaign, not 7: delete it")
    write_relaxed(source, particles=3)
    refused(tmp_path, capsys, arguments_for(campaign, source), "does not hold all its particles")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda group: group.__delitem__("displacement"), "particle 0000003 lacks a part"),
        (lambda group: group.attrs.__delitem__("orientation"), "particle 0000003 lacks a part"),
        (lambda group: replace(group, "positions", np.full((480, 3), np.nan)), "/positions holds NaN or infinity"),
        (lambda group: replace(group, "positions", np.zeros((480, 2))), "/positions has shape (480, 2)"),
        (lambda group: replace(group, "displacement", np.zeros((479, 3))), "contradicts itself"),
        (lambda group: group.attrs.update(orientation=2 * np.eye(3)), "contradicts itself"),
        (lambda group: group.attrs.update(lattice_constant=-1.0), "contradicts itself"),
        (lambda group: group.attrs.update(lattice_constant=4.2), "no sites of a face-centred cubic lattice"),
    ],
)
def test_a_damaged_particle_is_named(tmp_path, capsys, damage, sentence):
    source = write_relaxed(tmp_path / "relaxed.h5")
    with h5py.File(source, "r+") as file:
        damage(file["0000003"])
    refused(tmp_path, capsys, arguments_for(write_campaign(tmp_path), source), "relaxed.h5", sentence)


def test_missing_pynx_is_told_in_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynx", None)
    source = write_relaxed(tmp_path / "relaxed.h5")
    arguments = [*arguments_for(write_campaign(tmp_path), source), "--engine", "pynx"]
    refused(tmp_path, capsys, arguments, "install Debian's package python3-pynx", "run `make pynx`")


def test_a_wrong_number_of_threads_is_refused(tmp_path, capsys):
    source = write_relaxed(tmp_path / "relaxed.h5")
    with pytest.raises(SystemExit) as stop:
        main([*arguments_for(write_campaign(tmp_path), source), "--threads", "0"])
    assert stop.value.code == 2
    assert "'0' is no number of threads: use 1 to 1024" in capsys.readouterr().err


# --- a simulated scan ---


def test_a_pattern_becomes_a_simulated_scan(made, capsys):
    recipe = ScanRecipe(version=1, scan=ScanConfig(crop=32, simulated="any")).to_json()
    paths = ["--patterns", str(made / "patterns.h5"), "--output", str(made / "scan.cxi")]
    assert main(["simulate-scan", "--recipe", recipe, *paths, "--particle", "3", "--total-counts", "1e6"]) == 0
    assert "simulated scan of 24x24x24" in capsys.readouterr().out
    scan = read_scan(made / "scan.cxi")
    assert scan.simulated
    assert scan.counts.sum(dtype="u8") == pytest.approx(1e6, rel=0.01)
    with h5py.File(made / "patterns.h5") as file:
        intensity = np.abs(file["0000003"]["amplitude"][0].astype(complex)) ** 2
    assert np.corrcoef(scan.counts.ravel(), intensity.ravel())[0, 1] > 0.99
    refused(made, capsys, ["simulate-scan", "--recipe", recipe, *paths, "--particle", "9"], "particle 9 is not in it")
