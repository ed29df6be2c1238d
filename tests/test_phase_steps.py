"""Particles whose phase grows in steps: how they are simulated, scored and drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from braggworks.campaigns import PolyhedronConfig
from braggworks.cli import main
from braggworks.config import NetworkConfig, StepSweep
from braggworks.datasets.shards import ShardFiles, read_columns
from braggworks.networks import build
from braggworks.recipes import SweepRecipe
from braggworks.training.checkpoints import Weights, write_weights

CAMPAIGN = """
family: shape3d
seed: 1
count: 2
batch_size: 2
task: phase
body: {shapes: [random], phases: [gaussians], phase_range: [1.0, 4.0], phase_steps: true}
sampling: {grid: 64, oversampling: [2.0, 3.0], patterns_per_particle: 4}
detector: {total_counts: [1.0e7, 1.0e7]}
patches: {size: 64, per_pattern: 1}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("steps")
    (folder / "few.yaml").write_text(CAMPAIGN)
    command = ["simulate", "--campaign", str(folder / "few.yaml"), "--batch", "0", "--output", str(folder / "s.h5")]
    assert main(command) == 0
    return folder


def test_a_particle_keeps_its_view_while_its_phase_grows(folder: Path) -> None:
    columns = read_columns(str(folder / "s.h5"), "few")
    np.testing.assert_array_equal(columns["particle"], [0] * 4 + [1] * 4)
    np.testing.assert_allclose(columns["phase_range"].reshape(2, 4), [[1, 2, 3, 4]] * 2, rtol=1e-4)
    ratios = columns["oversampling"].reshape(2, 4, -1)
    np.testing.assert_array_equal(ratios, np.broadcast_to(ratios[:, :1], ratios.shape))
    assert (ratios[0, 0] != ratios[1, 0]).any()
    counts, _ = ShardFiles([folder / "s.h5"]).read(0, slice(0, 8), ("counts", "phase"))
    patterns = np.log1p(counts.astype(float)).reshape(8, -1)
    alike = np.corrcoef(patterns)
    # A step changes a pattern a little, another particle more.
    assert alike[0, 1] > alike[0, 3] > alike[0, 4]


def test_steps_are_scored_and_drawn(folder: Path) -> None:
    network = NetworkConfig(name="block_rsp_unet_3d", width=0.1)
    write_weights(folder / "w", Weights(network, 64, None, build(network).state_dict()))
    recipe = SweepRecipe(version=1, sweep=StepSweep(kind="steps", campaign="few"), scan=None).to_json()
    command = ["sweep", f"{folder}/s.h5", "--recipe", recipe, "--weights", f"{folder}/w"]
    assert main([*command, "--output", f"{folder}/few.nc"]) == 0
    with xr.open_dataset(folder / "few.nc", engine="h5netcdf") as data:
        assert data["accuracy"].shape == (2, 4)
        assert data["network"].shape == (4, 64, 64, 64)
        np.testing.assert_allclose(data["accuracy_mean"], data["accuracy"].mean("particle"))
        assert ((data["wca"] >= 0) & (data["wca"] <= 1)).all()
    assert main(["figure", "sweep-steps-few", "--input", f"{folder}/few.nc", "--output", f"{folder}/few.png"]) == 0


def test_a_campaign_without_the_option_has_the_recipe_that_it_had() -> None:
    assert "phase_steps" not in PolyhedronConfig().model_dump_json()
    assert "phase_steps" in PolyhedronConfig(phase_steps=True).model_dump_json()
