"""`braggworks shard-scan`: patches of measured scans that hold measured voxels only."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from releases import files_below
from scan_inputs import blob, measured_scan, save_tif_folder, write_cxi

from braggworks import cli
from braggworks.campaigns import GapConfig
from braggworks.config import load_campaign
from braggworks.datasets.counts import Counts
from braggworks.datasets.patches import extract
from braggworks.datasets.scan_patterns import scan_pattern, silent_lines
from braggworks.errors import ScanError
from braggworks.files import sha256_of, write_json
from braggworks.scans.scan import Scan

CAMPAIGNS = Path(__file__).parents[1] / "config" / "campaigns"
SHAPE, PEAK = (24, 40, 44), (11, 14, 15)


def recipe(seed=1, gaps=None, **patches) -> str:
    values = {"size": 8, "per_pattern": 30, "minimum_counts": 1, **patches}
    gaps = {"widths_px": [2, 4], **(gaps or {})}
    text = {"version": 1, "campaign": "scans", "family": "scan", "seed": seed, "task": "inpaint"}
    return json.dumps({**text, "patches": values, "gaps": gaps})


def shard(out, *files, batch=0, text=None, size=None):
    text, size = text or recipe(), ["--batch-size", str(size)] if size else []
    named = ["--batch", str(batch), *size, "--input", *map(str, files), "--output", str(out)]
    return cli.main(["shard-scan", "--recipe", text, *named])


def counts(seed=0):
    return blob(SHAPE, PEAK, background=2.0, seed=seed)


@pytest.fixture
def scans(tmp_path):
    """Two scans, the first with a cross gap in its mask."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, :, 30:33] = mask[:, 24:27] = 1
    write_cxi(tmp_path / "a.cxi", counts() * (1 - mask), mask=mask)
    write_cxi(tmp_path / "b.cxi", counts(1))
    return [tmp_path / "a.cxi", tmp_path / "b.cxi"], mask.astype(bool)


def read(path):
    with h5py.File(path, "r") as file:
        return {name: file[name][()] for name in file} | {"counts": Counts(file)[:]}


def test_patches_hold_measured_voxels_only(tmp_path, scans):
    files, mask = scans
    out = tmp_path / "out" / "shard.h5"
    assert shard(out, *files, batch=3) == 0
    data = read(out)
    assert data["particle"].tolist() == [6] * 30 + [7] * 30
    first = slice(0, 30)
    assert not extract(mask, data["corner"][first], 8).any()
    for rows, seed in ((first, 0), (slice(30, 60), 1)):
        assert np.array_equal(data["counts"][rows], extract(counts(seed), data["corner"][rows], 8))
        assert not (data["oversampling"][rows].any() or data["phase_range"][rows].any() or data["gradient"][rows].any())
    # From each side of the gap.
    assert {tuple(corner) for corner in data["corner"][first, 1:] > (24, 30)} >= {(False, False), (False, True)}
    assert data["total_counts"][30] == counts(1).sum()
    assert np.array_equal(data["mask"].sum(axis=(1, 2, 3)), data["masked"])
    assert set(data["gap_width"].tolist()) == {2, 4}
    sidecar = json.loads(out.with_suffix(".json").read_text())
    assert (sidecar["family"], sidecar["particles"], sidecar["rejected"]) == ("scan", [6, 7], 0)
    (entry,) = sidecar["provenance"]
    assert entry["tools"]["scan 6"] == sha256_of(files[0])
    assert "cxi" not in json.dumps(sidecar)


def test_second_run_gives_the_same_bytes_and_verify_accepts_them(tmp_path, scans, capsys):
    files, _ = scans
    one, two = tmp_path / "one" / "shard.h5", tmp_path / "two" / "shard.h5"
    assert shard(one, *files) == shard(two, *files) == 0
    assert one.read_bytes() == two.read_bytes()
    assert one.with_suffix(".json").read_bytes() == two.with_suffix(".json").read_bytes()
    release = {"name": "r", "campaigns": ["scans"]}
    splits = {"validation": 0, "test": 0}
    write_json(tmp_path / "recipe.json", {"version": 1, "release": release, "splits": splits})
    made = ["--sidecars", str(one.with_suffix(".json")), "--output", str(tmp_path / "manifest.json")]
    assert cli.main(["manifest", "--recipe", str(tmp_path / "recipe.json"), *made]) == 0
    assert cli.main(["verify", str(tmp_path / "manifest.json")]) == 0
    assert "1 shards, 60 samples, 2 particles (train 2, validation 0, test 0)" in capsys.readouterr().out


def test_a_scans_samples_do_not_depend_on_its_batch(tmp_path, scans):
    files, _ = scans
    shard(tmp_path / "both.h5", *files)
    shard(tmp_path / "one.h5", files[1], batch=1, size=1)
    both, one = read(tmp_path / "both.h5"), read(tmp_path / "one.h5")
    for name, values in one.items():
        assert np.array_equal(both[name][30:], values), name


def test_a_folder_of_frames_is_a_scan(tmp_path):
    save_tif_folder(tmp_path / "frames", counts())
    assert shard(tmp_path / "shard.h5", tmp_path / "frames") == 0
    data = read(tmp_path / "shard.h5")
    assert np.array_equal(data["counts"], extract(counts(), data["corner"], 8))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda c: c * 0, "has no peak"),
        (lambda c: c * 0.3, "no whole numbers"),
        (lambda c: c[8:14], "A patch of 8 px does not fit in an array of 6 x 40 x 44"),
    ],
)
def test_scans_that_cannot_be_used_end_in_a_sentence(tmp_path, capsys, spoil, words):
    np.save(tmp_path / "scan.npy", spoil(counts()))
    assert shard(tmp_path / "out" / "shard.h5", tmp_path / "scan.npy") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("braggworks shard-scan: ")
    assert words in error
    assert files_below(tmp_path) == {Path("scan.npy")}


def test_a_scan_without_room_for_a_patch_is_named(tmp_path, capsys):
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, ::7] = 1
    write_cxi(tmp_path / "a.cxi", counts() * (1 - mask), mask=mask)
    assert shard(tmp_path / "shard.h5", tmp_path / "a.cxi") == 2
    error = capsys.readouterr().err
    assert "a.cxi: Every patch of 8 px holds a pixel that was not measured" in error


@pytest.mark.parametrize(("batch", "size"), [(0, 3), (-1, 2)])
def test_batches_and_scans_must_agree(tmp_path, scans, capsys, batch, size):
    assert shard(tmp_path / "shard.h5", *scans[0], batch=batch, size=size) == 2
    assert f"--batch {batch} holds {size} scans and --input names 2" in capsys.readouterr().err


# --- what was measured ---


def test_rows_and_columns_that_stay_dark_among_bright_ones_are_gaps():
    found = counts()
    found[:, 20:24] = found[:, :, 33] = 0
    # Dark up to the edge may be just dark.
    found[:, :, 41:] = 0
    lines = silent_lines(found, np.zeros(SHAPE, bool))
    assert np.flatnonzero(lines.all(axis=1)).tolist() == [20, 21, 22, 23]
    assert np.flatnonzero(lines.all(axis=0)).tolist() == [33]
    pattern = scan_pattern(Scan(found))
    assert np.array_equal(pattern.unmeasured, np.broadcast_to(lines, SHAPE))
    assert np.abs(np.subtract(pattern.peak, PEAK)).max() <= 2


def test_dim_scans_have_no_dark_rows():
    sparse = np.random.default_rng(0).poisson(0.001, SHAPE)
    assert not sparse.sum(axis=(0, 2)).all()
    assert not silent_lines(sparse, np.zeros(SHAPE, bool)).any()


def test_hot_pixels_and_unusable_counts_are_not_measured():
    found = counts().astype(np.float64)
    found[:, 5, 7] = 5000
    found[3, 8, 9] = np.nan
    found[4, 8, 9] = -1
    pattern = scan_pattern(Scan(found))
    assert pattern.unmeasured[:, 5, 7].all()
    assert pattern.unmeasured[3:5, 8, 9].all()
    assert pattern.unmeasured.sum() == SHAPE[0] + 2
    assert not pattern.counts[pattern.unmeasured].any()
    with pytest.raises(ScanError, match="at most 32 bits"):
        scan_pattern(Scan(counts().astype(np.float64) * 1e8))


# --- the campaigns ---


@pytest.mark.parametrize(("name", "patches"), [("small-scan", 64), ("aps-scan", 6400)])
def test_campaign_files(name, patches):
    campaign = load_campaign(CAMPAIGNS / f"{name}.yaml")
    assert (campaign.count, campaign.batches, campaign.patches.per_pattern) == (1, 1, patches)
    assert campaign.gaps == GapConfig()


@pytest.mark.needs_scan
def test_measured_scan(tmp_path):
    scan = measured_scan()
    campaign, out = CAMPAIGNS / "small-scan.yaml", tmp_path / "shard.h5"
    named = ["--batch", "0", "--input", str(scan), "--output", str(out)]
    assert cli.main(["shard-scan", "--campaign", str(campaign), *named]) == 0
    data = read(out)
    assert data["counts"].shape == (64, 32, 32, 32)
    assert (data["counts"].sum(axis=(1, 2, 3)) >= 100).all()
    assert data["total_counts"][0] == pytest.approx(46.2e6, rel=0.01)
