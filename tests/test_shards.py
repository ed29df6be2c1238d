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
from braggworks.datasets.counts import LOW, Counts
from braggworks.datasets.gaps import gap_pixels
from braggworks.datasets.patches import extract, stitch
from braggworks.datasets.samples import ATOM_COLUMNS, COLUMNS, decode_phase
from braggworks.datasets.shards import ShardFiles, read_columns
from braggworks.diffraction.labels import rsp
from braggworks.errors import FileError
from braggworks.files import sha256_of

SAMPLES = PARTICLES * 2 * 3
# How counts lie in the file; `Counts` puts them together.
LISTED = {LOW, "bright_first", "bright_voxel", "bright_counts"}


def shard(*arguments) -> int:
    return cli.main(["shard", *map(str, arguments)])


@pytest.fixture
def patterns(tmp_path):
    return write_patterns(tmp_path / "patterns.h5")


def read(path):
    with h5py.File(path, "r") as file:
        data = {name: file[name][()] for name in file if name not in LISTED} | {"counts": Counts(file)[:]}
        return data, dict(file.attrs)


def test_shard_holds_what_its_sidecar_says(tmp_path, patterns):
    out = tmp_path / "deep" / "shard.h5"
    assert shard("--recipe", shard_recipe(), "--input", patterns, "--output", out) == 0
    sidecar = json.loads(out.with_suffix(".json").read_text())
    data, attributes = read(out)
    assert sidecar == {
        "kind": "shard",
        "file": "shard.h5",
        "sha256": sha256_of(out),
        "task": "inpaint",
        "shape": [16, 16, 16],
        "samples": SAMPLES,
        "particles": [0, 1, 2, 3],
        "campaign": "one",
        "family": "atomistic",
        "batch": 0,
        "recipe": json.loads(attributes["recipe"]),
        "counts_sum": int(data["counts"].sum()),
        "bytes": out.stat().st_size,
        "rejected": 2,
        "provenance": sidecar["provenance"],
    }
    assert [entry["stage"] for entry in sidecar["provenance"]] == ["scatter", "shard"]
    assert sidecar["provenance"][1]["recipe"] == sidecar["recipe"]
    assert set(sidecar["provenance"][1]["tools"]) == {"numpy", "h5py", "hdf5plugin"}
    assert sidecar["recipe"]["patches"]["size"] == 16
    assert attributes["kind"] == b"shard"
    assert (attributes["campaign"], attributes["batch"], attributes["particles"]) == (b"one", 0, 4)
    kinds = {**COLUMNS, **ATOM_COLUMNS, "counts": "u4", "mask": "u1"}
    assert {name: values.dtype for name, values in data.items()} == {n: np.dtype(kind) for n, kind in kinds.items()}
    assert np.array_equal(data["particle"], np.repeat(np.arange(4), 6))
    assert np.array_equal(data["pattern"], np.tile(np.repeat([0, 1], 3), 4))
    ratios = np.linspace(2.5, 4, 6, dtype="f4").reshape(2, 3)
    assert np.array_equal(data["oversampling"][:6], np.repeat(ratios, 3, axis=0))
    for name, scale in (("phase_range", 1), ("gradient", 2), ("strain", 3)):
        assert np.array_equal(data[name], np.tile(np.repeat(np.float32([0.1 * scale, 0.2 * scale]), 3), 4))
    assert np.array_equal(data["atoms"], np.repeat(1000 + np.arange(4), 6))
    assert ((data["total_counts"] >= 1e6) & (data["total_counts"] <= 1e8)).all()
    assert np.array_equal(data["mask"].sum(axis=(1, 2, 3)), data["masked"])
    gaps = zip(data["gap_shape"], data["gap_width"], data["gap_start"], data["masked"], strict=True)
    assert all({masked} == {16 * a for a in gap_pixels(kind, 16, w, start)} for kind, w, start, masked in gaps)
    assert np.bincount(data["gap_shape"]).tolist() == [SAMPLES * 5 // 6, 0, SAMPLES // 6]
    assert np.array_equal(np.unique(data["gap_width"], return_counts=True), [[3, 6], [SAMPLES // 2] * 2])
    with h5py.File(out, "r") as file:
        for name, kind in ((LOW, "u2"), ("mask", "u1")):
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
    shard("--recipe", shard_recipe(size=24, per_pattern=1), "--input", patterns, "--output", out)
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


def test_order_of_the_batches_changes_no_byte(tmp_path):
    program = """
import sys
from pathlib import Path
from braggworks.datasets.patterns import write_shard
from braggworks.recipes import ShardRecipe, parse_recipe
recipe = parse_recipe(ShardRecipe, sys.argv[1])
for batch in sys.argv[3:]:
    write_shard(f"{sys.argv[2]}/patterns-{batch}.h5", f"{sys.argv[2]}/{'-'.join(sys.argv[3:])}/{batch}.h5", recipe)
"""
    gaps = {"shapes": {"vertical": 2, "cross": 1, "tee": 1, "layout": 1}, "widths_px": [2, 3, 5], "layouts": ["merlin"]}
    recipe = shard_recipe(gaps=gaps, detector={"dead_fraction": 0.01})
    for batch in range(3):
        write_patterns(tmp_path / f"patterns-{batch}.h5", batch=batch)
    for order in (["0", "1", "2"], ["2", "0", "1"]):
        subprocess.run([sys.executable, "-c", program, recipe, tmp_path, *order], check=True)
    for batch in range(3):
        assert (tmp_path / "0-1-2" / f"{batch}.h5").read_bytes() == (tmp_path / "2-0-1" / f"{batch}.h5").read_bytes()


def test_phase_shards_hold_the_phase_of_the_patterns(tmp_path, patterns):
    out = tmp_path / "shard.h5"
    assert shard("--recipe", shard_recipe(task="phase"), "--input", patterns, "--output", out) == 0
    data, _ = read(out)
    assert "mask" not in data
    assert (data["phase"].dtype, data["phase"].shape) == (np.int16, (SAMPLES, 16, 16, 16))
    assert (data["gap_shape"] == 255).all()
    assert not data["masked"].any()
    assert (data["gap_start"] == -1).all()
    row = 7
    z, y, x = data["corner"][row]
    label = rsp(amplitudes(int(data["particle"][row]))[data["pattern"][row]])[z : z + 16, y : y + 16, x : x + 16]
    assert np.abs(np.angle(np.exp(1j * (decode_phase(data["phase"][row]) - label)))).max() < 1e-6 + np.pi / 65536


@pytest.mark.parametrize("task", ["inpaint", "phase"])
def test_bad_pixels_are_masked(tmp_path, patterns, task):
    bad, clean = tmp_path / "bad.h5", tmp_path / "clean.h5"
    detector = {"dead_fraction": 0.04, "hot_fraction": 0.02}
    shard("--recipe", shard_recipe(task=task, detector=detector), "--input", patterns, "--output", bad)
    shard("--recipe", shard_recipe(task=task), "--input", patterns, "--output", clean)
    spoilt, whole = read(bad)[0], read(clean)[0]
    mask = spoilt["mask"].astype(bool)
    assert np.array_equal(mask.sum(axis=(1, 2, 3)), spoilt["masked"])
    assert (mask == mask[:, :1]).all()
    assert np.array_equal(spoilt["corner"], whole["corner"])
    if task == "inpaint":
        assert np.array_equal(spoilt["counts"], whole["counts"])
        assert (mask | ~whole["mask"].astype(bool)).all()
        assert 0.02 < (mask & ~whole["mask"].astype(bool)).mean() < 0.07
    else:
        assert np.array_equal(spoilt["counts"][~mask], whole["counts"][~mask])
        assert not np.array_equal(spoilt["counts"][mask], whole["counts"][mask])
        assert 0.03 < mask.mean() < 0.09


def test_noise_and_patches_have_their_own_random_numbers(tmp_path, patterns):
    recipes = {
        "first": shard_recipe(),
        "patches": shard_recipe(outward_bias=4, per_pattern=3, gaps={"widths_px": [3, 5]}),
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
        (shard_recipe(gaps={"widths_px": [3, 13]}), {}, "A gap of 13 px does not fit in a patch of 16 px"),
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


def test_another_batch_is_refused(tmp_path, capsys):
    path = write_patterns(tmp_path / "patterns.h5")
    assert shard("--recipe", shard_recipe(), "--batch", 7, "--input", path, "--output", tmp_path / "shard.h5") == 2
    assert "of the campaign, not 7: delete it" in capsys.readouterr().err
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


@pytest.mark.parametrize("name", [LOW, "mask"])
def test_flipped_byte_in_a_chunk_is_an_error(tmp_path, patterns, name):
    out = tmp_path / "shard.h5"
    shard("--recipe", shard_recipe(), "--input", patterns, "--output", out)
    flip(out, chunk_offset(out, name, 7))
    files = ShardFiles([out])
    files.read(0, slice(0, 7), ["counts", "mask"])
    with pytest.raises(FileError, match=r"shard.h5 is damaged \(.*\): delete it .* and run `braggworks run` again"):
        files.read(0, slice(7, 8), ["counts", "mask"])


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
            counts, mask = ShardFiles([out]).read(0, slice(None), ["counts", "mask"])
        except FileError:
            errors += 1
        else:
            assert np.array_equal(counts, truth["counts"])
            assert np.array_equal(mask, truth["mask"])
            assert all(np.array_equal(values, truth[key]) for key, values in columns.items())
        out.write_bytes(whole)
    assert errors > 80
