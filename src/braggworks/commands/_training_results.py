"""What training writes: losses while it runs; weights, losses and a card when it is done."""

from __future__ import annotations

import argparse
import csv
import io
import shlex
import sys
from collections.abc import Iterable
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import torch

from braggworks.config import TrainingConfig
from braggworks.datasets.gaps import GAP_SHAPES
from braggworks.datasets.reader import SampleDataset
from braggworks.files import sha256_of, write_json, write_text
from braggworks.recipes import TrainRecipe
from braggworks.records import machine_description
from braggworks.training.checkpoints import Weights, write_state, write_weights
from braggworks.training.loop import Trainer
from braggworks.training.progress import EpochRecord


class Keeper:
    """Keeps a run's state and its losses, in the run's folder; of several processes, only the first one writes.

    Parameters
    ----------
    folder
        Receives ``state.safetensors``; ``history.csv``, the losses by epoch; and ``steps.csv``.
    identity
        Names the run.
    trainer
        What is kept.
    """

    def __init__(self, folder: Path, identity: str, trainer: Trainer) -> None:
        self._folder, self._identity, self._trainer = folder, identity, trainer
        self._epochs_shown = -1

    def save(self) -> None:
        """Write the state, and the losses if an epoch has ended since."""
        trainer = self._trainer
        if trainer.group.rank:
            return
        write_state(self._folder / "state.safetensors", self._identity, trainer.progress.to_json(), trainer.tensors())
        if trainer.progress.epoch != self._epochs_shown:
            self.show()

    def show(self) -> None:
        """Write the losses, for someone who watches."""
        write_text(self._folder / "history.csv", history_table(self._trainer))
        steps = enumerate(self._trainer.step_losses, 1)
        write_text(self._folder / "steps.csv", _table(["step", "loss"], steps))
        self._epochs_shown = self._trainer.progress.epoch


def history_table(trainer: Trainer) -> str:
    """Return the losses by epoch, as CSV."""
    return _table(list(EpochRecord.__dataclass_fields__), (astuple(record) for record in trainer.progress.epochs))


def write_results(
    args: argparse.Namespace,
    recipe: TrainRecipe,
    trainer: Trainer,
    splits: dict[str, SampleDataset],
) -> None:
    """Write weights, history and card, and say how it went."""
    config, train = recipe.training, splits["train"]
    best = {name: tensor.to(trainer.network.stored) for name, tensor in trainer.best.items()}
    write_weights(args.weights, Weights(config.network, train.size, _widths(config, train), best))
    write_text(args.history, history_table(trainer))
    card = _card(args, recipe, trainer, splits)
    write_json(args.card, card)
    losses = card["losses"]
    print(
        f"{args.weights}: validation loss {losses['best_validation']:.4f} after epoch {losses['best_epoch']}, "
        f"{losses['starting_validation']:.4f} at the start; {card['seconds']:.0f} s, "
        f"{card['patches_per_second']:.0f} patches/s"
    )


def _table(columns: list[str], rows: Iterable[tuple[Any, ...]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue()


def _card(
    args: argparse.Namespace, recipe: TrainRecipe, trainer: Trainer, splits: dict[str, SampleDataset]
) -> dict[str, Any]:
    progress, config, train = trainer.progress, recipe.training, splits["train"]
    device, last = trainer.device, progress.epochs[-1]
    return {
        "task": config.network.task,
        "network": config.network.model_dump(mode="json"),
        "parameters": trainer.network.parameter_count(),
        "patch_px": train.size,
        "data": {
            "release": train.manifest.release,
            "manifest_sha256": sha256_of(args.manifest),
            "samples": {"train": _samples(config, train), "validation": len(splits["validation"])},
            "simulated": bool(config.simulate),
        },
        "seed": config.seed,
        "recipe": recipe.model_dump(mode="json"),
        "command": shlex.join(["braggworks", *sys.argv[1:]]),
        "warm_start": train.manifest.warm_start,
        "hardware": {
            "machine": machine_description(),
            "device": device.type,
            "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            "processes": trainer.group.size,
            "threads": torch.get_num_threads(),
        },
        "torch": torch.__version__,
        "seconds": progress.seconds,
        "reading_seconds": progress.reading_seconds,
        "patches_per_second": _samples(config, train) * progress.epoch / progress.seconds,
        "losses": {
            "starting_validation": progress.starting_loss,
            "best_validation": progress.best_loss,
            "best_epoch": progress.best_epoch,
            "final": asdict(last),
        },
        "limits": _limits(config, train),
    }


def _samples(config: TrainingConfig, train: SampleDataset) -> int:
    """Return the training samples of an epoch."""
    return config.simulate or len(train)


def _widths(config: TrainingConfig, train: SampleDataset) -> tuple[int, int] | None:
    """Return the narrowest and the widest gap of the training, in pixels; None for the task phase."""
    if config.phase_loss:
        return None
    if config.slabs:
        return config.slabs.widths_px
    widths = train.gap_widths[train.gap_widths > 0]
    return int(widths.min()), int(widths.max())


def _limits(config: TrainingConfig, train: SampleDataset) -> str:
    if config.phase_loss:
        ratios, ranges = (train.metadata[name] for name in ("oversampling", "phase_range"))
        return (
            f"Trained on simulated patterns of {train.size} px at oversampling ratios of {ratios.min():.1f} to "
            f"{ratios.max():.1f}, of centred objects whose phase spans {ranges.min():.1f} to {ranges.max():.1f} rad, "
            "with Poisson noise only; anything else is untested."
        )
    widths = ", ".join(str(width) for width in sorted(set(train.gap_widths.tolist()) - {0}))
    shapes = " and ".join(GAP_SHAPES[shape] for shape in sorted(set(train.gap_shapes.tolist())))
    if config.slabs:
        widths, shapes = "{} to {}".format(*config.slabs.widths_px), "slab"
    ratios = train.metadata["oversampling"]
    # Scans have no known ratio.
    measured, ratios = bool((ratios == 0).any()), ratios[ratios > 0]
    span = f" at oversampling ratios of {ratios.min():.1f} to {ratios.max():.1f}," if len(ratios) else ""
    source = "measured" if not len(ratios) else "simulated and measured" if measured else "simulated"
    return (
        f"Trained on {source} patches of {train.size} px with {shapes} gaps of {widths} px,{span} "
        "with Poisson noise only; it predicts smooth counts, not their noise, and anything else is untested."
    )
