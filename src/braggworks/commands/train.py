"""Train the network on a release's dataset.

Saves its state as it goes: interrupted at any moment and called again, it continues, and on a CPU ends with the very
same losses. A state that belongs to another recipe or other data is not used. Writes the weights of the epoch with
the lowest validation loss, the losses by epoch, and a card that says how the weights were made.

example:
    braggworks train --recipe train.json --manifest manifest.json --state state/demo --weights weights.safetensors
        --history history.csv --card card.json --threads 2
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from braggworks.commands._recipes import add_recipe_arguments, read_recipe
from braggworks.config import TrainingConfig
from braggworks.errors import ConfigError
from braggworks.mistakes import mistake_sentence
from braggworks.recipes import TrainRecipe
from braggworks.training.processes import catch_signals, die_with_parent, run_processes
from braggworks.training.world import World, find_world, processor_threads

if TYPE_CHECKING:
    from braggworks.commands._training_results import Keeper
    from braggworks.datasets.reader import SampleDataset
    from braggworks.networks import Network
    from braggworks.training.loop import Trainer
    from braggworks.training.samples import Samples


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_recipe_arguments(parser, campaign=False)
    parser.add_argument("--manifest", required=True, metavar="JSON", help="the release's dataset")
    parser.add_argument("--state", required=True, metavar="FOLDER", help="folder for the state that resumes")
    parser.add_argument("--weights", required=True, metavar="SAFETENSORS", help="weights to write")
    parser.add_argument("--history", required=True, metavar="CSV", help="losses by epoch to write")
    parser.add_argument("--card", required=True, metavar="JSON", help="description of the weights to write")
    parser.add_argument("--warm-start", metavar="SAFETENSORS", help="weights to start from")
    parser.add_argument("--stop-after-steps", type=int, metavar="N", help="save the state and stop after N steps")
    where = parser.add_argument_group("where and how fast; no result depends on it, beyond rounding")
    where.add_argument("--processes", type=int, metavar="N", help="start N processes; under torchrun or srun, expect N")
    where.add_argument("--threads", type=int, metavar="N", help="processor threads of all processes of this machine")
    where.add_argument("--device", metavar="NAME", help="auto, cpu or cuda (auto)")
    where.add_argument("--memory-mb", type=int, metavar="MB", help="read larger datasets while training (1024)")
    where.add_argument("--readers", type=int, metavar="N", help="reading processes beside each, if so (2)")
    where.add_argument("--checkpoint-seconds", type=float, metavar="S", help="time between saved states (30)")


def run(args: argparse.Namespace) -> int:
    """Train, or continue, and write weights, history and card."""
    recipe = read_recipe(args, TrainRecipe)
    recipe = recipe.model_copy(update={"training": _execution(recipe.training, args)})
    asked = recipe.training.processes if "processes" in recipe.training.model_fields_set else None
    world = find_world(os.environ, asked)
    if world is None:
        options = {name: value for name, value in vars(args).items() if name != "run" and value is not None}
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        return run_processes([sys.executable, "-m", "braggworks", "train", *words], recipe.training.processes)
    return _train(args, recipe, world)


def _execution(config: TrainingConfig, args: argparse.Namespace) -> TrainingConfig:
    """Return the configuration with what the options say about where and how fast."""
    names = [name for name, field in TrainingConfig.model_fields.items() if field.exclude]
    given = {name: getattr(config, name) for name in config.model_fields_set}
    given |= {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}
    try:
        return TrainingConfig.model_validate(given)
    except ValidationError as error:
        raise ConfigError(mistake_sentence(error, "", TrainingConfig)) from None


def _train(args: argparse.Namespace, recipe: TrainRecipe, world: World) -> int:
    """Train as one of the processes."""
    die_with_parent()
    from braggworks.commands._training_results import Keeper, write_results
    from braggworks.datasets.reader import SampleDataset
    from braggworks.training.devices import choose_device, prepare_torch
    from braggworks.training.exchange import joined
    from braggworks.training.loop import Trainer

    config = recipe.training
    device = choose_device(config.device, world)
    asked = config.threads if "threads" in config.model_fields_set else None
    threads = processor_threads(asked, world, len(os.sched_getaffinity(0)), os.environ)
    prepare_torch(threads, device)
    splits = {name: SampleDataset(args.manifest, name) for name in ("train", "validation")}
    network = _network(config, splits["train"], args.warm_start)
    _check_samples(args.manifest, splits)
    with joined(world, device) as group:
        trainer = Trainer(network, config, device, group)
        identity = _identity(recipe, args)
        group.agree("recipe, data and device", f"{identity} {device.type}")
        folder = Path(args.state)
        _resume(trainer, folder / "state.safetensors", identity)
        group.agree("saved state", trainer.digest())
        keeper = Keeper(folder, identity, trainer)
        caught = _fit(trainer, splits, keeper, args.stop_after_steps, world)
        if caught is None:
            group.agree("trained weights", trainer.digest())
            if group.rank == 0:
                write_results(args, recipe, trainer, splits)
            return 0
        if group.rank == 0:
            keeper.show()
    return _stopped(trainer, caught)


def _fit(
    trainer: Trainer, splits: dict[str, SampleDataset], keeper: Keeper, steps: int | None, world: World
) -> list[int] | None:
    """Train; return None when all epochs are done, else the signals that came."""
    from tqdm import tqdm

    from braggworks.training.samples import memory_needed

    config, progress = trainer.config, trainer.progress
    prepared = config.slabs is None and config.phase_loss is None
    read = [split for name, split in splits.items() if name != "train" or not config.simulate]
    needed = sum(memory_needed(split, prepared=prepared) for split in read) * world.local_size
    in_memory = needed <= config.memory_mb << 20
    train, validation = (_samples(trainer, splits[name], name, in_memory) for name in ("train", "validation"))
    if trainer.group.rank == 0:
        where = "in memory" if in_memory else "read while training"
        print(
            f"Training on {trainer.group.size} x {trainer.device.type}, {config.precision}; samples {where} "
            f"({needed / 2**20:.0f} MB)",
            flush=True,
        )
        if config.precision == "bfloat16" and trainer.device.type == "cpu" and _emulates_bfloat16():
            print(
                "This processor has no bfloat16 and is many times slower in it: set precision: float32, or use a GPU.",
                file=sys.stderr,
                flush=True,
            )
    with (
        catch_signals() as caught,
        tqdm(
            total=config.epochs * len(train),
            initial=progress.epoch * len(train) + progress.position,
            desc="train",
            unit="patch",
            mininterval=0.1 if sys.stderr.isatty() else 5,
            disable=trainer.group.rank > 0,
        ) as bar,
    ):

        def report(samples: int, loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.4f}", epoch=progress.epoch + 1, refresh=False)
            bar.update(samples)

        finished = trainer.fit(
            train,
            validation,
            save=keeper.save,
            stopping=lambda: bool(caught),
            last_step=len(trainer.step_losses) + steps if steps else None,
            report=report,
        )
    return None if finished else caught


def _emulates_bfloat16() -> bool:
    import torch

    return torch.backends.cpu.get_cpu_capability() in {"DEFAULT", "AVX2"} and platform.machine() == "x86_64"


def _samples(trainer: Trainer, split: SampleDataset, name: str, in_memory: bool) -> Samples:
    """Return a split as training takes it; the validation is the same in every epoch."""
    from braggworks.networks import GapNetwork
    from braggworks.training.phase_patches import PhasePatches
    from braggworks.training.phase_samples import PhaseSamples
    from braggworks.training.samples import Samples
    from braggworks.training.slab_samples import SlabSamples

    config = trainer.config
    how: dict[str, Any] = {"in_memory": in_memory, "readers": config.readers, "pin": trainer.device.type == "cuda"}
    seed = config.seed if config.augment and name == "train" else None
    if config.simulate and name == "train":
        from braggworks.training.simulated_samples import SimulatedSamples

        how = {"seed": config.seed, "device": trainer.device, "readers": config.readers}
        return SimulatedSamples(split.manifest, config.simulate, **how)
    if config.phase_loss:
        kind = PhasePatches if config.network.name == "rsp_patches_3d" else PhaseSamples
        return kind(split, config.phase_loss, seed=seed, **how)
    if config.slabs:
        return SlabSamples(split, config.slabs, batch_size=config.batch_size, seed=config.seed, **how)
    network = trainer.network
    assert isinstance(network, GapNetwork)  # noqa: S101
    return Samples(split, prior=network.uses_prior, seed=seed, **how)


def _stopped(trainer: Trainer, caught: list[int]) -> int:
    """Say that training is to be continued, and return the exit code."""
    told = f"topped after {len(trainer.step_losses)} steps with the state saved; run the same command again to go on."
    first = trainer.group.rank == 0
    if not trainer.told_to_stop:
        if first:
            print(f"S{told}")
        return 0
    if signal.SIGINT in caught:
        raise KeyboardInterrupt
    if first:
        print(f"braggworks train: s{told}", file=sys.stderr)
    # Perhaps only another process received the signal.
    return 128 + (caught[0] if caught else signal.SIGTERM)


def _network(config: TrainingConfig, patches: SampleDataset, warm_start: str | None) -> Network:
    """Build the network, with fresh weights or those to start from."""
    from braggworks.networks import build
    from braggworks.training.checkpoints import load_network

    network = build(config.network, config.seed)
    if patches.task != network.task or len(patches.shape) != network.ndim:
        raise ConfigError(
            f"Release {patches.manifest.release!r} holds samples of {len(patches.shape)} dimensions for the task "
            f"{patches.task}, and {config.network.name} learns the task {network.task} in {network.ndim}: name another "
            "release in training.release, or another network."
        )
    if patches.size % network.multiple:
        raise ConfigError(
            f"The dataset's patches have {patches.size} px and {config.network.name} needs a multiple of "
            f"{network.multiple}: set patches.size of the campaigns to one, as 32 or 64."
        )
    parent = patches.manifest.warm_start
    if parent and not warm_start:
        raise ConfigError(
            f"Release {patches.manifest.release!r} starts from the weights of release {parent!r}: "
            "give them with --warm-start."
        )
    if warm_start:
        network, weights = load_network(warm_start, type(network))
        if weights.network != config.network:
            raise ConfigError(
                f"{warm_start} holds {weights.network.model_dump()}, and the recipe asks for "
                f"{config.network.model_dump()}: give both the same training.network."
            )
    return network


def _check_samples(manifest: str, splits: dict[str, SampleDataset]) -> None:
    for name, split in splits.items():
        if not len(split):
            raise ConfigError(
                f"{manifest} has no {name} samples: raise splits.validation or a campaign's count, "
                "and make the manifest again."
            )


def _identity(recipe: TrainRecipe, args: argparse.Namespace) -> str:
    """Name the run: what would make another one of it."""
    from braggworks.files import sha256_of

    start = sha256_of(args.warm_start) if args.warm_start else "fresh"
    return f"recipe {recipe.to_json()} manifest {sha256_of(args.manifest)} start {start}"


def _resume(trainer: Trainer, state: Path, identity: str) -> None:
    from braggworks.training.checkpoints import read_state
    from braggworks.training.progress import Progress

    found = read_state(state, identity)
    if isinstance(found, str):
        if trainer.group.rank == 0:
            print(f"{found.rstrip('.')}; starting from scratch.")
    elif found:
        trainer.restore(Progress.from_json(found[0]), found[1])
        if trainer.group.rank == 0:
            print(f"Continuing after {len(trainer.step_losses)} steps.")
