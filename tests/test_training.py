"""Training: normalisation, samples, checkpoints, and runs that are killed and go on as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from releases import files_below, make_release
from safetensors.torch import save_file

from braggworks import cli
from braggworks.config import NetworkConfig, TrainingConfig
from braggworks.datasets.reader import SampleDataset
from braggworks.errors import FileError, ScanError
from braggworks.files import read_json, sha256_of, write_json
from braggworks.inpainting.interpolation import interpolate_batch
from braggworks.inpainting.model import Inpainter
from braggworks.networks import build
from braggworks.recipes import TrainRecipe
from braggworks.training.checkpoints import Weights, read_state, read_weights, write_state, write_weights
from braggworks.training.loop import DivergedError, Progress, Trainer
from braggworks.training.normalisation import denormalise, network_values, normalise
from braggworks.training.samples import Sample, Samples, augment, prepare

OUTPUTS = ("weights.safetensors", "history.csv", "card.json")
NETWORK = NetworkConfig(width=0.1, mask_input=True, residual=True)
seeds = st.integers(0, 2**31)


def recipe(**changed) -> TrainRecipe:
    values = {"seed": 3, "network": NETWORK, "epochs": 4, "batch_size": 4, "learning_rate": 3e-3}
    values |= {"checkpoint_seconds": 0, **changed}
    return TrainRecipe(version=1, training=TrainingConfig(release="tiny", **values))


def arguments(folder: Path, manifest: Path, values: TrainRecipe, *more: str) -> list[str]:
    outputs = [part for name in OUTPUTS for part in (f"--{name.split('.')[0]}", str(folder / name))]
    text = ["train", "--recipe", values.to_json(), "--manifest", str(manifest), "--state", str(folder / "state")]
    return [*text, *outputs, "--threads", "1", *more]


@pytest.fixture(autouse=True)
def torch_settings():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_deterministic_debug_mode("default")
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return make_release(tmp_path_factory.mktemp("release"), batches=1)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, manifest):
    """Return the folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert cli.main(arguments(folder, manifest, recipe())) == 0
    return folder


def counts_and_mask(seed=0, batch=3, size=16, width=4):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.lognormal(2, 2, (batch, size, size, size))).astype(np.float32)
    mask = np.zeros(counts.shape, bool)
    mask[..., (size - width) // 2 : (size - width) // 2 + width] = True
    return counts, mask


def same_run(folder: Path, other: Path) -> None:
    for name in ("weights.safetensors", "history.csv", "state/steps.csv"):
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name


# --- normalisation ---


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_measured_voxels_reach_from_0_to_1_and_come_back(seed):
    counts, mask = counts_and_mask(seed)
    scaled, scale = normalise(counts, mask)
    for patch, gap in zip(scaled, mask, strict=True):
        assert patch[~gap].min() == 0
        assert patch[~gap].max() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(denormalise(scaled, scale), counts, rtol=2e-5, atol=1e-5)


def test_gap_does_not_enter_the_range():
    counts, mask = counts_and_mask()
    other = np.where(mask, counts * 1000 + 7, counts)
    one, two = normalise(counts, mask), normalise(other, mask)
    np.testing.assert_array_equal(one[0][~mask], two[0][~mask])
    np.testing.assert_array_equal(one[1], two[1])


def test_uniform_and_unmeasured_patches_stay_finite():
    mask = np.zeros((2, 8, 8, 8), bool)
    mask[1] = True
    scaled, scale = normalise(np.full(mask.shape, 5.0), mask)
    assert np.isfinite(scaled).all()
    np.testing.assert_allclose(denormalise(scaled, scale), 5, rtol=1e-5)
    assert (denormalise(np.full(mask.shape, -9, np.float32), scale) == 0)[0].all()


def test_network_values_hold_zero_or_the_interpolation_in_the_gap():
    counts, mask = counts_and_mask()
    scaled, _ = normalise(counts, mask)
    zero, prior = (network_values(scaled, mask, prior=wanted) for wanted in (False, True))
    assert not zero[mask].any()
    np.testing.assert_array_equal(prior, interpolate_batch(scaled, mask, "linear"))
    for values in (zero, prior):
        np.testing.assert_array_equal(values[~mask], scaled[~mask])


# --- samples ---


@pytest.mark.parametrize("turn", range(16))
@pytest.mark.parametrize("cross", [False, True])
def test_turned_sample_is_the_sample_of_the_turned_patch(turn, cross):
    counts, mask = counts_and_mask(batch=1, size=8, width=2)
    if cross:
        mask[:, :, 3:5] = True

    def turned(array):
        parts = augment(Sample(*[torch.from_numpy(array[0])] * 3), turn, swap=not cross)
        return parts.truth.numpy()[None]

    first = augment(Sample(*(part[0] for part in prepare(counts, mask, prior=True))), turn, swap=not cross)
    again = prepare(turned(counts).copy(), turned(mask).copy(), prior=True)
    for name in Sample._fields:
        np.testing.assert_allclose(getattr(first, name), getattr(again, name)[0], atol=1e-6)
    slabs = first.mask.all(0).all(0).sum(), first.mask.all(0).all(1).sum(), first.mask.all(1).all(1).sum()
    assert slabs == (2, 2 if cross else 0, 0)


def test_samples_from_disk_are_those_from_memory(manifest):
    patches = SampleDataset(manifest, "train")
    memory, disk = (Samples(patches, prior=True, seed=1, memory_limit=limit) for limit in (1 << 30, 0))
    order = np.arange(len(patches))[::-1]
    count = 0
    for one, two in zip(memory.batches(2, order, 16), disk.batches(2, order, 16), strict=True):
        assert one.truth.shape[1:] == (1, 16, 16, 16)
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
        count += len(one.truth)
    assert count == len(memory) == len(disk) == len(order)


def test_augmentation_depends_on_seed_epoch_and_sample_alone(manifest):
    patches = SampleDataset(manifest, "train")
    plain, one, two = (Samples(patches, prior=False, seed=seed) for seed in (None, 1, 2))
    assert torch.equal(plain[0, 5].truth, plain[9, 5].truth)
    assert torch.equal(one[4, 5].truth, one[4, 5].truth)
    assert any(not torch.equal(one[4, i].truth, two[4, i].truth) for i in range(8))
    assert any(not torch.equal(one[4, i].truth, one[5, i].truth) for i in range(8))
    assert list(plain.batches(0, [], 4)) == []


# --- checkpoints ---


def test_state_comes_back_whole_and_is_refused_by_another_run(tmp_path):
    path = tmp_path / "deep" / "state.safetensors"
    assert read_state(path, "run") is None
    tensors = {"a": torch.rand(3, 2, 2).permute(2, 1, 0), "b": torch.tensor([0.1], dtype=torch.float64)}
    progress = Progress(epoch=2, loss_total=0.1 + 0.2, learning_rate=1e-3).to_json()
    write_state(path, "run", progress, tensors)
    found = read_state(path, "run")
    assert found[0] == progress
    assert all(torch.equal(found[1][name], tensor) for name, tensor in tensors.items())
    assert "another recipe" in read_state(path, "other run")
    path.write_bytes(path.read_bytes()[:-5])
    assert "damaged" in read_state(path, "run")


def test_equal_weights_give_equal_bytes(tmp_path):
    weights = Weights(NETWORK, 16, build(NETWORK).state_dict())
    for name in "ab":
        write_weights(tmp_path / name, weights)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_weights(tmp_path / "a").network == NETWORK


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist"),
        (b"", "damaged"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00 no header here!", "damaged"),
        (b"\xff" * 64, "damaged"),
        ({"x": "y"}, "holds no inpainting weights"),
        ({"braggworks": "[]"}, "holds no inpainting weights"),
        ({"braggworks": json.dumps({"kind": "weights", "task": "phase"})}, "holds no inpainting weights"),
    ],
)
def test_foreign_weights_end_in_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "weights.safetensors"
    if isinstance(content, dict):
        save_file({"a": torch.zeros(2)}, path, content)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match=sentence):
        Inpainter.load(path)


def test_weights_of_another_size_end_in_a_sentence(tmp_path):
    path = tmp_path / "weights.safetensors"
    write_weights(path, Weights(NETWORK, 16, build(NetworkConfig(width=0.2)).state_dict()))
    with pytest.raises(FileError, match="do not fit"):
        Inpainter.load(path)


def test_full_disk_keeps_the_old_state(tmp_path, monkeypatch):
    path = tmp_path / "state.safetensors"
    write_state(path, "run", {}, {"a": torch.zeros(2)})

    def fail(self, data):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(FileError, match="full"):
        write_state(path, "run", {}, {"a": torch.ones(2)})
    assert not read_state(path, "run")[1]["a"].any()
    assert files_below(tmp_path) == {Path("state.safetensors")}


# --- the filler ---


def test_untrained_residual_network_fills_as_interpolation_does(tmp_path):
    write_weights(tmp_path / "w", Weights(NETWORK, 16, build(NETWORK).state_dict()))
    counts, mask = counts_and_mask(batch=5)
    hidden = np.where(mask, np.nan, counts).astype(np.float32)
    inpainter = Inpainter.load(tmp_path / "w")
    filled = inpainter.fill(hidden, mask, batch=2)
    assert inpainter.patch == 16
    assert filled.dtype == np.float32
    assert np.isnan(hidden[mask]).all()
    np.testing.assert_array_equal(filled[~mask], counts[~mask])
    expected = np.expm1(interpolate_batch(np.log1p(np.where(mask, 0, counts)), mask, "linear"))
    np.testing.assert_allclose(filled, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(inpainter.fill(hidden, mask), filled, rtol=1e-5, atol=1e-6)


def test_filler_never_gives_negative_counts_and_checks_its_input(unbroken):
    inpainter = Inpainter.load(unbroken / "weights.safetensors")
    counts, mask = counts_and_mask()
    with torch.no_grad():
        inpainter.network.head.bias.fill_(-5)
    assert (inpainter.fill(counts, mask)[mask] == 0).all()
    with pytest.raises(ValueError, match="16 voxels"):
        inpainter.fill(counts[:, :8], mask[:, :8])
    with pytest.raises(ScanError):
        inpainter.fill(counts, np.ones_like(mask))


# --- the loop ---


def test_run_writes_weights_history_and_card(unbroken, manifest):
    rows = (unbroken / "history.csv").read_text().splitlines()
    assert rows[0] == "epoch,step,train_loss,validation_loss,learning_rate"
    assert [int(row.split(",")[0]) for row in rows[1:]] == [1, 2, 3, 4]
    samples = len(SampleDataset(manifest, "train"))
    card = read_json(unbroken / "card.json")
    steps = -(-samples // 4) * 4
    assert int(rows[-1].split(",")[1]) == steps
    assert len((unbroken / "state" / "steps.csv").read_text().splitlines()) == steps + 1
    assert card["data"]["manifest_sha256"] == sha256_of(manifest)
    assert card["data"]["samples"]["train"] == samples
    assert card["parameters"] == build(NETWORK).parameter_count()
    assert card["losses"]["best_validation"] == min(float(row.split(",")[3]) for row in rows[1:])
    assert card["patches_per_second"] > 0
    assert "gaps of 3, 6 px" in card["limits"]
    assert read_weights(unbroken / "weights.safetensors").patch == 16


def test_training_lowers_the_loss():
    _, mask = counts_and_mask(batch=1)
    fringes = 1e3 * np.cos(np.pi * np.arange(16) / 4) ** 2
    counts = np.broadcast_to(fringes, mask.shape)
    batch = Sample(*(part[:, None].float() for part in prepare(counts, mask, prior=True)))
    config = recipe(loss={"ssim": 0}).training
    trainer = Trainer(build(config.network, config.seed), config, torch.device("cpu"))
    losses = [trainer.step(batch) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]


def test_run_that_is_killed_goes_on_as_if_nothing_had_happened(tmp_path, manifest, unbroken):
    command = arguments(tmp_path, manifest, recipe())
    code = "from braggworks.cli import main; raise SystemExit(main())"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", code, *command], stdout=log, stderr=log)
        state = tmp_path / "state" / "state.safetensors"
        while not state.exists() and process.poll() is None:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.1))  # noqa: S311
        process.kill()
        assert process.wait(timeout=60) == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert not (tmp_path / "weights.safetensors").exists()
    assert cli.main(command) == 0
    same_run(tmp_path, unbroken)
    # A killed write may leave its temporary file, never one under a final name.
    assert {p for p in files_below(tmp_path) if p.suffix != ".part"} == {
        *map(Path, OUTPUTS),
        Path("log"),
        Path("state/state.safetensors"),
        Path("state/steps.csv"),
    }


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_ends_the_step_and_saves(tmp_path, manifest, unbroken, monkeypatch, number, code):
    step = Trainer.step

    def interrupted(self, batch):
        if len(self.step_losses) == 7:
            os.kill(os.getpid(), number)
        return step(self, batch)

    command = arguments(tmp_path, manifest, recipe(checkpoint_seconds=1000))
    handler = signal.getsignal(number)
    monkeypatch.setattr(Trainer, "step", interrupted)
    assert cli.main(command) == code
    assert signal.getsignal(number) is handler
    monkeypatch.setattr(Trainer, "step", step)
    assert files_below(tmp_path) == {Path("state/state.safetensors")}
    assert cli.main(command) == 0
    same_run(tmp_path, unbroken)


@pytest.mark.parametrize("failing", [1, 7, 23])
def test_run_that_fails_at_a_step_goes_on_from_its_last_state(tmp_path, manifest, unbroken, monkeypatch, failing):
    step = Trainer.step

    def fail(self, batch):
        if len(self.step_losses) == failing:
            raise RuntimeError("power cut")
        return step(self, batch)

    command = arguments(tmp_path, manifest, recipe())
    monkeypatch.setattr(Trainer, "step", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        cli.main(command)
    monkeypatch.setattr(Trainer, "step", step)
    assert cli.main(command) == 0
    same_run(tmp_path, unbroken)


def test_run_in_pieces_is_the_unbroken_run(tmp_path, manifest, unbroken, capsys):
    command = arguments(tmp_path, manifest, recipe(checkpoint_seconds=1000))
    said = []
    while not (tmp_path / "weights.safetensors").exists():
        assert cli.main([*command, "--stop-after-steps", "5"]) == 0
        said.append(capsys.readouterr().out)
    assert "Stopped after 5 steps" in said[0]
    assert "Continuing after 5 steps" in said[1]
    same_run(tmp_path, unbroken)
    # Done, and called again: the same files, and no further step.
    (tmp_path / "weights.safetensors").unlink()
    assert cli.main(command) == 0
    same_run(tmp_path, unbroken)


def test_changed_recipe_or_data_means_a_new_run(tmp_path, manifest, unbroken, capsys):
    for changed in ({"seed": 4}, {"learning_rate": 1e-4}, {"epochs": 2}):
        command = arguments(tmp_path, manifest, recipe(**changed), "--stop-after-steps", "1")
        assert cli.main(command) == 0
    assert capsys.readouterr().out.count("starting from scratch") == 2
    other = tmp_path / "manifest.json"
    values = read_json(manifest)
    write_json(
        other,
        {
            **values,
            "shards": [
                {**entry, "file": os.path.relpath(manifest.parent / entry["file"], tmp_path)}
                for entry in values["shards"]
            ],
        },
    )
    assert cli.main(arguments(tmp_path, other, recipe(epochs=2), "--stop-after-steps", "1")) == 0
    assert "other data; starting from scratch" in capsys.readouterr().out
    assert cli.main(arguments(tmp_path, manifest, recipe())) == 0
    same_run(tmp_path, unbroken)


def test_learning_rate_falls_on_a_plateau_and_survives_a_stop(tmp_path, manifest):
    values = recipe(epochs=5, plateau_patience=0, learning_rate=0.05, plateau_factor=0.1)
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    assert cli.main(arguments(whole, manifest, values)) == 0
    while not (pieces / "weights.safetensors").exists():
        assert cli.main(arguments(pieces, manifest, values, "--stop-after-steps", "6")) == 0
    same_run(pieces, whole)
    rates = [float(row.split(",")[4]) for row in (whole / "history.csv").read_text().splitlines()[1:]]
    assert rates[0] == 0.05
    assert rates[-1] < 0.05


def test_warm_start_begins_with_the_parents_weights(tmp_path, manifest, unbroken, capsys):
    child = manifest.with_name("child.json")
    write_json(child, {**read_json(manifest), "release": "child", "warm_start": "tiny"})
    assert cli.main(arguments(tmp_path, child, recipe())) == 2
    assert "'tiny': give them with --warm-start" in capsys.readouterr().err
    parent = str(unbroken / "weights.safetensors")
    assert cli.main(arguments(tmp_path, child, recipe(epochs=1), "--warm-start", parent)) == 0
    start = read_json(tmp_path / "card.json")["losses"]["starting_validation"]
    assert start == read_json(unbroken / "card.json")["losses"]["best_validation"]
    wider = recipe(network=NETWORK.model_copy(update={"width": 0.2}))
    assert cli.main(arguments(tmp_path / "wider", child, wider, "--warm-start", parent)) == 2
    assert "training.network" in capsys.readouterr().err
    assert not (tmp_path / "wider").exists()


# --- bad input ---


def test_diverging_training_ends_in_a_sentence(tmp_path, manifest, capsys, monkeypatch):
    monkeypatch.setattr(Trainer, "_loss", lambda self, batch: torch.tensor(float("nan")))
    assert cli.main(arguments(tmp_path, manifest, recipe())) == 2
    assert "lower training.learning_rate" in capsys.readouterr().err
    assert files_below(tmp_path) == set()
    assert issubclass(DivergedError, Exception)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--manifest", "absent.json"], "absent.json does not exist"),
        (["--threads", "0"], "use 1 or more"),
        (["--recipe", "{}"], "--recipe"),
        (["--recipe", '{"version":1,"training":{"release":"tiny","epochs":0}}'], "training.epochs"),
    ],
)
def test_bad_arguments_end_in_a_sentence(tmp_path, manifest, capsys, change, sentence):
    assert cli.main([*arguments(tmp_path, manifest, recipe()), *change]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert files_below(tmp_path) == set()


def test_missing_split_or_odd_patches_end_in_a_sentence(tmp_path, manifest, capsys):
    values = read_json(manifest)
    alone = manifest.with_name("alone.json")
    write_json(alone, {**values, "fractions": {"validation": 0.0, "test": 0.0}})
    odd = manifest.with_name("odd.json")
    write_json(odd, {**values, "shape": [24, 24, 24]})
    other = manifest.with_name("other.json")
    write_json(other, {**values, "task": "phase"})
    for path, sentence in (
        (alone, "has no validation samples"),
        (odd, "multiple of 16"),
        (other, "holds samples of 3 dimensions for the task phase"),
    ):
        assert cli.main(arguments(tmp_path, path, recipe())) == 2
        assert sentence in capsys.readouterr().err
    assert files_below(tmp_path) == set()
