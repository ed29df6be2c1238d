"""Phasing from a network's object: the way to its grid and back, starts, and the comparison with iterative phasing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from phasing_inputs import diffract, faceted, pattern_of, scan_of
from scipy.ndimage import gaussian_filter

from braggworks.cli import main
from braggworks.commands._phasing_sweep import State
from braggworks.config import NetworkConfig, PhasingConfig, PhasingSweep
from braggworks.errors import PhasingError
from braggworks.evaluation.phases import score_phase
from braggworks.evaluation.phasing_methods import GAINS, METHODS
from braggworks.networks import PhaseNetwork, build
from braggworks.phasing.alignment import likeness
from braggworks.phasing.grids import oversampling
from braggworks.phasing.objects import object_of, phase_of
from braggworks.phasing.resampling import choose_network_grid
from braggworks.phasing.rsp import SHIPPED, Phaser, draw_rsp_start, filled, load_phaser, support_of
from braggworks.phasing.schedule import Pattern
from braggworks.recipes import SweepRecipe
from braggworks.scans.writers import write_scan
from braggworks.training.checkpoints import Weights, write_weights
from braggworks.training.normalisation import phase_values
from braggworks.training.turns import turned

# --- from a pattern to the network's grid, and back ---


def smooth_object(shape: tuple[int, ...], ratios: tuple[float, ...]) -> np.ndarray:
    """Return an object of given oversampling, whose diffraction is not centred."""
    grids = [(np.arange(n) - n // 2).reshape([-1 if a == k else 1 for k in range(3)]) for a, n in enumerate(shape)]
    scaled = [grid / (n / ratio / 2) for grid, n, ratio in zip(grids, shape, ratios, strict=True)]
    inside = sum(each**4 for each in scaled) < 0.8
    phase = 2 * np.sin(2 * scaled[0]) + np.cos(2 * scaled[1] + scaled[2]) + 0.15 * grids[2]
    return gaussian_filter(inside.astype(float), 1.0) * np.exp(1j * phase)


def test_the_way_to_the_networks_grid_and_back_loses_little() -> None:
    shape, ratios = (60, 48, 80), (4.0, 3.0, 5.0)
    truth = smooth_object(shape, ratios)
    grid = choose_network_grid(diffract(truth), oversampling(diffract(truth)).likely, 32)
    small_pattern = grid.to_network(diffract(truth))
    assert small_pattern.shape == (32, 32, 32)
    centre = [float((small_pattern.sum(axis=tuple({0, 1, 2} - {a})) * np.arange(32)).sum()) for a in range(3)]
    assert np.array(centre) / small_pattern.sum() == pytest.approx(16, abs=0.3)
    assert all(2.3 < ratio < 5.0 for ratio in oversampling(small_pattern).likely)
    # The true phase on the network's grid is that of the object, cut from the same part of real and reciprocal space.
    moved = truth * grid._ramp(shape, -1)
    cut = moved[tuple(slice(n // 2 - k // 2, n // 2 - k // 2 + k) for n, k in zip(shape, grid.samples, strict=True))]
    wave = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(cut)))
    middle = tuple(slice(k // 2 - 16, k // 2 + 16) for k in grid.samples)
    back = grid.to_pattern(object_of(small_pattern, np.angle(wave[middle])))
    assert back.shape == shape
    assert likeness(back, truth) > 0.995


class Oracle(PhaseNetwork):
    """Knows the phase of one pattern, seen from any side, by comparing what it sees."""

    def __init__(self, counts: np.ndarray, phase: np.ndarray) -> None:
        super().__init__()
        self.known = phase_values(torch.from_numpy(counts.astype(np.float32)))
        self.phase = torch.from_numpy(phase)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        errors = [float((turned(self.known, turn) - values[0, 0]).abs().max()) for turn in range(48)]
        return turned(self.phase, int(np.argmin(errors)))[None, None]


def oracle_for(pattern: Pattern, truth: np.ndarray) -> tuple[Phaser, object]:
    grid = choose_network_grid(filled(pattern), (2.75,) * 3, 32)
    counts = grid.to_network(filled(pattern))
    return Phaser(Oracle(counts, phase_of(truth * grid._ramp(truth.shape, -1))), 32), grid


@pytest.mark.parametrize("view", [0, 5, 29, 47])
def test_a_start_is_the_networks_object_from_any_view(view: int) -> None:
    truth = faceted(32, phase_range=2.0)
    pattern = pattern_of(truth)
    phaser, grid = oracle_for(pattern, truth)
    start = draw_rsp_start(pattern, phaser, grid, view, 0.3)
    assert likeness(start.found, truth) > 0.97
    assert np.mean(start.support == (truth != 0)) > 0.97


def test_a_network_without_a_number_is_refused() -> None:
    truth = faceted(32)
    pattern = pattern_of(truth)
    phaser, grid = oracle_for(pattern, truth)
    phaser.network.phase[3, 3, 3] = torch.nan
    with pytest.raises(PhasingError, match="no number"):
        draw_rsp_start(pattern, phaser, grid, 0, 0.3)


def test_voxels_masked_or_kept_out_are_interpolated_for_the_network_alone() -> None:
    mask = np.zeros((32, 32, 32), bool)
    mask[..., 20:22] = True
    pattern = pattern_of(faceted(32), mask=mask)
    seen = filled(pattern)
    assert (seen[..., 20:22] > 0).any()
    known = ~(mask | pattern.free)
    np.testing.assert_array_equal(seen[known], pattern.counts[known])


def test_the_support_is_one_filled_body() -> None:
    found = np.zeros((24, 24, 24), complex)
    found[8:16, 8:16, 8:16] = 1
    found[11:13, 11:13, 11:13] = 0
    found[1:3, 1:3, 1:3] = 0.9
    support = support_of(found)
    assert support[12, 12, 12]
    assert not support[2, 2, 2]


@pytest.mark.parametrize(
    ("changes", "told"), [({"starts": 49}, "48 views"), ({"er": 0}, "er is 0"), ({"starts": 2}, "best 3 is more")]
)
def test_what_rsp_er_cannot_do_is_refused(changes: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        PhasingConfig(method="rsp+er", **changes)


def test_phase_refuses_a_network_without_a_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = NetworkConfig(name="block_rsp_unet_3d", width=0.1)
    tensors = {name: torch.full_like(values, torch.nan) for name, values in build(config).state_dict().items()}
    write_weights(tmp_path / "w", Weights(config, 64, None, tensors))
    write_scan(tmp_path / "scan.cxi", scan_of(faceted(48)))
    command = ["phase", f"{tmp_path}/scan.cxi", "--method", "rsp+er", "--weights", f"{tmp_path}/w"]
    assert main([*command, "--out", f"{tmp_path}/object.cxi"]) == 2
    assert "The network's phase is no number at some voxels" in capsys.readouterr().err
    assert not (tmp_path / "object.cxi").exists()


# --- against iterative phasing ---


CAMPAIGN = """
family: shape3d
seed: 1
count: 3
batch_size: 3
task: phase
body: {shapes: [random], phases: [gaussians], phase_range: [0.0, 6.0]}
sampling: {grid: 64, oversampling: [2.0, 3.0], patterns_per_particle: 1}
detector: {total_counts: [1.0e7, 1.0e7]}
patches: {size: 64, per_pattern: 1}
"""


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("comparison")
    (folder / "few.yaml").write_text(CAMPAIGN)
    assert main(["simulate", "--campaign", str(folder / "few.yaml"), "--batch", "0", "--output", f"{folder}/s.h5"]) == 0
    config = NetworkConfig(name="block_rsp_unet_3d", width=0.1)
    write_weights(folder / "w", Weights(config, 64, None, build(config).state_dict()))
    phasing = PhasingConfig(starts=2, best=1, hio=30, raar=40, er=20, coherence=False, support_period=20)
    sweep = PhasingSweep(kind="phasing", campaign="few", groups=2, phasing=phasing)
    recipe = SweepRecipe(version=1, sweep=sweep, scan=None).to_json()
    files = ["--weights", f"{folder}/w", "--output", f"{folder}/few.nc", "--state", f"{folder}/state.json"]
    command = ["sweep", f"{folder}/s.h5", "--recipe", recipe, *files]
    assert main(command) == 0
    return folder, command


def test_methods_are_compared_and_drawn(comparison: tuple[Path, list[str]]) -> None:
    folder, _ = comparison
    with xr.open_dataset(folder / "few.nc", engine="h5netcdf") as data:
        assert data["accuracy"].shape == (3, len(METHODS))
        found, untrained = (data["likeness"].sel({"method": each}).values for each in (METHODS[-1], METHODS[0]))
        assert (found > untrained).all()
        for name, pair in GAINS.items():
            better, worse = (data["accuracy"].sel({"method": each}) for each in pair)
            gain = float((better - worse).mean())
            assert gain == pytest.approx(np.average(data[name].values, weights=[2, 1]))
        best = [each for each in METHODS if each.startswith("network +") and each.endswith("best view")]
        by_er, by_hio, by_either = data["accuracy"].sel({"method": best}).values.T
        assert ((by_either == by_er) | (by_either == by_hio)).all()
        started, refined = (data["accuracy"].sel({"method": each}) for each in METHODS[-2:])
        assert (abs(started - refined) > 0.01).any()
        assert (data["seconds"].sel({"method": METHODS[-1]}) > data["seconds"].sel({"method": METHODS[-2]})).all()
        assert data["gain_low"][0] <= data["gain"][0] <= data["gain_high"][0]
        ranges = data["range_mean"].values
        assert ranges[0] < ranges[1]
        # Wilson's interval of one of one and of none of one, at z = 1.96.
        best = data.isel(group=1, method=-1)
        assert float(best["success"]) in {0.0, 1.0}
        missing = float(best["success_high"] - best["success_low"])
        assert missing == pytest.approx(1.96**2 / (1 + 1.96**2), abs=1e-4)
    assert main(["figure", "sweep-phasing-few", "--input", f"{folder}/few.nc", "--output", f"{folder}/few.png"]) == 0


def test_a_stopped_comparison_goes_on(comparison: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, command = comparison
    state = json.loads((folder / "state.json").read_text())
    first = (folder / "few.nc").read_bytes()
    shorter = {part: kept | {"scores": kept["scores"][:2]} for part, kept in state.items()}
    (folder / "state.json").write_text(json.dumps(shorter))
    assert main(command) == 0
    assert "Continuing after 2 patterns (network)." in capsys.readouterr().out
    with xr.open_dataset(folder / "few.nc", engine="h5netcdf") as data:
        again = data.load()
    (folder / "first.nc").write_bytes(first)
    with xr.open_dataset(folder / "first.nc", engine="h5netcdf") as data:
        np.testing.assert_allclose(again["accuracy"], data["accuracy"])
    names = {part: kept["identity"] for part, kept in state.items()}
    assert "weights" not in names["iterative"]
    assert METHODS[-1] in names["iterative"]
    other = State(str(folder / "state.json"), names | {"network": "other weights"})
    assert not other.scores["network"]
    assert other.scores["iterative"]


def test_parts_are_done_apart(comparison: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, command = comparison
    apart = [each.replace("state.json", "apart.json").replace("few.nc", "apart.nc") for each in command]
    assert main([*apart, "--part", "iterative"]) == 0
    assert "run again with the other --part" in capsys.readouterr().out
    assert not (folder / "apart.nc").exists()
    assert main([*apart, "--part", "network"]) == 0
    assert (folder / "apart.nc").exists()
    assert main([*command[:-2], "--part", "network"]) != 0
    assert "--part needs --state" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert main([*command, "--device", "cuda"]) != 0
        assert "torch sees no GPU" in capsys.readouterr().err


def test_the_shipped_network_is_better_than_no_phase() -> None:
    phaser = load_phaser(SHIPPED)
    assert phaser.shape == (64, 64, 64)
    truth = faceted(64, phase_range=4.0)
    counts = np.random.default_rng(0).poisson(diffract(truth) * 1e4 / diffract(truth).max())
    losses = [score_phase(phase, phase_of(truth), counts) for phase in (phaser.phases(counts[None])[0], 0 * counts)]
    assert losses[0] < 0.8 * losses[1]
