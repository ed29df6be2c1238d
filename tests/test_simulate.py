"""The verb `simulate`: from a campaign of bodies without atoms to a shard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not in this environment")
pytest.importorskip("hdf5plugin", reason="hdf5plugin is not in this environment")

import torch

from braggworks import cli
from braggworks.campaigns import FAMILIES
from braggworks.config import load_campaign
from braggworks.datasets.counts import Counts
from braggworks.datasets.samples import decode_phase
from braggworks.datasets.shards import read_sidecar
from braggworks.diffraction import simulation
from braggworks.diffraction.simulation import dimensions, pattern_steps, simulate
from braggworks.errors import ConfigError
from braggworks.recipes import SimulateRecipe, campaign_recipe

CAMPAIGNS = Path(__file__).parents[1] / "config" / "campaigns"
FULL_SIZE = {
    "polygon2d-inpaint": (12_000, 128, "inpaint"),
    "polygon2d-low-strain": (8_500, 64, "phase"),
    "polygon2d-high-strain": (30_000, 64, "phase"),
    "shape3d-train": (95_000, 64, "phase"),
    "shape3d-test": (4_000, 64, "phase"),
}
SMALL = ("small-polygon2d-inpaint", "small-polygon2d-phase", "small-shape3d")


def recipe(family: str = "shape3d", **changes: Any) -> SimulateRecipe:
    grid = 32
    values: dict[str, Any] = {
        "name": "test",
        "family": family,
        "count": 4,
        "batch_size": 4,
        "task": "phase",
        "sampling": {"grid": grid, "oversampling": [2.2, 3.0], "patterns_per_particle": 2},
        "patches": {"size": grid, "per_pattern": 1},
    }
    campaign = FAMILIES[family].model_validate(values | changes)
    return campaign_recipe("simulate", campaign)  # type: ignore[return-value, arg-type]


def run(tmp_path: Path, name: str, made: SimulateRecipe, *options: str, batch: int = 0, size: int = 3) -> Path:
    output = tmp_path / f"{name}.h5"
    arguments = ["--recipe", made.to_json(), "--batch", str(batch), "--batch-size", str(size)]
    assert cli.main(["simulate", *arguments, "--output", str(output), *options]) == 0
    return output


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert cli.main(["simulate", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    # A progress bar may stand before it.
    lines = error.splitlines()
    assert "Traceback" not in error and sum(line.startswith("braggworks simulate: ") for line in lines) == 1
    return lines[-1]


# --- what is drawn ---


def test_a_pattern_depends_on_its_identity_alone() -> None:
    made = recipe(body={"modulus_noise": [0.05, 0.05]})
    alone, among = simulate(made, [2])[0], simulate(made, range(4))[2]
    for first, second in zip(alone.exposures, among.exposures, strict=True):
        assert np.array_equal(first.intensity, second.intensity) and np.array_equal(first.rsp, second.rsp)
    other = simulate(recipe(seed=1, body={"modulus_noise": [0.05, 0.05]}), [2])[0]
    assert not np.allclose(alone.exposures[0].intensity, other.exposures[0].intensity)


@pytest.mark.parametrize("family", ["shape3d", "polygon2d"])
def test_patterns_computed_together_are_those_computed_one_by_one(family: str) -> None:
    made = recipe(family)
    one, many = simulate(made, range(4)), simulate(made, range(4), together=5)
    for first, second in zip(one, many, strict=True):
        assert first.index == second.index
        for a, b in zip(first.exposures, second.exposures, strict=True):
            assert np.abs(np.sqrt(a.intensity) - np.sqrt(b.intensity)).max() < 2e-5 * np.sqrt(a.intensity.max())


def test_patterns_of_a_particle_share_the_phase_range_and_differ_in_their_view() -> None:
    particle = simulate(recipe(sampling={"grid": 32, "patterns_per_particle": 3}), [1])[0]
    ranges = [exposure.phase_range for exposure in particle.exposures]
    assert ranges == pytest.approx([ranges[0]] * 3) and 6.28 < ranges[0] < 15.71
    first, second, _ = (exposure.intensity for exposure in particle.exposures)
    assert np.corrcoef(np.log1p(first).ravel(), np.log1p(second).ravel())[0, 1] < 0.95


def test_undersampled_views_are_counted_and_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = recipe()
    before = simulate(made, range(4))
    monkeypatch.setattr(simulation, "MIN_OVERSAMPLING", 2.6)
    after = simulate(made, range(4))
    together = simulate(made, range(4), together=8)
    assert sum(particle.rejected for particle in before) == 0 < sum(particle.rejected for particle in after)
    assert [particle.rejected for particle in after] == [particle.rejected for particle in together]
    for particle in after:
        assert all(exposure.oversampling.min() >= 2.6 for exposure in particle.exposures)
    for old, new in zip(before, after, strict=True):
        for a, b in zip(old.exposures, new.exposures, strict=True):
            assert (a.oversampling.min() >= 2.6) == np.array_equal(a.intensity, b.intensity)


def test_views_that_are_never_good_enough_end_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "MIN_OVERSAMPLING", 5.0)
    with pytest.raises(ConfigError, match=r"Particle 3 of campaign test: 100 views in a row .* sampling\.oversampling"):
        simulate(recipe(), [3])


# --- the shard ---


@pytest.mark.parametrize("family", ["shape3d", "polygon2d"])
def test_the_shard_holds_what_was_simulated(family: str, tmp_path: Path) -> None:
    made = recipe(family, detector={"total_counts": [1e6, 1e6]})
    shard = run(tmp_path, "shard", made, batch=1)
    expected = [exposure for particle in simulate(made, range(3, 6)) for exposure in particle.exposures]
    ndim = dimensions(made)
    with h5py.File(shard) as file:
        assert Counts(file).shape == (6, *(32,) * ndim)
        assert file["particle"][()].tolist() == [3, 3, 4, 4, 5, 5]
        for row, exposure in enumerate(expected):
            counts, mean = Counts(file)[row], exposure.intensity / exposure.intensity.sum() * 1e6
            # Poisson noise: squared deviations are the mean's, on average.
            bright = mean > 5
            assert ((counts - mean) ** 2 / mean)[bright].mean() == pytest.approx(1, abs=0.25)
            error = np.angle(np.exp(1j * (decode_phase(file["phase"][row]) - exposure.rsp)))
            assert np.abs(error).max() < 1e-4
            assert file["phase"][(row, *(16,) * ndim)] == 0
            assert file["oversampling"][row] == pytest.approx(exposure.oversampling)
            assert file["phase_range"][row] == pytest.approx(exposure.phase_range)
            assert file["gradient"][row] == pytest.approx(exposure.gradient)
    sidecar = read_sidecar(shard.with_suffix(".json"))
    assert (sidecar.family, sidecar.task, sidecar.batch, sidecar.particles) == (family, "phase", 1, (3, 4, 5))
    assert sidecar.provenance[0]["stage"] == "simulate" and "torch" in sidecar.provenance[0]["tools"]


def test_rejected_views_are_in_the_sidecar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "MIN_OVERSAMPLING", 2.6)
    made = recipe()
    rejected = sum(particle.rejected for particle in simulate(made, range(3)))
    assert read_sidecar(run(tmp_path, "shard", made).with_suffix(".json")).rejected == rejected > 0


def test_bytes_do_not_depend_on_threads_or_on_the_run(tmp_path: Path) -> None:
    made, before = recipe(body={"modulus_noise": [0.0, 0.1]}), torch.get_num_threads()
    first, again = (run(tmp_path, name, made, size=4).read_bytes() for name in ("first", "again"))
    threaded = run(tmp_path, "threaded", made, "--threads", "3", size=4).read_bytes()
    assert first == again == threaded
    assert torch.get_num_threads() == before


def test_an_error_in_a_thread_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hot = recipe("polygon2d", detector={"total_counts": [1e12, 1e12]})
    options = ["--recipe", hot.to_json(), "--batch", "0", "--batch-size", "4", "--threads", "2"]
    error = fails(capsys, *options, "--output", str(tmp_path / "hot.h5"))
    assert "detector.total_counts" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SMALL)
def test_small_campaigns_run(name: str, tmp_path: Path) -> None:
    output, campaign = tmp_path / "shard.h5", load_campaign(CAMPAIGNS / f"{name}.yaml")
    arguments = ["--campaign", str(CAMPAIGNS / f"{name}.yaml"), "--batch", "1", "--output", str(output)]
    assert cli.main(["simulate", *arguments, "--batch-size", "4"]) == 0
    with h5py.File(output) as file:
        assert len(Counts(file)) == 8
        assert (file["oversampling"][()] >= 2).all()
        assert ("mask" in file) == (campaign.task == "inpaint") and ("phase" in file) == (campaign.task == "phase")


@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_campaigns_have_the_published_numbers(name: str) -> None:
    campaign = load_campaign(CAMPAIGNS / f"{name}.yaml")
    patterns = campaign.count * campaign.sampling.patterns_per_particle
    assert (patterns, campaign.sampling.grid, campaign.task) == FULL_SIZE[name]
    assert campaign.patches.size == campaign.sampling.grid


# --- the steps of a pattern ---


def test_steps_are_those_of_the_pattern_in_the_shard(tmp_path: Path) -> None:
    name = str(CAMPAIGNS / "small-polygon2d-inpaint.yaml")
    made = campaign_recipe("simulate", load_campaign(name))
    assert isinstance(made, SimulateRecipe)
    path, shard = tmp_path / "steps.h5", tmp_path / "shard.h5"
    common = ["simulate", "--campaign", name, "--batch", "2", "--batch-size", "2"]
    assert cli.main([*common, "--steps", str(path), "--output", str(shard)]) == 0
    with h5py.File(path) as steps, h5py.File(shard) as samples:
        assert steps.attrs["kind"] == "steps" and steps.attrs["label"] == f"{made.campaign}, particle 4"
        for image, array in (("counts", Counts(samples)), ("mask", samples["mask"])):
            assert np.array_equal(steps[image][()], array[0])
        assert steps["mask"][()].any()
        assert steps.attrs["total_counts"] == samples["total_counts"][0]
        assert steps.attrs["oversampling"] == pytest.approx(samples["oversampling"][0])


def test_steps_lead_from_the_body_to_the_intensity() -> None:
    steps = pattern_steps(recipe("polygon2d", body={"modulus_noise": [0.1, 0.1], "edge_px": [1.0, 1.0]}), 1)
    assert set(np.unique(steps.body)) == {0.0, 1.0}
    assert ((steps.smoothed > 1e-3) & (steps.smoothed < 1 - 1e-3)).sum() > 50
    # Smoothing takes off corners, and nothing else.
    assert 0.8 * steps.body.sum() < steps.smoothed.sum() < 1.02 * steps.body.sum()
    deviation = (steps.modulus / steps.smoothed.clip(1e-9) - 1)[steps.smoothed > 0.9]
    assert deviation.std() == pytest.approx(0.1, rel=0.25)
    assert not steps.phase[steps.smoothed < 0.5].any()
    assert (steps.modulus**2).sum() * 32**2 == pytest.approx(steps.intensity.sum(), rel=1e-5)
    assert json.dumps(steps.total_counts)


def test_steps_of_a_3d_campaign_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--recipe", recipe().to_json(), "--batch", "0", "--batch-size", "1", "--steps", str(tmp_path / "x.h5")]
    assert "polygon2d" in fails(capsys, *options)


# --- mistakes ---


def test_mistakes_are_told_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, output = recipe().to_json(), ["--output", str(tmp_path / "x.h5")]
    assert "add --batch-size" in fails(capsys, "--recipe", text, "--batch", "0", *output)
    assert "count batches from 0" in fails(capsys, "--recipe", text, "--batch", "-1", "--batch-size", "1", *output)
    assert "Nothing to write" in fails(capsys, "--recipe", text, "--batch", "0", "--batch-size", "1")
    demo = str(CAMPAIGNS / "demo-free.yaml")
    assert "simulate is not among them" in fails(capsys, "--campaign", demo, "--batch", "0", *output)
    assert not list(tmp_path.iterdir())


def test_cuda_is_refused_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    output = ["--batch", "0", "--batch-size", "1", "--output", str(tmp_path / "x.h5")]
    assert "--device cpu" in fails(capsys, "--recipe", recipe(device="cuda").to_json(), *output)
    assert "--device cpu" in fails(capsys, "--recipe", recipe().to_json(), "--device", "cuda", *output)
    assert cli.main(["simulate", "--recipe", recipe(device="cuda").to_json(), "--device", "cpu", *output]) == 0
    assert read_sidecar(tmp_path / "x.json").recipe["device"] == "cpu"


@pytest.mark.needs_gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")
@pytest.mark.parametrize("family", ["shape3d", "polygon2d"])
def test_a_gpu_simulates_what_the_cpu_simulates(family: str, tmp_path: Path) -> None:
    made = recipe(family)
    for first, second in zip(simulate(made, range(4)), simulate(made, range(4), "cuda", 8), strict=True):
        for a, b in zip(first.exposures, second.exposures, strict=True):
            assert np.abs(np.sqrt(a.intensity) - np.sqrt(b.intensity)).max() < 2e-5 * np.sqrt(a.intensity.max())
            bright = a.intensity > 1e-9 * a.intensity.max()
            assert np.abs(np.angle(np.exp(1j * (a.rsp - b.rsp))))[bright].max() < 0.05
    assert read_sidecar(run(tmp_path, "cuda", made, "--device", "cuda").with_suffix(".json")).samples == 6


@pytest.mark.parametrize("family", ["shape3d", "polygon2d"])
def test_counts_and_phase_of_a_shard_give_the_object_and_not_its_twin(tmp_path: Path, family: str) -> None:
    made = recipe(family, detector={"total_counts": [1e9, 1e9]}, sampling={"grid": 32, "oversampling": [2.2, 3.0]})
    steps = pattern_steps(made, 0)
    with h5py.File(run(tmp_path, "signed", made, size=1)) as file:
        counts, phase = Counts(file)[0], decode_phase(file["phase"][0])
    F = np.sqrt(counts) * np.exp(1j * phase)
    found = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(F)))
    truth = (steps.smoothed >= 0.5) * steps.modulus * np.exp(1j * steps.phase)
    twin = np.conj(truth[(slice(None, None, -1),) * truth.ndim])
    scores = [
        float(np.abs(np.vdot(found, other))) / (np.linalg.norm(found[np.abs(other) > 0]) * np.linalg.norm(other))
        for other in (truth, np.conj(truth), twin)
    ]
    assert scores[0] > 0.99
    assert max(scores[1:]) < 0.95
