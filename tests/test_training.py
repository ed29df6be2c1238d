"""Runs of training that are killed, told to stop or changed, and go on as if nothing had happened."""

import os
import platform
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from releases import files_below, make_release
from training_inputs import NETWORK, OUTPUTS, arguments, counts_and_mask, recipe, same_run

from braggworks import cli
from braggworks.datasets.reader import SampleDataset
from braggworks.files import read_json, sha256_of, write_json
from braggworks.networks import build
from braggworks.recipes import TrainRecipe, parse_recipe
from braggworks.training.checkpoints import read_weights
from braggworks.training.loop import DivergedError, Trainer
from braggworks.training.samples import Sample, prepare

STATE = {Path("state") / name for name in ("state.safetensors", "history.csv", "steps.csv")}


NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch sees")


def steps(folder: Path) -> list[float]:
    return [float(line.split(",")[1]) for line in (folder / "state" / "steps.csv").read_text().splitlines()[1:]]


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
        *STATE,
    }


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)])
def test_signal_ends_the_step_and_saves(tmp_path, manifest, unbroken, monkeypatch, capsys, number, code):
    step = Trainer.step

    def interrupted(self, batch, *more):
        if len(self.step_losses) == 7:
            os.kill(os.getpid(), number)
        return step(self, batch, *more)

    command = arguments(tmp_path, manifest, recipe(checkpoint_seconds=1000))
    handler = signal.getsignal(number)
    monkeypatch.setattr(Trainer, "step", interrupted)
    assert cli.main(command) == code
    assert signal.getsignal(number) is handler
    monkeypatch.setattr(Trainer, "step", step)
    assert files_below(tmp_path) == STATE
    assert "stopped after 8 steps with the state saved" in capsys.readouterr().err or number == signal.SIGINT
    assert cli.main(command) == 0
    same_run(tmp_path, unbroken)


def test_signal_in_the_validation_saves_and_the_validation_is_done_again(tmp_path, manifest, unbroken, monkeypatch):
    loss = Trainer._loss
    steps = int((unbroken / "history.csv").read_text().splitlines()[1].split(",")[1])

    def interrupted(self, batch):
        if not self.network.training and len(self.step_losses) in (0, steps):
            os.kill(os.getpid(), signal.SIGUSR1)
        return loss(self, batch)

    command = arguments(tmp_path, manifest, recipe(checkpoint_seconds=1000))
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_loss", interrupted)
        assert cli.main(command) == 138
        assert not (tmp_path / "state" / "steps.csv").read_text().splitlines()[1:]
        patch.setattr(Trainer, "_loss", loss)
        assert cli.main([*command, f"--stop-after-steps={steps}"]) == 0
        patch.setattr(Trainer, "_loss", interrupted)
        assert cli.main(command) == 138
    assert cli.main(command) == 0
    same_run(tmp_path, unbroken)


def test_losses_can_be_watched_while_training_runs(tmp_path, manifest, unbroken, monkeypatch):
    seen = []
    step = Trainer.step

    def watched(self, batch, *more):
        live = tmp_path / "state" / "history.csv"
        seen.append(live.read_text() if live.exists() else "")
        return step(self, batch, *more)

    monkeypatch.setattr(Trainer, "step", watched)
    assert cli.main(arguments(tmp_path, manifest, recipe(checkpoint_seconds=1000))) == 0
    whole = (unbroken / "history.csv").read_text().splitlines()
    assert [text.splitlines() for text in dict.fromkeys(seen)] == [[], *(whole[:n] for n in range(2, len(whole)))]


@pytest.mark.parametrize("failing", [1, 7, 23])
def test_run_that_fails_at_a_step_goes_on_from_its_last_state(tmp_path, manifest, unbroken, monkeypatch, failing):
    step = Trainer.step

    def fail(self, batch, *more):
        if len(self.step_losses) == failing:
            raise RuntimeError("power cut")
        return step(self, batch, *more)

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


def test_a_cosine_rises_falls_to_nothing_and_survives_a_stop(tmp_path, manifest):
    values = recipe(epochs=4, schedule="cosine", learning_rate=0.01)
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    assert cli.main(arguments(whole, manifest, values)) == 0
    while not (pieces / "weights.safetensors").exists():
        assert cli.main(arguments(pieces, manifest, values, "--stop-after-steps", "5")) == 0
    same_run(pieces, whole)
    rates = [float(row.split(",")[4]) for row in (whole / "history.csv").read_text().splitlines()[1:]]
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.1 * rates[0] < 0.001


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


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.needs_gpu, NEEDS_GPU])])
def test_bfloat16_learns_on_any_device_and_validates_in_float32(tmp_path, manifest, unbroken, device, capsys):
    values = recipe(precision="bfloat16", epochs=1)
    assert cli.main(arguments(tmp_path, manifest, values, f"--device={device}")) == 0
    assert f"1 x {device}, bfloat16" in capsys.readouterr().out
    card, other = read_json(tmp_path / "card.json"), read_json(unbroken / "card.json")
    assert card["recipe"]["training"]["precision"] == "bfloat16"
    assert card["losses"]["starting_validation"] == pytest.approx(other["losses"]["starting_validation"], rel=1e-5)
    exact, rounded = (steps(folder)[: len(steps(tmp_path))] for folder in (unbroken, tmp_path))
    assert rounded == pytest.approx(exact, rel=0.05)
    assert rounded[1:] != exact[1:]
    assert {tensor.dtype for tensor in read_weights(tmp_path / "weights.safetensors").tensors.values()} == {
        torch.float32
    }


@pytest.mark.parametrize(("instructions", "told"), [("AVX2", True), ("AVX512", False)])
def test_a_processor_without_bfloat16_is_told(tmp_path, manifest, capsys, monkeypatch, instructions, told):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: instructions)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    values = recipe(precision="bfloat16", epochs=1)
    assert cli.main(arguments(tmp_path, manifest, values, "--device=cpu", "--stop-after-steps=1")) == 0
    assert ("set precision: float32" in capsys.readouterr().err) is told


@pytest.mark.needs_gpu
@NEEDS_GPU
def test_gpu_gives_the_losses_of_the_cpu(tmp_path, manifest, unbroken):
    assert cli.main(arguments(tmp_path, manifest, recipe(epochs=1), "--device=cuda")) == 0
    assert steps(tmp_path) == pytest.approx(steps(unbroken)[: len(steps(tmp_path))], rel=1e-3)


def test_memory_decides_on_speed_alone(tmp_path, manifest, unbroken, capsys):
    assert cli.main(arguments(tmp_path, manifest, recipe(), "--memory-mb=0", "--readers=1")) == 0
    assert "samples read while training" in capsys.readouterr().out
    same_run(tmp_path, unbroken)


def test_pieces_and_a_bounded_order_change_rounding_and_order_alone(tmp_path, manifest, unbroken):
    for changed in ({"micro_batch": 1}, {"micro_batch": 3}, {"shuffle_buffer": 8}):
        folder = tmp_path / next(iter(changed)) / str(*changed.values())
        assert cli.main(arguments(folder, manifest, recipe(**changed, epochs=1))) == 0
    one, three = (steps(tmp_path / "micro_batch" / size) for size in ("1", "3"))
    assert one == pytest.approx(steps(unbroken)[: len(one)], rel=1e-5)
    assert three == pytest.approx(one, rel=1e-5)
    assert steps(tmp_path / "shuffle_buffer" / "8") != pytest.approx(one, rel=1e-3)


@pytest.mark.slow
def test_signal_to_all_processes_of_a_job_saves_while_samples_are_read(tmp_path, manifest, unbroken):
    command = arguments(tmp_path, manifest, recipe(), "--memory-mb=0", "--readers=2")
    process = subprocess.Popen(
        [sys.executable, "-m", "braggworks", *command], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (tmp_path / "state" / "state.safetensors").exists() and process.poll() is None:
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 143, said
    assert "state saved" in said
    assert cli.main(command) == 0
    same_run(tmp_path, unbroken)


def test_where_and_how_fast_is_no_part_of_a_recipe():
    plain = recipe(checkpoint_seconds=30)
    changed = {"processes": 4, "threads": 3, "device": "cpu", "memory_mb": 1, "readers": 0, "restarts": 0}
    other = recipe(**changed, checkpoint_seconds=1)
    assert other.to_json() == plain.to_json()
    assert recipe(precision="bfloat16").to_json() != plain.to_json()
    options = ["--processes=4", "--device=cpu", "--memory-mb=1", "--readers=0", "--checkpoint-seconds=1.0"]
    assert other.training.options(5) == [*options, "--threads=5"]
    # A person may write them into a recipe's file, too.
    assert parse_recipe(TrainRecipe, '{"version":1,"training":{"release":"a","processes":2}}').training.processes == 2


# --- bad input ---


def test_diverging_training_ends_in_a_sentence(tmp_path, manifest, capsys, monkeypatch):
    monkeypatch.setattr(Trainer, "_loss", lambda self, batch: torch.tensor(float("nan"), requires_grad=True))
    assert cli.main(arguments(tmp_path, manifest, recipe())) == 2
    assert "lower the learning rate" in capsys.readouterr().err
    assert files_below(tmp_path) == set()
    assert issubclass(DivergedError, Exception)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--manifest", "absent.json"], "absent.json does not exist"),
        (["--threads", "0"], "braggworks train: threads: must be greater than or equal to 1, got 0"),
        (["--processes", "0"], "processes: must be greater than or equal to 1"),
        (["--device", "tpu"], "device: 'tpu' is none of 'auto', 'cpu', 'cuda'"),
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
