"""Train the inpainting network on a release's dataset.

Saves its state as it goes: interrupted at any moment and called again, it continues, and on a CPU ends with the very
same losses. A state that belongs to another recipe or other data is not used. Writes the weights of the epoch with
the lowest validation loss, the losses by epoch, and a card that says how the weights were made.

example:
    braggworks train --recipe train.json --manifest manifest.json --state state/demo --weights weights.safetensors
        --history history.csv --card card.json --threads 2
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braggworks.commands._recipes import add_recipe_arguments, read_recipe
from braggworks.config import TrainingConfig
from braggworks.errors import ConfigError
from braggworks.recipes import TrainRecipe

if TYPE_CHECKING:
    import torch

    from braggworks.datasets.reader import SampleDataset
    from braggworks.networks import Network
    from braggworks.training.loop import Trainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_recipe_arguments(parser, campaign=False)
    parser.add_argument("--manifest", required=True, metavar="JSON", help="the release's dataset")
    parser.add_argument("--state", required=True, metavar="FOLDER", help="folder for the state that resumes")
    parser.add_argument("--weights", required=True, metavar="SAFETENSORS", help="weights to write")
    parser.add_argument("--history", required=True, metavar="CSV", help="losses by epoch to write")
    parser.add_argument("--card", required=True, metavar="JSON", help="description of the weights to write")
    parser.add_argument("--warm-start", metavar="SAFETENSORS", help="weights to start from")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="processor threads")
    parser.add_argument("--stop-after-steps", type=int, metavar="N", help="save the state and stop after N steps")


def run(args: argparse.Namespace) -> int:
    """Train, or continue, and write weights, history and card."""
    recipe = read_recipe(args, TrainRecipe)
    if args.threads < 1:
        raise ConfigError(f"--threads is {args.threads}: use 1 or more.")

    from tqdm import tqdm

    from braggworks.datasets.reader import SampleDataset
    from braggworks.training.checkpoints import write_state
    from braggworks.training.loop import Trainer
    from braggworks.training.samples import Samples

    device = _prepare_torch(args.threads)
    config = recipe.training
    splits = {name: SampleDataset(args.manifest, name) for name in ("train", "validation")}
    network = _network(config, splits["train"], args.warm_start)
    _check_samples(args.manifest, splits)
    trainer = Trainer(network, config, device)
    state, identity = Path(args.state) / "state.safetensors", _identity(recipe, args)
    _resume(trainer, state, identity)

    seeds = {"train": config.seed if config.augment else None, "validation": None}
    train, validation = (Samples(split, prior=network.uses_prior, seed=seeds[name]) for name, split in splits.items())
    done = trainer.progress.epoch * len(train) + trainer.progress.position
    interval = 0.1 if sys.stderr.isatty() else 5
    with (
        _catch_signals() as caught,
        tqdm(total=config.epochs * len(train), initial=done, desc="train", unit="patch", mininterval=interval) as bar,
    ):
        last = len(trainer.step_losses) + (args.stop_after_steps or sys.maxsize)

        def report(samples: int, loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.4f}", epoch=trainer.progress.epoch + 1, refresh=False)
            bar.update(samples)

        finished = trainer.fit(
            train,
            validation,
            save=lambda: write_state(state, identity, trainer.progress.to_json(), trainer.tensors()),
            stopping=lambda: bool(caught) or len(trainer.step_losses) >= last,
            report=report,
        )
    if finished:
        _write_results(args, recipe, trainer, splits, device)
        return 0
    print(f"Stopped after {len(trainer.step_losses)} steps; run the same command again to go on.")
    if signal.SIGINT in caught:
        raise KeyboardInterrupt
    return 128 + signal.SIGTERM if caught else 0


def _prepare_torch(threads: int) -> torch.device:
    """Choose the device, and let equal steps give equal results on a CPU."""
    import torch

    torch.set_num_threads(threads)
    # Some operations have no reproducible version on a GPU: there, torch only warns.
    torch.set_deterministic_debug_mode("warn" if torch.cuda.is_available() else "error")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _network(config: TrainingConfig, patches: SampleDataset, warm_start: str | None) -> Network:
    """Build the network, with fresh weights or those to start from."""
    from braggworks.networks import build
    from braggworks.training.checkpoints import load_network

    if patches.task != "inpaint" or len(patches.shape) != 3:
        raise ConfigError(
            f"Release {patches.manifest.release!r} holds samples of {len(patches.shape)} dimensions for the task "
            f"{patches.task}, and {config.network.name} inpaints three: name another release in training.release."
        )
    network = build(config.network, config.seed)
    if patches.size % network.multiple:
        raise ConfigError(
            f"The dataset's patches have {patches.size} px and {config.network.name} needs a multiple of "
            f"{network.multiple}: set patches.size of the campaigns to 32."
        )
    parent = patches.manifest.warm_start
    if parent and not warm_start:
        raise ConfigError(
            f"Release {patches.manifest.release!r} starts from the weights of release {parent!r}: "
            "give them with --warm-start."
        )
    if warm_start:
        network, weights = load_network(warm_start)
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
    from braggworks.training.loop import Progress

    found = read_state(state, identity)
    if isinstance(found, str):
        print(f"{found.rstrip('.')}; starting from scratch.")
    elif found:
        trainer.restore(Progress.from_json(found[0]), found[1])
        print(f"Continuing after {len(trainer.step_losses)} steps.")


@contextmanager
def _catch_signals() -> Iterator[list[int]]:
    """Yield a list that receives SIGTERM and SIGINT, so that the running step can end."""
    caught: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, frame: caught.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _write_results(
    args: argparse.Namespace,
    recipe: TrainRecipe,
    trainer: Trainer,
    splits: dict[str, SampleDataset],
    device: torch.device,
) -> None:
    from braggworks.files import write_json, write_text
    from braggworks.training.checkpoints import Weights, write_weights
    from braggworks.training.loop import EpochRecord

    patch = splits["train"].size
    write_weights(args.weights, Weights(recipe.training.network, patch, trainer.best))
    epochs = [astuple(record) for record in trainer.progress.epochs]
    write_text(args.history, _table(list(EpochRecord.__dataclass_fields__), epochs))
    steps = [(number, loss) for number, loss in enumerate(trainer.step_losses, 1)]
    write_text(Path(args.state) / "steps.csv", _table(["step", "loss"], steps))
    card = _card(args, recipe, trainer, splits, device)
    write_json(args.card, card)
    losses = card["losses"]
    print(
        f"{args.weights}: validation loss {losses['best_validation']:.4f} after epoch {losses['best_epoch']}, "
        f"{losses['starting_validation']:.4f} at the start; {card['seconds']:.0f} s, "
        f"{card['patches_per_second']:.0f} patches/s"
    )


def _table(columns: list[str], rows: list[tuple[Any, ...]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([columns, *rows])
    return stream.getvalue()


def _card(
    args: argparse.Namespace,
    recipe: TrainRecipe,
    trainer: Trainer,
    splits: dict[str, SampleDataset],
    device: torch.device,
) -> dict[str, Any]:
    import torch

    from braggworks.files import sha256_of
    from braggworks.records import machine_description

    progress, config, train = trainer.progress, recipe.training, splits["train"]
    last = progress.epochs[-1]
    return {
        "task": "inpaint",
        "network": config.network.model_dump(mode="json"),
        "parameters": trainer.network.parameter_count(),
        "patch_px": train.size,
        "data": {
            "release": train.manifest.release,
            "manifest_sha256": sha256_of(args.manifest),
            "samples": {name: len(split) for name, split in splits.items()},
        },
        "seed": config.seed,
        "recipe": recipe.model_dump(mode="json"),
        "command": shlex.join(["braggworks", *sys.argv[1:]]),
        "warm_start": train.manifest.warm_start,
        "hardware": {
            "machine": machine_description(),
            "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            "threads": args.threads,
        },
        "torch": torch.__version__,
        "seconds": progress.seconds,
        "patches_per_second": len(train) * progress.epoch / progress.seconds,
        "losses": {
            "starting_validation": progress.starting_loss,
            "best_validation": progress.best_loss,
            "best_epoch": progress.best_epoch,
            "final": asdict(last),
        },
        "limits": _limits(train),
    }


def _limits(train: SampleDataset) -> str:
    from braggworks.datasets.gaps import GAP_SHAPES

    widths = ", ".join(str(width) for width in sorted(set(train.gap_widths.tolist()) - {0}))
    shapes = " and ".join(GAP_SHAPES[shape] for shape in sorted(set(train.gap_shapes.tolist())))
    ratios = train.metadata["oversampling"]
    # Scans have no known ratio.
    measured, ratios = bool((ratios == 0).any()), ratios[ratios > 0]
    span = f" at oversampling ratios of {ratios.min():.1f} to {ratios.max():.1f}," if len(ratios) else ""
    source = "measured" if not len(ratios) else "simulated and measured" if measured else "simulated"
    return (
        f"Trained on {source} patches of {train.size} px with {shapes} gaps of {widths} px,{span} "
        "with Poisson noise only; it predicts smooth counts, not their noise, and anything else is untested."
    )
