"""Recipes, command lines and small patches for the tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from braggworks.config import NetworkConfig, TrainingConfig
from braggworks.recipes import TrainRecipe

OUTPUTS = ("weights.safetensors", "history.csv", "card.json")
NETWORK = NetworkConfig(width=0.1, mask_input=True, residual=True)


def recipe(**changed) -> TrainRecipe:
    values = {"seed": 3, "network": NETWORK, "epochs": 4, "batch_size": 4, "learning_rate": 3e-3}
    values |= {"checkpoint_seconds": 0, **changed}
    return TrainRecipe(version=1, training=TrainingConfig(release="tiny", **values))


def arguments(folder: Path, manifest: Path, values: TrainRecipe, *more: str) -> list[str]:
    outputs = [part for name in OUTPUTS for part in (f"--{name.split('.')[0]}", str(folder / name))]
    text = ["train", "--recipe", values.to_json(), "--manifest", str(manifest), "--state", str(folder / "state")]
    every = f"--checkpoint-seconds={values.training.checkpoint_seconds}"
    return [*text, *outputs, "--threads=1", every, *more]


def counts_and_mask(seed=0, batch=3, size=16, width=4):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.lognormal(2, 2, (batch, size, size, size))).astype(np.float32)
    mask = np.zeros(counts.shape, bool)
    mask[..., (size - width) // 2 : (size - width) // 2 + width] = True
    return counts, mask


def same_run(folder: Path, other: Path) -> None:
    for name in ("weights.safetensors", "history.csv", "state/history.csv", "state/steps.csv"):
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name
