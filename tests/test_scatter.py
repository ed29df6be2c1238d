"""The verbs scatter and compare-engines: what they write, and what they say to bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from braggworks.cli import main
from braggworks.diffraction.direct import direct_sum
from braggworks.diffraction.laue import fcc_block, laue_amplitude
from braggworks.diffraction.sampling import QGrid, random_rotation
from braggworks.files import create_h5
from braggworks.paths import environment_prefix

A = 4.08
ORIENTATION = random_rotation(np.random.default_rng(8))
DIFFRACTION = {"grid": 24, "oversampling": [2.2, 4.0], "patterns_per_particle": 2}

pytest.importorskip("finufft")


@pytest.fixture
def pynx_command():
    """Return the `braggworks` of the environment that holds PyNX."""
    own = Path(__file__).parents[1] / environment_prefix("pynx") / "bin" / "braggworks"
    command = Path(os.environ.get("BRAGGWORKS_PYNX", own))
    if not command.exists():
        pytest.skip(f"no PyNX environment at {command}: `make pynx` makes it, or set BRAGGWORKS_PYNX")
    return command


def write_campaign(folder: Path, name: str = "tiny", **diffraction) -> Path:
    path = folder / f"{name}.yaml"
    values = {"seed": 3, "count": 4, "batch_size": 2, "patches": {"size": 8, "gap_widths_px": [3]}}
    path.write_text(yaml.safe_dump({**values, "diffraction": DIFFRACTION | diffraction}))
    return path


def write_relaxed(path: Path, cells=((5, 5, 5), (4, 5, 6)), strain=0.01, *, kind="relaxed", first=2, **header) -> Path:
    attributes = {"campaign": "tiny", "batch": 1, "recipe": "{}", "particles": len(cells)} | header
    with create_h5(path, kind, **attributes) as file:
        for index, block in enumerate(cells, start=first):
            group = file.create_group(f"{index:07d}")
            group["positions"] = positions = fcc_block(block, A) @ ORIENTATION.T
            group["displacement"] = strain * positions + 20 * strain * np.sin(positions[:, ::-1] / 8)
            group.attrs.update(shape="cube", material="Au", lattice_constant=A, orientation=ORIENTATION)
    return path


def scatter(campaign: Path, source: Path, output: Path, *options: str) -> int:
    return main(["scatter", "--campaign", str(campaign), "--input", str(source), "--output", str(output), *options])


def contents(path: Path) -> dict[str, bytes]:
    """Return every dataset's bytes; times are attributes."""
    found: dict[str, bytes] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()].tobytes()} if hasattr(item, "dtype") else {}))
    return found


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
        assert group["dq"].shape == group["oversampling"].shape == (2,)
        assert (group.attrs["shape"], group.attrs["material"], group.attrs["lattice_constant"]) == ("cube", "Au", A)
        assert group.attrs["atoms"] == 4 * 4 * 5 * 6


def test_amplitudes_are_the_direct_sum_over_displaced_atoms_with_the_peak_in_the_middle(made):
    with h5py.File(made / "patterns.h5") as patterns, h5py.File(made / "relaxed.h5") as relaxed:
        for name in patterns:
            group = patterns[name]
            atoms = relaxed[name]["positions"][()] + relaxed[name]["displacement"][()]
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
        for key in ("amplitude", "rotation", "oversampling", "dq", "centre"):
            np.testing.assert_array_equal(few["0000003"][key][()], many["0000003"][key][:2])
        assert not np.allclose(few["0000003"]["rotation"][0], few["0000002"]["rotation"][0])


def test_progress_and_crowded_grids_are_told(tmp_path, capsys):
    source = write_relaxed(tmp_path / "relaxed.h5", [(2, 2, 2), (2, 2, 2)])
    assert scatter(write_campaign(tmp_path, grid=64), source, tmp_path / "patterns.h5") == 0
    told = capsys.readouterr().err
    assert "scatter tiny batch 1 (nufft)" in told
    assert "another reflection reaches into 4 of 4 patterns; larger particles" in told


# --- bad input: one sentence, exit code 2, nothing left behind ---


def refused(folder: Path, capsys, arguments: list[str], *sentence: str) -> None:
    before = sorted(folder.iterdir())
    assert main(arguments) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith(f"braggworks {arguments[0]}: ")
    assert told.endswith((".", "?"))
    for part in sentence:
        assert part in told
    assert sorted(folder.iterdir()) == before


def arguments_for(campaign: Path, source: Path) -> list[str]:
    output = str(source.parent / "patterns.h5")
    return ["scatter", "--campaign", str(campaign), "--input", str(source), "--output", output]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (
            {"reflection": [1, 1, 0]},
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
    write_relaxed(source, particles=3)
    refused(tmp_path, capsys, arguments_for(campaign, source), "does not hold all its particles")


def replace(group: h5py.Group, key: str, values) -> None:
    del group[key]
    group[key] = values


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


# --- comparing engines ---


def compare(folder: Path, other: str = "other.h5") -> list[str]:
    names = {"--reference": "patterns.h5", "--other": other, "--output": "engines.json"}
    return ["compare-engines", *(part for key, name in names.items() for part in (key, str(folder / name)))]


def test_equal_patterns_differ_by_nothing(made):
    assert main(compare(made, "patterns.h5")) == 0
    result = json.loads((made / "engines.json").read_text())
    assert result["max_error"] == result["median_error"] == 0
    assert result["min_correlation"] == pytest.approx(1)
    assert (result["campaign"], result["batch"], result["patterns"], result["grid"]) == ("tiny", 1, 4, 24)
    assert result["atoms"] == [480, 500]
    assert result["speedup"] == 1


def test_a_known_difference_is_found_where_it_is(made):
    (made / "other.h5").write_bytes((made / "patterns.h5").read_bytes())
    with h5py.File(made / "other.h5", "r+") as file:
        F = file["0000003"]["amplitude"][1]
        F[3, 4, 5] += 1e-2 * np.abs(F).max()
        file["0000003"]["amplitude"][1] = F
        file.attrs.update(seconds=10 * file.attrs["seconds"], engine="pynx", engine_version="2025.1")
    assert main(compare(made)) == 0
    result = json.loads((made / "engines.json").read_text())
    assert (result["worst"]["particle"], result["worst"]["pattern"]) == ("0000003", 1)
    assert result["max_error"] == result["worst"]["error"] == pytest.approx(1e-2, rel=1e-4)
    assert result["median_error"] == 0
    assert (result["reference"], result["other"], result["other_version"]) == ("nufft", "pynx", "2025.1")
    assert result["speedup"] == pytest.approx(10)


def test_patterns_that_are_not_the_same_are_refused(made, capsys):
    other = made / "other.h5"
    same = (made / "patterns.h5").read_bytes()

    def changed(change) -> None:
        other.write_bytes(same)
        with h5py.File(other, "r+") as file:
            change(file)

    changed(lambda file: file.attrs.update(batch=7))
    refused(made, capsys, compare(made), "differ in batch (1 and 7): give the same batch of both engines")
    changed(lambda file: file["0000002"]["dq"].write_direct(np.array([0.01, 0.02])))
    refused(made, capsys, compare(made), "hold different patterns")
    changed(lambda file: file["0000002"].__delitem__("amplitude"))
    refused(made, capsys, compare(made), "lack a part")
    changed(lambda file: file.attrs.update(kind="shard"))
    refused(made, capsys, compare(made), "holds shard, not patterns")
    other.write_bytes(same[:9000])
    refused(made, capsys, compare(made), "truncated")
    middle = len(same) // 2
    other.write_bytes(same[:middle] + bytes([same[middle] ^ 1]) + same[middle + 1 :])
    refused(made, capsys, compare(made), "is damaged")


# --- PyNX, through its own environment ---


def scatter_with_pynx(command: Path, campaign: Path, source: Path, output: Path) -> None:
    arguments = [*arguments_for(campaign, source)[:-1], str(output), "--engine", "pynx", "--threads", "2"]
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr


@pytest.mark.needs_pynx
@pytest.mark.parametrize("rotation", ["none", "random"])
def test_pynx_agrees_with_the_laue_function_and_the_direct_sum(tmp_path, pynx_command, rotation):
    source = write_relaxed(tmp_path / "relaxed.h5", [(8, 8, 8)], strain=0.0)
    campaign = write_campaign(tmp_path, grid=32, rotation=rotation)
    scatter_with_pynx(pynx_command, campaign, source, tmp_path / "pynx.h5")
    atoms = fcc_block((8, 8, 8), A) @ ORIENTATION.T
    with h5py.File(tmp_path / "pynx.h5") as file:
        group = file["0000002"]
        assert file.attrs["engine"] == "pynx"
        for i, F in enumerate(group["amplitude"]):
            R = group["rotation"][i]
            q = QGrid(32, group["dq"][i], group["centre"][i]).points()
            peak = np.abs(F).max()
            assert peak == pytest.approx(2048, rel=5e-5)
            assert np.abs(F - laue_amplitude((8, 8, 8), A, q @ (R @ ORIENTATION))).max() < 5e-5 * peak
            some = tuple(np.random.default_rng(0).integers(0, 32, (3, 300)))
            assert np.abs(F[some] - direct_sum(atoms @ R.T, q[some])).max() < 5e-5 * peak


@pytest.mark.needs_pynx
def test_both_engines_draw_the_same_patterns_and_agree_on_a_strained_batch(tmp_path, pynx_command):
    # More atoms than PyNX gets at a time, and numbers of atoms that its lanes do not divide.
    source = write_relaxed(tmp_path / "relaxed.h5", [(11, 11, 11), (3, 3, 3)])
    with h5py.File(source, "r+") as file:
        for key in ("positions", "displacement"):
            replace(file["0000002"], key, file["0000002"][key][:5003])
    campaign = write_campaign(tmp_path)
    assert scatter(campaign, source, tmp_path / "patterns.h5") == 0
    scatter_with_pynx(pynx_command, campaign, source, tmp_path / "other.h5")
    assert main(compare(tmp_path)) == 0
    result = json.loads((tmp_path / "engines.json").read_text())
    assert (result["reference"], result["other"], result["patterns"]) == ("nufft", "pynx", 4)
    assert 0 < result["max_error"] < 5e-5
    assert result["min_correlation"] > 1 - 1e-8
