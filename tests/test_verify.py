"""`braggworks verify` finds each kind of damage and names it."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from releases import make_release, make_shard, manifest_recipe, shard_recipe

from braggworks import cli
from braggworks.datasets.shards import Pattern, create_shard
from braggworks.files import sha256_of, write_json
from braggworks.recipes import ShardRecipe, parse_recipe


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    make_release(folder)
    make_shard(folder / "elsewhere", "three", 0)
    make_shard(folder / "elsewhere", "one", 0, outward_bias=3)
    return folder


@pytest.fixture
def results(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "results"))


def shard(results, campaign="one", batch=0):
    return results / "campaigns" / campaign / "shards" / f"{batch}.h5"


def manifest(results):
    return results / "releases" / "tiny" / "manifest.json"


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    write_json(path, value)


def tamper(results, change, **sidecar_changes):
    """Change the contents of one shard, and every hash so that only a look at the contents finds it."""
    path = shard(results)
    with h5py.File(path, "r+") as file:
        change(file)
    digest = sha256_of(path)
    news = {"sha256": digest, "bytes": path.stat().st_size, **sidecar_changes}
    edit(path.with_suffix(".json"), lambda value: value.update(news))
    edit(manifest(results), lambda value: value["shards"][0].update(sha256=digest))


def copy(source, target, *, sidecar):
    shutil.copyfile(source, target)
    if sidecar:
        shutil.copyfile(source.with_suffix(".json"), target.with_suffix(".json"))


def flip(path):
    with h5py.File(path, "r") as file:
        info = file["counts16"].id.get_chunk_info(5)
    content = bytearray(path.read_bytes())
    content[info.byte_offset + info.size // 3] ^= 8
    path.write_bytes(content)


@pytest.mark.parametrize("name", [".", "releases/tiny/manifest.json"])
def test_sound_release(results, capsys, name):
    assert cli.main(["verify", str(results / name)]) == 0
    output = capsys.readouterr().out
    assert output == f"{manifest(results)}: 4 shards, 96 samples, 16 particles (train 9, validation 3, test 4)\n"


def test_every_release_of_a_folder_is_checked(results, capsys):
    again = results / "releases" / "again"
    shutil.copytree(manifest(results).parent, again)
    edit(again / "manifest.json", lambda value: value.update(release="again"))
    assert cli.main(["verify", str(results)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def set_row(name, row, value):
    def change(file):
        file[name][row] = value

    return change


def shift_mask(file):
    file["mask"][4] = np.roll(file["mask"][4], 1, axis=2)


def tilt_mask(file):
    mask = file["mask"][3]
    mask[0] = np.roll(mask[0], 1, axis=1)
    file["mask"][3] = mask


def empty_mask(file):
    file["mask"][5] = 0


def drop_row(name):
    def change(file):
        values = file[name][1:]
        del file[name]
        file[name] = values

    return change


def brighten(voxel=7, counts=65_535):
    """List a voxel of the last sample as bright."""

    def change(file):
        for name, value in (("bright_voxel", voxel), ("bright_counts", counts)):
            values = np.append(file[name][()], np.uint32(value))
            del file[name]
            file[name] = values
        file["bright_first"][-1] += 1

    return change


DAMAGE = {
    "missing shard": (lambda r: shard(r).unlink(), "one/shards/0.h5 does not exist, but the manifest lists it"),
    "missing sidecar": (lambda r: shard(r).with_suffix(".json").unlink(), "one/shards/0.json does not exist"),
    "truncated": (
        lambda r: shard(r).write_bytes(shard(r).read_bytes()[:-1000]),
        "one/shards/0.h5 is truncated or is no HDF5 file",
    ),
    "flipped": (lambda r: flip(shard(r, "two", 1)), "two/shards/1.h5 has changed since the manifest was made"),
    "not a shard": (lambda r: shard(r).write_text("x"), "one/shards/0.h5 is truncated or is no HDF5 file"),
    "another campaign": (
        lambda r: copy(shard(r, "two"), shard(r), sidecar=False),
        "one/shards/0.h5 is a shard of campaign 'two', not of 'one'",
    ),
    "another campaign with its sidecar": (
        lambda r: copy(shard(r / "elsewhere", "three"), shard(r), sidecar=True),
        "one/shards/0.h5 is a shard of campaign 'three', not of 'one'",
    ),
    "another batch": (
        lambda r: copy(shard(r, "one", 1), shard(r), sidecar=False),
        "one/shards/0.h5 is batch 1, not batch 0",
    ),
    "another batch with its sidecar": (
        lambda r: copy(shard(r, "one", 1), shard(r), sidecar=True),
        "one/shards/0.json disagrees with the manifest on 0.h5: delete both",
    ),
    "another recipe": (
        lambda r: copy(shard(r / "elsewhere"), shard(r), sidecar=False),
        "one/shards/0.h5 was made with another recipe than its sidecar says",
    ),
    "edited sidecar": (
        lambda r: edit(shard(r).with_suffix(".json"), lambda value: value.update(counts_sum=5)),
        "one/shards/0.h5 holds ",
    ),
    "other size": (
        lambda r: edit(shard(r).with_suffix(".json"), lambda value: value.update(bytes=5)),
        "bytes, not the 5 of its sidecar",
    ),
    "damaged sidecar": (
        lambda r: edit(shard(r).with_suffix(".json"), lambda value: value.pop("recipe")),
        "one/shards/0.json is damaged",
    ),
    "other counts": (lambda r: tamper(r, set_row("counts16", 3, 0)), "one/shards/0.h5 holds "),
    "bright voxel beyond": (lambda r: tamper(r, brighten(voxel=16**3)), "its list of bright voxels does not fit"),
    "bright counts": (lambda r: tamper(r, brighten(counts=70_000)), "one/shards/0.h5 holds "),
    "mask value": (lambda r: tamper(r, set_row("mask", 9, 2)), "a mask holds 2, and only 0 and 1 are allowed"),
    "mask place": (lambda r: tamper(r, shift_mask), "the mask of sample 4, of "),
    "mask area": (lambda r: tamper(r, empty_mask), "the mask of sample 5 covers 0 voxels instead of"),
    "mask count": (lambda r: tamper(r, set_row("masked", 7, 5)), "the mask of sample 7 covers"),
    "mask by angle": (lambda r: tamper(r, tilt_mask), "the mask of sample 3 changes along the rocking axis"),
    "gap width": (lambda r: tamper(r, set_row("gap_width", 2, 5)), "px where its columns say"),
    "gap shape": (lambda r: tamper(r, set_row("gap_shape", 2, 77)), "is not the gap 'number 77' of"),
    "not finite": (lambda r: tamper(r, set_row("total_counts", 2, np.nan)), "total_counts does not hold 24 finite"),
    "lost row": (lambda r: tamper(r, drop_row("oversampling")), "oversampling does not hold 24 finite values"),
    "lost sample": (lambda r: tamper(r, drop_row("counts16")), "counts16 has shape (23, 16, 16, 16) and type uint16"),
    "lost dataset": (lambda r: tamper(r, lambda file: file.pop("mask")), "one/shards/0.h5 is damaged ("),
    "other particles": (
        lambda r: tamper(r, lambda file: None, particles=[0, 1, 2, 9]),
        "holds other particles than its sidecar lists",
    ),
    "particle in two shards": (
        lambda r: tamper(r, set_row("particle", slice(18, 24), 4), particles=[0, 1, 2, 4]),
        "both hold particle 4 of campaign 'one'",
    ),
    "listed twice": (
        lambda r: edit(manifest(r), lambda value: value["shards"].append(value["shards"][0])),
        "0.h5 twice",
    ),
    "split totals": (
        lambda r: edit(manifest(r), lambda value: value["splits"]["test"].update(particles=7)),
        "says that split 'test' holds 24 samples of 7 particles, but the shards have 24 of 4",
    ),
    "split seed": (lambda r: edit(manifest(r), lambda value: value.update(split_seed=3)), "says that split 'train'"),
    "no manifest": (lambda r: manifest(r).unlink(), "releases/*/manifest.json matches no file"),
    "not JSON": (lambda r: manifest(r).write_text("{"), "manifest.json is not valid JSON"),
    "not a manifest": (lambda r: manifest(r).write_text("[]"), "manifest.json is no manifest"),
    "another release": (
        lambda r: manifest(r).parent.rename(manifest(r).parent.with_name("other")),
        "releases/other/manifest.json is the manifest of release 'tiny': delete it",
    ),
    "damaged manifest": (lambda r: edit(manifest(r), lambda v: v.pop("splits")), "manifest.json is damaged"),
    "impossible fractions": (
        lambda r: edit(manifest(r), lambda value: value["fractions"].update(test=2)),
        "manifest.json is damaged",
    ),
}


def test_the_manifest_of_another_release_is_deleted(results, capsys):
    foreign = manifest(results).parent.with_name("other") / "manifest.json"
    foreign.parent.mkdir()
    foreign.write_bytes(manifest(results).read_bytes())
    assert cli.main(["verify", str(results), "--delete"]) == 2
    assert "the manifest of another release, " in capsys.readouterr().err
    assert not foreign.exists()
    assert cli.main(["verify", str(results)]) == 0


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_in_one_sentence(results, capsys, name):
    damage, sentence = DAMAGE[name]
    damage(results)
    capsys.readouterr()
    assert cli.main(["verify", str(results)]) == 2
    output = capsys.readouterr()
    error = output.err.splitlines()[-1]
    assert error.startswith("braggworks verify: ")
    assert sentence in error
    assert error.endswith((".", "again."))
    assert not output.out


# --- other tasks, gaps and dimensions ---


def broken(folder, capsys, change):
    """Return what `verify` says of a release before and after a change to its first shard."""
    assert cli.main(["verify", str(folder)]) == 0
    tamper(folder, change)
    capsys.readouterr()
    assert cli.main(["verify", str(folder)]) == 2
    return capsys.readouterr().err.splitlines()[-1]


def move_phase(file):
    file["phase"][0] = file["phase"][0] + 1


def test_phases_are_zero_at_the_peak(tmp_path, capsys):
    make_release(tmp_path, batches=1, task="phase", size=24, per_pattern=1)
    sentence = "the phase of sample 0 is 0.000 rad at the peak instead of 0"
    assert sentence in broken(tmp_path, capsys, move_phase)


def other_type(file):
    values = file["phase"][()].astype("f4")
    del file["phase"]
    file["phase"] = values


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (other_type, "phase has shape (24, 16, 16, 16) and type float32"),
        (set_row("masked", 3, 1), "has no masks, but its samples have masked voxels"),
        (set_row("strain", 3, np.inf), "strain does not hold 24 finite values"),
    ],
)
def test_damaged_phase_shards(tmp_path, capsys, change, sentence):
    make_release(tmp_path, batches=1, task="phase")
    assert sentence in broken(tmp_path, capsys, change)


def add_pixel(file):
    mask = file["mask"][1]
    mask[:, 0, 0] = 1
    file["mask"][1] = mask
    file["masked"][1] += 16


@pytest.mark.parametrize("shape", ["horizontal", "cross", "tee", "layout"])
def test_every_shape_of_gap_is_checked(tmp_path, capsys, shape):
    make_release(tmp_path, batches=1, gaps={"shapes": {shape: 1}, "layouts": ["merlin"], "position": "anywhere"})
    assert f"is not the gap '{shape}' of" in broken(tmp_path, capsys, add_pixel)


def lose_gap(file):
    mask = file["mask"][1]
    file["mask"][1] = np.roll(mask, 1, axis=2)


def test_bad_pixels_may_lie_anywhere_but_the_gap_must_be_there(tmp_path, capsys):
    make_release(tmp_path, batches=1, detector={"dead_fraction": 0.01}, gaps={"shapes": {"vertical": 1}})
    assert "is not the gap 'vertical'" in broken(tmp_path, capsys, lose_gap)


def flat_shard(folder):
    """Write a release of one two-dimensional shard, by hand."""
    text = shard_recipe("one", size=24, per_pattern=1).replace('"atomistic"', '"polygon2d"')
    path, values = folder / "campaigns" / "one" / "shards" / "0.h5", {"total_counts": 1e4, "phase_range": 1.0}
    values |= {"gradient": 0.1, "oversampling": [2.5, 3.0]}
    counts = np.random.default_rng(0).poisson(9.0, (24, 24)).astype(np.uint32)
    given = parse_recipe(ShardRecipe, text)
    with create_shard(path, given, batch=0, particles=range(8), patterns=1, ndim=2) as writer:
        for index in range(8):
            writer.add(index, [Pattern(counts, values=values)])
    write_json(path.with_suffix(".json"), writer.sidecar(0, []).to_json())
    options = ["--sidecars", str(path.with_suffix(".json")), "--output", str(manifest(folder))]
    assert cli.main(["manifest", "--recipe", manifest_recipe(["one"], test=0, validation=0), *options]) == 0


def turn_mask(file):
    file["mask"][2] = file["mask"][2].T


def test_two_dimensions(tmp_path, capsys):
    flat_shard(tmp_path)
    assert "is not the gap" in broken(tmp_path, capsys, turn_mask)


def test_missing_path(tmp_path, capsys):
    assert cli.main(["verify", str(tmp_path / "absent.json")]) == 2
    assert "does not exist" in capsys.readouterr().err
