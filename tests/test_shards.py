"""Shards, manifests and the reader: contents, reproducibility, and sentences for bad input."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from releases import (
    PARTICLES,
    amplitudes,
    files_below,
    shard_recipe,
    write_patterns,
)

from braggworks import cli
from braggworks.datasets.gaps import gap_voxels
from braggworks.datasets.patches import extract, stitch
from braggworks.datasets.shards import COLUMNS, ShardFiles, read_columns
from braggworks.errors import FileError
from braggworks.files import sha256_of

SAMPLES = PARTICLES * 2 * 3


def shard(*arguments) -> int:
    return cli.main(["shard", *map(str, arguments)])


@pytest.fixture
def patterns(tmp_path):
    return write_patterns(tmp_path / "patterns.h5")


def read(path):
    with h5py.File(path, "r") as file:
        return {name: file[name][()] for name in file}, dict(file.attrs)


def test_shard_holds_what_its_sidecar_says(tmp_path, patterns):
    out = tmp_path / "deep" / "shard.h5"
    assert shard("--recipe", shard_recipe(), "--input", patterns, "--output", out) == 0
    sidecar = json.loads(out.with_suffix(".json").read_text())
    data, attributes = read(out)
    assert sidecar == {
        "kind": "shard",
        "file": "shard.h5",
        "sha256": sha256_of(out),
        "samples": SAMPLES,
        "particles": [0, 1, 2, 3],
        "campaign": "one",
        "batch": 0,
        "recipe": json.loads(attributes["recipe"]),
        "counts_sum": int(data["counts"].sum()),
        "bytes": out.stat().st_size,
    }
    assert sidecar["recipe"]["patches"]["size"] == 16
    assert attributes["kind"] == b"shard"
    assert (attributes["campaign"], attributes["batch"], attributes["particles"]) == (b"one", 0, 4)
    assert {name: data[name].dtype for name in COLUMNS} == {name: np.dtype(kind) for name, kind in COLUMNS.items()}
    assert np.array_equal(data["particle"], np.repeat(np.arange(4), 6))
    assert np.array_equal(data["pattern"], np.tile(np.repeat([0, 1], 3), 4))
    assert np.array_equal(data["oversampling"][:6], np.repeat(np.float32([2.5, 4]), 3))
    assert ((data["total_counts"] >= 1e6) & (data["total_counts"] <= 1e8)).all()
    assert np.array_equal(data["mask"].sum(axis=(1, 2, 3)), gap_voxels(16, data["gap_width"], data["cross"]))
    assert np.array_equal(np.unique(data["gap_width"], return_counts=True), [[3, 6], [SAMPLES // 2] * 2])
    with h5py.File(out, "r") as file:
        for name, kind in (("counts", "u4"), ("mask", "u1")):
            assert file[name].dtype == kind
            assert file[name].chunks == (1, 16, 16, 16)
            assert file[name].fletcher32
            assert "32008" in file[name]._filters


def test_patches_lie_where_their_corners_say(tmp_path):
    out = tmp_path / "shard.h5"
    patterns = write_patterns(tmp_path / "patterns.h5")
    shard("--recipe", shard_recipe(per_pattern=40), "--input", patterns, "--output", out)
    data, _ = read(out)
    for particle in range(4):
        rows = (data["particle"] == particle) & (data["pattern"] == 1)
        counts, corners = data["counts"][rows], data["corner"][rows]
        pattern = stitch(counts, corners, (24, 24, 24))
        assert np.array_equal(extract(pattern, corners, 16), counts)
        seen = np.isfinite(pattern)
        expected = np.abs(amplitudes(particle)[1]) ** 2
        expected *= data["total_counts"][rows][0] / expected.sum()
        assert seen.mean() > 0.9
        pull = (pattern - expected)[seen] / np.sqrt(np.maximum(expected[seen], 1))
        assert abs(pull.mean()) < 0.1
        assert pull.std() < 1.2


def test_whole_pattern_has_the_drawn_number_of_photons(tmp_path, patterns):
    out = tmp_path / "shard.h5"
    shard("--recipe", shard_recipe(size=24), "--input", patterns, "--output", out)
    data, _ = read(out)
    pull = (data["counts"].sum(axis=(1, 2, 3)) - data["total_counts"]) / np.sqrt(data["total_counts"])
    assert np.abs(pull).max() < 5
    assert len(np.unique(data["total_counts"])) == PARTICLES * 2


def test_second_run_gives_the_same_bytes(tmp_path, patterns):
    first, second = tmp_path / "a" / "shard.h5", tmp_path / "b" / "shard.h5"
    assert shard("--recipe", shard_recipe(), "--input", patterns, "--output", first) == 0
    program = "import sys, braggworks.cli; sys.exit(braggworks.cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "shard", "--recipe", shard_recipe()]
    subprocess.run(
        [*command, "--input", patterns, "--output", second], check=True, env={**os.environ, "TZ": "Asia/Tokyo"}
    )
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".json").read_bytes() == second.with_suffix(".json").read_bytes()


def test_a_particles_samples_do_not_depend_on_its_batch(tmp_path, patterns):
    alone = write_patterns(tmp_path / "alone.h5", batch=5, indices=[2])
    for name, path in (("all", patterns), ("one", alone)):
        shard("--recipe", shard_recipe(), "--input", path, "--output", tmp_path / f"{name}.h5")
    together, _ = read(tmp_path / "all.h5")
    single, _ = read(tmp_path / "one.h5")
    for name, values in single.items():
        assert np.array_equal(together[name][together["particle"] == 2], values), name


def test_noise_and_patches_have_their_own_random_numbers(tmp_path, patterns):
    recipes = {
        "first": shard_recipe(),
        "patches": shard_recipe(outward_bias=4, per_pattern=3, gap_widths_px=[3, 5]),
        "noise": shard_recipe(detector={"total_counts": [1e3, 1e4]}),
    }
    data = {}
    for name, recipe in recipes.items():
        shard("--recipe", recipe, "--input", patterns, "--output", tmp_path / f"{name}.h5")
        data[name], _ = read(tmp_path / f"{name}.h5")
    assert np.array_equal(data["first"]["total_counts"], data["patches"]["total_counts"])
    assert not np.array_equal(data["first"]["corner"], data["patches"]["corner"])
    assert np.array_equal(data["first"]["corner"], data["noise"]["corner"])
    assert np.array_equal(data["first"]["mask"], data["noise"]["mask"])


# --- bad input of `braggworks shard` ---

NAN = amplitudes(1)
NAN[1, 3, 3, 3] = np.nan


@pytest.mark.parametrize(
    ("recipe", "changed", "sentence"),
    [
        (shard_recipe(), {"campaign": "two"}, "belongs to campaign 'two', not 'one'"),
        (shard_recipe(), {"p3": None}, "does not hold the patterns of all its particles"),
        (shard_recipe(), {"p3": amplitudes(3, patterns=1)}, "does not hold the patterns of all its particles"),
        (shard_recipe(), {"p1": NAN}, "particle 1, pattern 1: an intensity must be finite"),
        (shard_recipe(), {"p1": 0 * amplitudes(1)}, "particle 1, pattern 0: an intensity must be finite"),
        (shard_recipe(size=32), {}, "A patch of 32 px does not fit in an array of 24 x 24 x 24"),
        (shard_recipe(gap_widths_px=[3, 13]), {}, "gap_widths_px holds 13, which leaves no measured border"),
        (shard_recipe(detector={"total_counts": [1e12, 1e12]}), {}, "use a smaller detector.total_counts"),
        ("{", {}, "--recipe"),
    ],
)
def test_bad_patterns_and_recipes_end_in_a_sentence(tmp_path, capsys, recipe, changed, sentence):
    path = write_patterns(tmp_path / "patterns.h5", **changed)
    assert shard("--recipe", recipe, "--input", path, "--output", tmp_path / "shard.h5") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("braggworks shard: ")
    assert sentence in error
    assert files_below(tmp_path) == {Path("patterns.h5")}


def test_truncated_missing_and_foreign_files_end_in_a_sentence(tmp_path, capsys, patterns):
    whole = patterns.read_bytes()
    cases = {"truncated": whole[: len(whole) // 2], "text": b"hello", "empty": b""}
    for name, content in cases.items():
        (tmp_path / f"{name}.h5").write_bytes(content)
    for name, sentence in [
        ("truncated", "is truncated or is no HDF5 file"),
        ("text", "is truncated or is no HDF5 file"),
        ("empty", "is truncated or is no HDF5 file"),
        ("absent", "does not exist"),
    ]:
        out = tmp_path / "out" / "shard.h5"
        assert shard("--recipe", shard_recipe(), "--input", tmp_path / f"{name}.h5", "--output", out) == 2
        assert sentence in capsys.readouterr().err
        assert not out.parent.exists()


def test_shard_is_no_pattern(tmp_path, capsys, patterns):
    made = tmp_path / "shard.h5"
    shard("--recipe", shard_recipe(), "--input", patterns, "--output", made)
    assert shard("--recipe", shard_recipe(), "--input", made, "--output", tmp_path / "other.h5") == 2
    assert "holds shard, not patterns" in capsys.readouterr().err


# --- a full disk ---


def run_shard(patterns, out, limit=None):
    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    program = "import sys, braggworks.cli; sys.exit(braggworks.cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "shard", "--recipe", shard_recipe(per_pattern=20)]
    return subprocess.run(
        [*command, "--input", patterns, "--output", out],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=limit_files if limit else None,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


def check_full(result, out):
    assert result.returncode == 2, result.stderr
    assert result.stderr.splitlines()[-1].endswith("is full: free some space and run the same command again.")
    assert "Traceback" not in result.stderr
    assert "Error" not in result.stderr
    assert not files_below(out)


@pytest.mark.parametrize("limit", [100, 100_000])
def test_full_disk_leaves_nothing_behind(tmp_path, patterns, limit):
    out = tmp_path / "out"
    check_full(run_shard(patterns, out / "shard.h5", limit), out)


def test_really_full_disk_leaves_nothing_behind(tmp_path, patterns):
    out = tmp_path / "out"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(out)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        check_full(run_shard(patterns, out / "shard.h5"), out)
    finally:
        subprocess.run(["umount", str(out)], check=True)


# --- damaged shards ---


def flip(path, offset):
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def chunk_offset(path, name, row):
    with h5py.File(path, "r") as file:
        info = file[name].id.get_chunk_info_by_coord((row, 0, 0, 0))
    return info.byte_offset + info.size // 2


@pytest.mark.parametrize("name", ["counts", "mask"])
def test_flipped_byte_in_a_chunk_is_an_error(tmp_path, patterns, name):
    out = tmp_path / "shard.h5"
    shard("--recipe", shard_recipe(), "--input", patterns, "--output", out)
    flip(out, chunk_offset(out, name, 7))
    files = ShardFiles([out])
    files.read(0, slice(0, 7))
    with pytest.raises(FileError, match=r"shard.h5 is damaged \(.*\): delete it and run `braggworks run` again"):
        files.read(0, slice(7, 8))


def test_no_flipped_byte_gives_other_data(tmp_path, patterns):
    out = tmp_path / "shard.h5"
    shard("--recipe", shard_recipe(), "--input", patterns, "--output", out)
    whole = out.read_bytes()
    truth, _ = read(out)
    rng = np.random.default_rng(0)
    errors = 0
    for offset in [*range(0, 1500, 19), *rng.integers(1500, len(whole), 80)]:
        flip(out, offset)
        try:
            columns = read_columns(out, "one")
            counts, mask = ShardFiles([out]).read(0, slice(None))
        except FileError:
            errors += 1
        else:
            assert np.array_equal(counts, truth["counts"])
            assert np.array_equal(mask, truth["mask"])
            assert all(np.array_equal(columns[key], truth[key]) for key in COLUMNS)
        out.write_bytes(whole)
    assert errors > 80
