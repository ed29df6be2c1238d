"""Two engines on the same patterns: the verb compare-engines, and PyNX through its own environment."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from scatter_inputs import (
    ORIENTATION,
    A,
    arguments_for,
    refused,
    replace,
    scatter,
    write_campaign,
    write_relaxed,
)

from braggworks.cli import main
from braggworks.diffraction.direct import direct_sum
from braggworks.diffraction.laue import fcc_block, laue_amplitude
from braggworks.diffraction.sampling import QGrid
from braggworks.paths import environment_prefix

pytest.importorskip("finufft")


@pytest.fixture
def pynx_command():
    """Return the `braggworks` of the environment that holds PyNX."""
    own = Path(__file__).parents[1] / environment_prefix("pynx") / "bin" / "braggworks"
    command = Path(os.environ.get("BRAGGWORKS_PYNX", own))
    if not command.exists():
        pytest.skip(f"no PyNX environment at {command}: `make pynx` makes it, or set BRAGGWORKS_PYNX")
    return command


@pytest.fixture
def made(tmp_path):
    campaign, source = write_campaign(tmp_path), write_relaxed(tmp_path / "relaxed.h5")
    assert scatter(campaign, source, tmp_path / "patterns.h5") == 0
    return tmp_path


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
