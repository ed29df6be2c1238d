"""Manifests and the reader: what a release holds, who gets which samples, and sentences for bad input."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from releases import CAMPAIGNS, PARTICLES, files_below, make_release, make_shard, manifest_recipe

from braggworks import cli
from braggworks.config import SplitConfig
from braggworks.datasets.manifests import load_samples, read_manifest, select_samples
from braggworks.datasets.shards import read_sidecar
from braggworks.datasets.splits import SPLITS, split_of
from braggworks.errors import FileError
from braggworks.files import sha256_of

SAMPLES = PARTICLES * 2 * 3


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return make_release(tmp_path_factory.mktemp("release"))


def make_manifest(out, sidecars, recipe=None):
    return cli.main(
        ["manifest", "--recipe", recipe or manifest_recipe(), "--sidecars", *map(str, sidecars), "--output", str(out)]
    )


def test_manifest_lists_shards_in_order_with_paths_relative_to_itself(release):
    value = json.loads(release.read_text())
    assert [(entry["campaign"], entry["batch"]) for entry in value["shards"]] == [
        (c, b) for c in CAMPAIGNS for b in (0, 1)
    ]
    for entry in value["shards"]:
        assert sha256_of(release.parent / entry["file"]) == entry["sha256"]
        assert read_sidecar(release.parent / entry["sidecar"]).samples == entry["samples"] == SAMPLES
    assert value["fractions"] == {"validation": 0.25, "test": 0.25}
    assert (value["kind"], value["release"], value["warm_start"], value["split_seed"]) == ("manifest", "tiny", None, 11)
    splits = SplitConfig(validation=0.25, test=0.25, seed=11)
    expected = [split_of(campaign, index, splits) for campaign in CAMPAIGNS for index in range(2 * PARTICLES)]
    assert value["splits"] == {
        name: {"particles": expected.count(name), "samples": 6 * expected.count(name)} for name in SPLITS
    }


def test_manifest_says_what_each_campaign_gave(release):
    value = json.loads(release.read_text())
    assert (value["task"], value["shape"], value["samples"], value["particles"]) == ("inpaint", [16] * 3, 96, 16)
    assert value["bytes"] == sum((release.parent / entry["file"]).stat().st_size for entry in value["shards"])
    for campaign in value["campaigns"]:
        assert (campaign["family"], campaign["samples"], campaign["particles"]) == ("atomistic", 48, 8)
        # 2 of batch 0 and 3 of batch 1; the same stages worked on both.
        assert campaign["rejected"] == 5
        assert [entry["stage"] for entry in campaign["provenance"]] == ["scatter", "shard"]
        text = json.dumps(campaign["provenance"][1]["recipe"], sort_keys=True, separators=(",", ":"))
        assert campaign["recipe_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert [campaign["name"] for campaign in value["campaigns"]] == list(CAMPAIGNS)


def test_held_out_campaigns_are_all_in_the_test_split(tmp_path):
    manifest = read_manifest(make_release(tmp_path, held_out=["two"]))
    assert manifest.held_out == ("two",)
    assert "two" not in select_samples(manifest, "train").campaign
    assert "two" not in select_samples(manifest, "validation").campaign
    test = select_samples(manifest, "test")
    assert np.count_nonzero(test.campaign == "two") == 2 * SAMPLES
    assert manifest.splits["test"].samples == len(test)
    splits = SplitConfig(validation=0.25, test=0.25, seed=11)
    ones = {int(i) for i in test.columns["particle"][test.campaign == "one"]}
    assert ones == {i for i in range(2 * PARTICLES) if split_of("one", i, splits) == "test"}
    assert cli.main(["verify", str(tmp_path)]) == 0


def test_order_of_the_sidecars_does_not_matter(release):
    sidecars = [release.parent / entry.sidecar for entry in read_manifest(release).shards]
    other = release.with_name("other.json")
    assert make_manifest(other, reversed(sidecars)) == 0
    assert other.read_bytes() == release.read_bytes()


def test_added_particles_move_no_others(tmp_path):
    small, large = make_release(tmp_path, batches=1), tmp_path / "large.json"
    sidecars = sorted(tmp_path.glob("campaigns/*/shards/*.json"))
    sidecars += [make_shard(tmp_path, campaign, 1) for campaign in CAMPAIGNS]
    assert make_manifest(large, sidecars) == 0

    def members(path, split):
        table = select_samples(read_manifest(path), split)
        return set(zip(table.campaign.tolist(), table.columns["particle"].tolist(), table.row.tolist(), strict=True))

    for split in SPLITS:
        old = {member for member in members(large, split) if member[1] < PARTICLES}
        assert old == members(small, split)


def test_appended_particles_and_campaigns_change_no_old_byte(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    make_release(small, batches=1)
    make_shard(large, "new", 0)
    make_release(large, batches=3)
    old = [path for path in files_below(small) if "shards" in path.parts]
    assert len(old) == 4
    for path in old:
        assert (small / path).read_bytes() == (large / path).read_bytes()


@pytest.mark.parametrize(
    ("campaigns", "splits", "sentence"),
    [
        (["one"], {}, "belongs to campaign 'two', which release 'tiny' does not hold"),
        (["one", "two", "three"], {}, "Release 'tiny' has no shard of campaign 'three'"),
    ],
)
def test_release_and_shards_must_agree(release, tmp_path, capsys, campaigns, splits, sentence):
    sidecars = [release.parent / entry.sidecar for entry in read_manifest(release).shards]
    assert make_manifest(tmp_path / "m.json", sidecars, manifest_recipe(campaigns, **splits)) == 2
    assert sentence in capsys.readouterr().err
    assert not files_below(tmp_path)


def test_an_empty_split_is_told_and_no_mistake(release, tmp_path, capsys):
    sidecars = [release.parent / entry.sidecar for entry in read_manifest(release).shards]
    assert make_manifest(tmp_path / "m.json", sidecars, manifest_recipe(["one", "two"], test=1e-9)) == 0
    assert "none of them in split 'test'" in capsys.readouterr().out


def test_mixed_and_damaged_sidecars_are_refused(release, tmp_path, capsys):
    sidecars = [release.parent / entry.sidecar for entry in read_manifest(release).shards]
    other_size = make_shard(tmp_path / "size", "two", 2, size=8, gaps={"widths_px": [3]})
    other_task = make_shard(tmp_path / "task", "two", 2, task="phase")
    other_recipe = make_shard(tmp_path / "recipe", "one", 2, outward_bias=0)
    value = json.loads(sidecars[0].read_text())
    broken = {}
    for key, wrong in {
        "samples": 25,
        "particles": [],
        "counts_sum": "many",
        "recipe": {},
        "task": "play",
        "shape": [16],
        "kind": "thing",
    }.items():
        broken[key] = tmp_path / f"{key}.json"
        broken[key].write_text(json.dumps({**value, key: wrong}))
    (tmp_path / "text.json").write_text("{'a': 1}")
    for extra, sentence in [
        (sidecars[0], "is batch 0 of campaign 'one', and so is"),
        (other_recipe, "were made with different recipes"),
        (broken["samples"], "is damaged: delete it"),
        (broken["particles"], "is damaged: delete it"),
        (broken["counts_sum"], "is damaged: delete it"),
        (broken["recipe"], "is damaged: delete it"),
        (broken["task"], "is damaged: delete it"),
        (broken["shape"], "is damaged: delete it"),
        (broken["kind"], "is no sidecar of a shard"),
        (tmp_path / "text.json", "is not valid JSON"),
        (tmp_path / "absent.json", "does not exist"),
    ]:
        assert make_manifest(tmp_path / "m.json", [*sidecars, extra]) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert Path(extra).name in error
        assert not (tmp_path / "m.json").exists()
    assert make_manifest(tmp_path / "m.json", [sidecars[0], other_size]) == 2
    assert "holds samples of 8 x 8 x 8 px for the task inpaint, and" in capsys.readouterr().err
    assert make_manifest(tmp_path / "m.json", [sidecars[0], other_task]) == 2
    assert "holds samples of 16 x 16 x 16 px for the task phase, and" in capsys.readouterr().err


# --- the reader ---


def test_selection_and_bulk_reading(release):
    manifest = read_manifest(release)
    everything = select_samples(manifest)
    counts, mask = load_samples(everything)
    assert counts.shape == mask.shape == (4 * SAMPLES, 16, 16, 16)
    assert (counts.dtype, mask.dtype) == (np.uint32, np.uint8)
    assert counts.sum() == sum(read_sidecar(release.parent / entry.sidecar).counts_sum for entry in manifest.shards)
    parts = [select_samples(manifest, split) for split in SPLITS]
    assert sum(map(len, parts)) == len(everything)
    for split, part in zip(SPLITS, parts, strict=True):
        names = zip(part.campaign.tolist(), part.columns["particle"].tolist(), strict=True)
        assert {split_of(name, index, manifest.split_config) for name, index in names} == {split}
        rows = part.shard * SAMPLES + part.row
        some, some_mask = load_samples(part)
        assert np.array_equal(some, counts[rows])
        assert np.array_equal(some_mask, mask[rows])


def test_reader_names_a_foreign_or_missing_shard(tmp_path):
    manifest = make_release(tmp_path, batches=1)
    shards = [manifest.parent / entry.file for entry in read_manifest(manifest).shards]
    shards[0].write_bytes(shards[1].read_bytes())
    with pytest.raises(FileError, match="is a shard of campaign 'two', not of 'one'"):
        select_samples(read_manifest(manifest))
    shards[0].unlink()
    with pytest.raises(FileError, match="does not exist"):
        select_samples(read_manifest(manifest))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batches", '{"a": 1}'], "add --results"),
        (["--batches", '{"a": -1}', "--results", "x"], "no JSON of campaigns"),
        (["--batches", '{"../a": 1}', "--results", "x"], "no JSON of campaigns"),
        (["--batches", '{"a": 1}', "--results", "x"], "x/campaigns/a/shards/batch-00000.json does not exist"),
    ],
)
def test_batches_name_the_sidecars_of_a_results_folder(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = '{"version": 2, "release": {"name": "r", "campaigns": ["a"]}, "splits": {}}'
    assert cli.main(["manifest", "--recipe", recipe, *options, "--output", str(tmp_path / "m.json")]) == 2
    assert words in capsys.readouterr().err
