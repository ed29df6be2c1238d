"""Training in one and two CPU processes with the same global batch: rates, differences of the losses, and reading.

The samples are 32^3 patches of simulated particles on a grid, and the network and loss are the demo's. A rate counts
whole epochs, with validation and saving; the number before the x is of processes, the one after it of threads each.
Two processes are compared with one of as many threads, because threads change the order of sums, too. Differences are
the largest relative ones between the losses of the same step.
"""

from __future__ import annotations

import csv
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from braggworks import cli
from braggworks.config import load_config
from braggworks.files import read_json, sha256_of
from braggworks.recipes import ManifestRecipe, TrainRecipe
from braggworks.records import Record
from braggworks.versions import STAGE_VERSIONS

SEED = 0
PARTICLES, PATCHES = 8, 16
EPOCHS, BATCH = 2, 6
TOLERANCE = 1e-4


@dataclass(frozen=True)
class How:
    """One way to train."""

    processes: int = 1
    threads: int = 1  # of each
    changed: dict[str, int] = field(default_factory=dict)
    options: tuple[str, ...] = ()


# `pieces` fixes the pieces in which a batch is computed.
RUNS = {
    "1x1": How(),
    "1x2": How(1, 2),
    "2x1": How(2, 1),
    "1x1.pieces": How(changed={"micro_batch": BATCH // 2}),
    "2x1.pieces": How(2, 1, {"micro_batch": BATCH // 2}),
    "1x1.disk": How(options=("--memory-mb=0", "--readers=1")),
}


def measure() -> Iterator[Record]:
    """Yield rates, differences and shares of the time."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        manifest, training = _dataset(folder)
        found = {run: _train(folder / run, manifest, training, how) for run, how in RUNS.items()}
    losses = {run: steps for run, (_, steps) in found.items()}
    cards = {run: card for run, (card, _) in found.items()}
    samples = cards["1x1"]["data"]["samples"]["train"] * EPOCHS
    common = {"n": samples, "seed": SEED}
    for run in ("1x1", "1x2", "2x1", "2x1.pieces"):
        about = f"batch {BATCH}, width {cards[run]['network']['width']:g}, with validation"
        yield Record(
            f"train.rate.{run}", cards[run]["patches_per_second"], "samples per second", source=about, **common
        )
    for name, one, two, about in (
        ("ddp.loss_difference", "1x1.pieces", "2x1.pieces", f"two processes against one, micro_batch {BATCH // 2}"),
        ("ddp.loss_difference.rounding", "1x1", "2x1", "the same without micro_batch"),
        ("train.loss_difference.disk", "1x1", "1x1.disk", "samples read while training against samples in memory"),
    ):
        steps = len(losses[one])
        yield Record(
            name,
            max(abs(b / a - 1) for a, b in zip(losses[one], losses[two], strict=True)),
            "1",
            n=steps,
            seed=SEED,
            source=f"{about}; {steps} steps, tolerance {TOLERANCE:g}",
        )
    equal = cards["1x1.pieces"]["sha256"] == cards["2x1.pieces"]["sha256"]
    about = f"SHA-256 of the weights, two processes against one, micro_batch {BATCH // 2}"
    yield Record("ddp.weights_equal", float(equal), "1", seed=SEED, source=about)
    for suffix, run, about in (("", "1x1", "in memory"), (".disk", "1x1.disk", "read by one other process")):
        share = cards[run]["reading_seconds"] / cards[run]["seconds"]
        yield Record(f"train.reader_share{suffix}", share, "1", source=f"time spent waiting; {about}", **common)


def _dataset(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Make a release; return its manifest and the demo's training with this benchmark's length."""
    campaign = {"family": "shape3d", "seed": SEED, "count": PARTICLES, "batch_size": PARTICLES, "task": "inpaint"}
    campaign["patches"] = {"size": 32, "per_pattern": PATCHES}
    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump(campaign))
    shard, manifest = folder / "campaigns" / "bench" / "shards" / "0.h5", folder / "manifest.json"
    _verb("simulate", "--campaign", path, "--batch", 0, "--output", shard)
    release = {"name": "bench", "campaigns": ["bench"]}
    splits = {"validation": 0.2, "test": 0.0, "seed": SEED}
    recipe = ManifestRecipe.model_validate(
        {"version": STAGE_VERSIONS["manifest"], "release": release, "splits": splits}
    )
    _verb("manifest", "--recipe", recipe.to_json(), "--sidecars", shard.with_suffix(".json"), "--output", manifest)
    demo = load_config("config/demo.yaml").training
    assert demo is not None  # noqa: S101
    return manifest, {**demo.model_dump(), "release": "bench", "epochs": EPOCHS, "batch_size": BATCH, "seed": SEED}


def _verb(*words: object) -> None:
    if cli.main([str(word) for word in words]):
        raise SystemExit(f"braggworks {words[0]} failed")


def _train(folder: Path, manifest: Path, training: dict[str, Any], how: How) -> tuple[dict[str, Any], list[float]]:
    """Train in processes of their own; return the card, with the hash of the weights, and the loss of each step."""
    recipe = TrainRecipe.model_validate({"version": STAGE_VERSIONS["train"], "training": {**training, **how.changed}})
    files = {"weights": "w.safetensors", "history": "history.csv", "card": "card.json", "state": "state"}
    words = [f"--{name}={folder / file}" for name, file in files.items()]
    words += [f"--processes={how.processes}", f"--threads={how.processes * how.threads}", "--device=cpu", *how.options]
    command = [sys.executable, "-m", "braggworks", "train", f"--recipe={recipe.to_json()}", f"--manifest={manifest}"]
    subprocess.run([*command, *words], check=True, capture_output=True)
    with (folder / "state" / "steps.csv").open() as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream)]
    if not all(map(math.isfinite, losses)):
        raise RuntimeError(f"a loss of {how} is not finite")
    return {**read_json(folder / "card.json"), "sha256": sha256_of(folder / "w.safetensors")}, losses
