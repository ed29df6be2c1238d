"""Training on patterns that are simulated meanwhile: they are those of their campaigns, and new in every epoch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from braggworks.cli import main
from braggworks.config import Release, SplitConfig, TrainingConfig
from braggworks.datasets.manifests import Manifest, read_manifest
from braggworks.diffraction.simulation import simulate
from braggworks.errors import ConfigError
from braggworks.files import read_json
from braggworks.recipes import ManifestRecipe, SimulateRecipe, TrainRecipe
from braggworks.seeds import identity_digest
from braggworks.training.normalisation import phase_values
from braggworks.training.phase_samples import PhaseSample
from braggworks.training.simulated_samples import SimulatedSamples
from braggworks.versions import STAGE_VERSIONS

CAMPAIGN = """
family: shape3d
seed: 5
count: 6
batch_size: 6
task: phase
body: {shapes: [cube, random], phases: [gaussians, random_field], phase_range: [1.0, 6.0]}
sampling: {grid: 64, oversampling: [2.0, 2.4], patterns_per_particle: 1}
detector: {total_counts: [1.0e6, 1.0e7]DETECTOR}
patches: {size: SIZE, per_pattern: 1}
"""


def release(folder: Path, size: int = 64, detector: str = "") -> Manifest:
    """Make a release of one campaign."""
    (folder / "few.yaml").write_text(CAMPAIGN.replace("SIZE", str(size)).replace("DETECTOR", detector))
    assert main(["simulate", "--campaign", f"{folder}/few.yaml", "--batch", "0", "--output", f"{folder}/s.h5"]) == 0
    splits = SplitConfig(validation=0.3, test=0.1, seed=1)
    what = Release(name="few", campaigns=["few"])
    recipe = ManifestRecipe(version=STAGE_VERSIONS["manifest"], release=what, splits=splits).to_json()
    output = ["--sidecars", f"{folder}/s.json", "--output", f"{folder}/m.json"]
    assert main(["manifest", "--recipe", recipe, *output]) == 0
    return read_manifest(folder / "m.json")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return release(tmp_path_factory.mktemp("few"))


def samples(manifest: Manifest, number: int = 4, seed: int = 1) -> SimulatedSamples:
    return SimulatedSamples(manifest, number, seed=seed, device=torch.device("cpu"), readers=0)


def batches(found: SimulatedSamples, epoch: int, size: int) -> PhaseSample:
    """Return an epoch, read in batches of a size, in one piece."""
    cut = lambda order: [order[first : first + size] for first in range(0, len(order), size)]  # noqa: E731
    parts = zip(*found.batches(epoch, np.arange(len(found)), cut), strict=True)
    return PhaseSample(*map(torch.cat, parts))


def test_samples_are_the_campaign_with_another_seed(few: Manifest) -> None:
    found = batches(samples(few), 3, 2)
    assert found.truth.shape == found.counts.shape == (4, 1, 64, 64, 64)
    recipe = SimulateRecipe.model_validate(few.campaigns[0].provenance[-1]["recipe"])
    seed = identity_digest("simulated samples", 1, recipe.seed, 3) % 2**31
    expected = simulate(recipe.model_copy(update={"seed": seed}), range(4))
    for row, each in enumerate(expected):
        counts, exposure = found.counts[row, 0].numpy(), each.exposures[0]
        difference = np.angle(np.exp(1j * (found.truth[row, 0].numpy() - exposure.rsp)))
        assert np.average(np.abs(difference), weights=np.sqrt(exposure.intensity)) < 1e-2
        photons = counts.sum(dtype=float)
        assert 0.99e6 < photons < 1.01e7
        # Poisson noise: the variance is the mean.
        mean = exposure.intensity * (photons / exposure.intensity.sum(dtype=float))
        bright = mean > 5
        assert np.mean((counts - mean)[bright] ** 2 / mean[bright]) == pytest.approx(1, abs=0.1)
        assert torch.equal(found.values[row, 0], phase_values(found.counts[row, 0]))


def test_epochs_and_seeds_differ_and_cuts_into_batches_do_not(few: Manifest) -> None:
    found = [batches(samples(few), 0, 4), batches(samples(few), 0, 3), batches(samples(few), 1, 4)]
    found.append(batches(samples(few, seed=2), 0, 4))
    assert torch.equal(found[0].counts, found[1].counts)
    assert not torch.equal(found[0].counts, found[2].counts)
    assert not torch.equal(found[0].counts, found[3].counts)
    assert len({float(each.sum()) for each in found[0].counts}) == 4


def test_a_stopped_training_goes_on_with_the_same_samples(few: Manifest) -> None:
    folder = few.folder
    training = TrainingConfig.model_validate(
        {
            "release": "few",
            "network": {"name": "block_rsp_unet_3d", "width": 0.1},
            "phase_loss": {},
            "simulate": 3,
            "epochs": 2,
            "batch_size": 2,
        }
    )
    recipe = TrainRecipe(version=STAGE_VERSIONS["train"], training=training).to_json()

    def train(name: str, *more: str) -> None:
        files = [f"--{each}={folder}/{name}.{each}" for each in ("state", "weights", "history", "card")]
        command = ["train", "--recipe", recipe, f"--manifest={folder}/m.json", *files, "--threads=1", "--readers=1"]
        assert main([*command, "--device=cpu", *more]) == 0

    train("whole")
    train("parts", "--stop-after-steps=3")
    train("parts")
    assert (folder / "whole.weights").read_bytes() == (folder / "parts.weights").read_bytes()
    card = read_json(folder / "whole.card")
    assert card["data"]["samples"] == {"train": 3, "validation": few.splits["validation"].samples}
    assert card["data"]["simulated"]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"size": 32}, "few is none: leave it out, or set patches.size to sampling.grid"),
        ({"detector": ", dead_fraction: 0.01"}, "detectors without bad pixels only"),
    ],
)
def test_campaigns_that_it_cannot_simulate_are_refused(tmp_path: Path, how: dict, told: str) -> None:
    manifest = release(tmp_path, **how)
    with pytest.raises(ConfigError, match=told):
        samples(manifest)


@pytest.mark.parametrize(
    "changes",
    [
        {"network": {"name": "plane_network"}, "slabs": {}},
        {"network": {"name": "rsp_unet_3d"}, "phase_loss": {"kind": "unwrapped"}},
        {"network": {"name": "rsp_unet_3d"}, "phase_loss": {"remove_symmetries": True}},
        {"network": {"name": "rsp_patches_3d"}, "phase_loss": {}},
    ],
)
def test_trainings_that_need_more_than_whole_patterns_are_refused(changes: dict) -> None:
    with pytest.raises(ValidationError, match="simulate needs a network for whole phases"):
        TrainingConfig.model_validate({"release": "few", "simulate": 8, **changes})
    assert "simulate" not in json.loads(TrainingConfig(release="few").model_dump_json())
