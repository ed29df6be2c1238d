"""Networks for reciprocal-space phases: their layers, samples, training, scores, and the objects that they start."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from phasing_inputs import diffract, faceted, pattern_of
from scipy.ndimage import gaussian_filter

from braggworks.cli import main
from braggworks.commands._phasing_sweep import State
from braggworks.config import NetworkConfig, PhaseLossConfig, PhasingConfig, PhasingSweep, TrainingConfig
from braggworks.errors import FileError, PhasingError
from braggworks.evaluation.phases import Patterns, isotropy, score_object, score_phase, score_phases, with_summary
from braggworks.evaluation.phasing_methods import GAIN, METHODS
from braggworks.networks import PHASE_NETWORKS, GapNetwork, PhaseNetwork, build
from braggworks.networks.rsp_unet_2d import RspUNet2D
from braggworks.phasing.alignment import likeness, twin
from braggworks.phasing.grids import oversampling
from braggworks.phasing.resampling import choose_network_grid
from braggworks.phasing.rsp import SHIPPED, Phaser, draw_rsp_start, filled, load_phaser, object_of, phase_of, support_of
from braggworks.phasing.schedule import Pattern
from braggworks.recipes import SweepRecipe
from braggworks.training.checkpoints import Weights, load_network, write_weights
from braggworks.training.loop import Trainer
from braggworks.training.normalisation import phase_values
from braggworks.training.objectives import phase_loss
from braggworks.training.phase_samples import PhaseSamples, without_symmetries
from braggworks.training.turns import turned, turned_back

NAMES = list(PHASE_NETWORKS)
WIDTHS = {"rsp_unet_2d": 0.1, "rsp_unet_3d": 0.05, "block_rsp_unet_3d": 0.1}
every_network = pytest.mark.parametrize("name", NAMES)


def small(name: str) -> PhaseNetwork:
    network = build(NetworkConfig(name=name, width=WIDTHS[name]))
    assert isinstance(network, PhaseNetwork)
    return network


def values_for(network: PhaseNetwork, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, 1, *[network.multiple] * network.ndim, generator=generator)


class Split:
    """A split of patterns in memory, as the reader of a dataset offers one."""

    def __init__(self, number: int = 4, size: int = 32) -> None:
        objects = [faceted(size, seed=k, phase_range=3.0) for k in range(number)]
        self.counts = np.stack([np.rint(1e4 * diffract(each)).astype(np.uint32) for each in objects])
        self.phases = np.stack([phase_of(each) for each in objects])
        self.shape, self.size = self.counts.shape[1:], size

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, sample: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self.counts[sample].astype(np.float32)), torch.from_numpy(self.phases[sample])

    def load_all(self) -> tuple[np.ndarray, np.ndarray]:
        return self.counts, self.phases


# --- layers ---


@every_network
def test_phases_have_the_shape_of_the_pattern(name: str) -> None:
    network = small(name)
    values = values_for(network)
    phases = network(values)
    assert phases.shape == values.shape
    assert torch.isfinite(phases).all()
    assert not isinstance(network, GapNetwork)


@every_network
def test_gradients_reach_every_parameter_and_are_finite_in_bfloat16(name: str) -> None:
    network = small(name)
    with torch.autocast("cpu", torch.bfloat16):
        phases = network(values_for(network))
    (1 - phases.float().cos()).mean().backward()
    gradients = {key: parameter.grad for key, parameter in network.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    assert [key for key, gradient in gradients.items() if not torch.isfinite(gradient).all()] == []


def test_the_block_network_has_a_gradient_where_its_wave_vanishes() -> None:
    network = small("block_rsp_unet_3d")
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.zero_()
    network(values_for(network)).sin().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.head.parameters())


def test_the_larger_network_in_two_dimensions_has_as_many_parameters_as_published() -> None:
    assert round(RspUNet2D().parameter_count() / 1e6, 1) == 27.5


def test_the_shipped_kind_fits_into_16_mb() -> None:
    assert 4 * build(NetworkConfig(name="block_rsp_unet_3d")).parameter_count() < 16e6


# --- samples ---


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("size", [8, 9])
def test_every_turn_has_an_inverse_and_keeps_the_peak(ndim: int, size: int) -> None:
    x = torch.arange(float(size**ndim)).reshape([size] * ndim)
    seen = set()
    for turn in range({2: 8, 3: 48}[ndim]):
        y = turned(x, turn)
        torch.testing.assert_close(turned_back(y, turn), x)
        assert y[(size // 2,) * ndim] == x[(size // 2,) * ndim]
        seen.add(tuple(y.flatten().tolist()))
    assert len(seen) == {2: 8, 3: 48}[ndim]


@pytest.mark.parametrize("turn", [1, 6, 13, 47])
def test_a_turned_phase_is_that_of_the_turned_object(turn: int) -> None:
    found = faceted(16, phase_range=3.0)
    real, imaginary = (turned(torch.from_numpy(part.copy()), turn).numpy() for part in (found.real, found.imag))
    difference = phase_of(real + 1j * imaginary) - turned(torch.from_numpy(phase_of(found)), turn).numpy()
    bright = diffract(real + 1j * imaginary) > 1e-6
    assert np.abs(np.angle(np.exp(1j * difference)))[bright].max() < 1e-3


def test_samples_are_the_same_from_memory_and_from_disk() -> None:
    split = Split()
    first, second = (PhaseSamples(split, PhaseLossConfig(), seed=1, in_memory=m, readers=0) for m in (True, False))
    for a, b in zip(first[2, 3], second[2, 3], strict=True):
        torch.testing.assert_close(a, b)
    assert any(not torch.equal(first[0, 3].counts, first[epoch, 3].counts) for epoch in range(1, 4))
    assert float(first[0, 0].values.max()) == 1


def test_a_label_without_symmetries_is_as_good_as_the_label() -> None:
    split = Split(1)
    counts, truth = split[0]
    fixed = without_symmetries(truth)
    conjugated = without_symmetries(2.0 - truth)
    assert abs(float(fixed[16, 16, 16])) < 1e-6
    for other in (fixed, conjugated):
        assert score_phase(other.numpy(), truth.numpy(), counts.numpy()) < 1e-5
    assert score_phase(fixed.numpy(), conjugated.numpy(), np.ones_like(truth)) < 1e-4


# --- training ---


@pytest.mark.parametrize(
    "loss",
    [
        PhaseLossConfig(),
        PhaseLossConfig(weighting="log_intensity"),
        PhaseLossConfig(kind="object"),
        PhaseLossConfig(kind="object", twins=False),
        PhaseLossConfig(kind="unwrapped", weighting="uniform", remove_symmetries=True),
    ],
    ids=lambda loss: f"{loss.kind}-{loss.weighting}-{loss.twins}",
)
def test_training_lowers_the_loss(loss: PhaseLossConfig) -> None:
    split = Split(2)
    config = TrainingConfig(
        release="tiny",
        network=NetworkConfig(name="block_rsp_unet_3d", width=0.1),
        phase_loss=loss,
        epochs=25,
        batch_size=2,
        learning_rate=3e-3,
        augment=False,
    )
    trainer = Trainer(build(config.network, 0), config, torch.device("cpu"))
    samples = PhaseSamples(split, loss, seed=None)
    assert trainer.fit(samples, samples, save=lambda: None)
    assert trainer.progress.starting_loss is not None
    assert trainer.progress.best_loss is not None
    assert trainer.progress.best_loss < 0.9 * trainer.progress.starting_loss


def test_losses_are_chosen_by_name() -> None:
    split = Split(1)
    counts, truth = (part[None, None] for part in split[0])
    for kind in ("wca", "object", "unwrapped"):
        # The twin, turned by a constant.
        value = phase_loss(1.0 - truth, truth, counts, PhaseLossConfig(kind=kind))
        assert float(value) == pytest.approx(0, abs=1e-4)
    plain = PhaseLossConfig(kind="object", twins=False)
    assert float(phase_loss(1.0 - truth, truth, counts, plain)) > 0.5


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"network": {"name": "rsp_unet_3d"}}, "phase_loss goes together with a network with rsp"),
        ({"phase_loss": {}}, "phase_loss goes together with a network with rsp"),
        ({"network": {"name": "rsp_unet_3d"}, "phase_loss": {}, "loss": {"error": "mae"}}, "loss is that of networks"),
        ({"network": {"name": "rsp_unet_3d", "mask_input": True}, "phase_loss": {}}, "no options of rsp_unet_3d"),
    ],
)
def test_settings_of_another_task_are_refused(changes: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TrainingConfig.model_validate({"release": "tiny", **changes})


def test_weights_of_another_task_are_refused(tmp_path: Path) -> None:
    config = NetworkConfig(name="block_rsp_unet_3d", width=0.1)
    write_weights(tmp_path / "w", Weights(config, 32, None, build(config).state_dict()))
    assert load_phaser(tmp_path / "w").shape == (32, 32, 32)
    with pytest.raises(FileError, match="holds weights for the task phase, and the task inpaint is wanted"):
        load_network(tmp_path / "w", GapNetwork)


# --- scores ---


def test_an_object_is_as_good_as_its_twin_elsewhere() -> None:
    truth = faceted(24, phase_range=3.0)
    for found in (truth, twin(truth), np.roll(truth, (2, -1, 3), (0, 1, 2)) * np.exp(1j)):
        score = score_object(found, truth)
        assert score.accuracy == pytest.approx(100, abs=0.1)
        assert score.likeness == pytest.approx(1, abs=1e-3)
    rng = np.random.default_rng(0)
    wrong = score_object(truth * np.exp(2j * np.pi * rng.random(truth.shape)), truth)
    assert wrong.likeness < 0.3
    assert wrong.accuracy < 60


def test_isotropy_tells_spheres_from_planes() -> None:
    radius = np.sqrt(sum((np.arange(24) - 12).reshape(shape) ** 2 for shape in ((-1, 1, 1), (1, -1, 1), (1, 1, -1))))
    counts = np.ones((24, 24, 24))
    assert isotropy(0.3 * radius.round(), counts) == pytest.approx(1)
    assert isotropy(np.broadcast_to(1.5 * np.arange(24), counts.shape), counts) < 0.2


def test_methods_are_scored_side_by_side() -> None:
    split = Split(3)
    values = {"campaign": np.array(["c"] * 3), "particle": np.arange(3), "phase_range": np.full(3, 3.0)}
    truths = iter(split.phases)
    methods = {"truth": lambda counts: next(truths)[None], "flat": lambda counts: np.zeros(counts.shape, np.float32)}
    data = with_summary(score_phases(Patterns(split.counts, split.phases, values), methods), seed=0)
    assert data["wca"].sel({"method": "truth"}).values == pytest.approx(0, abs=1e-5)
    assert float(data["accuracy_mean"].sel({"method": "truth"})) == pytest.approx(100, abs=0.1)
    assert float(data["wca_mean"].sel({"method": "flat"})) > 0.3
    assert data.attrs["particles"] == 3


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
    grid = choose_network_grid(diffract(truth), oversampling(diffract(truth)), 32)
    small_pattern = grid.to_network(diffract(truth))
    assert small_pattern.shape == (32, 32, 32)
    centre = [float((small_pattern.sum(axis=tuple({0, 1, 2} - {a})) * np.arange(32)).sum()) for a in range(3)]
    assert np.array(centre) / small_pattern.sum() == pytest.approx(16, abs=0.3)
    assert all(2.3 < ratio < 4.0 for ratio in oversampling(small_pattern))
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
    phaser._network.phase[3, 3, 3] = torch.nan
    with pytest.raises(PhasingError, match="no number"):
        draw_rsp_start(pattern, phaser, grid, 0, 0.3)


def test_masked_voxels_are_interpolated_for_the_network_alone() -> None:
    mask = np.zeros((32, 32, 32), bool)
    mask[..., 20:22] = True
    pattern = pattern_of(faceted(32), mask=mask)
    seen = filled(pattern)
    assert (seen[..., 20:22] > 0).any()
    np.testing.assert_array_equal(seen[~mask], pattern.counts[~mask])


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


def test_bfloat16_gradients_are_those_of_float32() -> None:
    gradients = []
    for reduced in (False, True):
        network = build(NetworkConfig(name="block_rsp_unet_3d", width=0.1))
        # Memory that holds something else than zeros.
        junk = [torch.full((size,), torch.nan, dtype=torch.bfloat16) for size in range(1000, 200_000, 9000)]
        del junk
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            phases = network(values_for(network))
        (1 - phases.float().cos()).mean().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert torch.dot(*gradients) > 0.95 * gradients[0].norm() * gradients[1].norm()


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
        gain = data["accuracy"].sel({"method": GAIN[0]}) - data["accuracy"].sel({"method": GAIN[1]})
        assert float(gain.mean()) == pytest.approx(np.average(data["gain"].values, weights=[2, 1]))
        assert data["gain_low"][0] <= data["gain"][0] <= data["gain_high"][0]
        ranges = data["range_mean"].values
        assert ranges[0] < ranges[1]
    assert main(["figure", "sweep-phasing-few", "--input", f"{folder}/few.nc", "--output", f"{folder}/few.png"]) == 0


def test_a_stopped_comparison_goes_on(comparison: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, command = comparison
    state = json.loads((folder / "state.json").read_text())
    first = (folder / "few.nc").read_bytes()
    (folder / "state.json").write_text(json.dumps(state | {"scores": state["scores"][:2]}))
    assert main(command) == 0
    assert "Continuing after 2 patterns." in capsys.readouterr().out
    with xr.open_dataset(folder / "few.nc", engine="h5netcdf") as data:
        again = data.load()
    (folder / "first.nc").write_bytes(first)
    with xr.open_dataset(folder / "first.nc", engine="h5netcdf") as data:
        np.testing.assert_allclose(again["accuracy"], data["accuracy"])
    assert State(str(folder / "state.json"), state["identity"]).scores
    assert not State(str(folder / "state.json"), "another sweep").scores


def test_the_shipped_network_is_better_than_no_phase() -> None:
    phaser = load_phaser(SHIPPED)
    assert phaser.shape == (64, 64, 64)
    truth = faceted(64, phase_range=4.0)
    counts = np.random.default_rng(0).poisson(diffract(truth) * 1e4 / diffract(truth).max())
    losses = [score_phase(phase, phase_of(truth), counts) for phase in (phaser.phases(counts[None])[0], 0 * counts)]
    assert losses[0] < 0.8 * losses[1]
