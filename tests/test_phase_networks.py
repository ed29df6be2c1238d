"""Networks for reciprocal-space phases: their layers, samples, training, scores, and the objects that they start."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from phasing_inputs import diffract, faceted

from braggworks.config import NetworkConfig, PhaseLossConfig, TrainingConfig
from braggworks.errors import FileError
from braggworks.evaluation.phases import Patterns, isotropy, score_object, score_phase, score_phases, with_summary
from braggworks.files import read_json
from braggworks.networks import GapNetwork, PhaseNetwork, build
from braggworks.networks.rsp_cascade_3d import RspCascade3D
from braggworks.networks.rsp_unet_2d import RspUNet2D
from braggworks.phasing.alignment import twin
from braggworks.phasing.objects import object_of, phase_of
from braggworks.phasing.rsp import SHIPPED, load_phaser
from braggworks.training.checkpoints import Weights, load_network, write_weights
from braggworks.training.loop import Trainer
from braggworks.training.objectives import phase_loss, staged_loss
from braggworks.training.phase_samples import PhaseSample, PhaseSamples, without_symmetries
from braggworks.training.turns import turned, turned_back

WIDTHS = {"rsp_unet_2d": 0.1, "rsp_unet_3d": 0.05, "block_rsp_unet_3d": 0.1, "rsp_cascade_3d": 0.1}
NAMES = list(WIDTHS)
every_network = pytest.mark.parametrize("name", NAMES)


def small(name: str) -> PhaseNetwork:
    network = build(NetworkConfig(name=name, width=WIDTHS[name]))
    assert isinstance(network, PhaseNetwork)
    return network


def phases_of(network: PhaseNetwork, batch: int = 2) -> torch.Tensor:
    values = values_for(network, batch)
    return network.phases_by_stage(values, (values * 9).expm1().round())


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
    phases = phases_of(network)
    assert phases.shape[1:] == values_for(network).shape
    assert torch.isfinite(phases).all()
    assert not isinstance(network, GapNetwork)


@every_network
def test_gradients_reach_every_parameter_and_are_finite_in_bfloat16(name: str) -> None:
    network = small(name)
    if isinstance(network, RspCascade3D):
        torch.nn.init.normal_(network.refine.head.weight, std=0.1)  # 0 at first, which lets no gradient through
        network.stages = 1
    with torch.autocast("cpu", torch.bfloat16):
        phases = phases_of(network)
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
    network = build(NetworkConfig(name="rsp_cascade_3d"))
    assert network.stored.itemsize * network.parameter_count() < 16e6
    assert SHIPPED.stat().st_size < 16e6
    card = read_json(SHIPPED.with_name("card.json"))
    shipped, weights = load_network(SHIPPED, PhaseNetwork)
    assert card["network"] == weights.network.model_dump(mode="json")
    assert card["parameters"] == shipped.parameter_count() == network.parameter_count()


def test_stages_without_their_network_are_error_reduction_in_a_box() -> None:
    network = small("rsp_cascade_3d").eval()
    assert isinstance(network, RspCascade3D)
    counts = torch.from_numpy(1e4 * diffract(faceted(64, phase_range=2.0))).float()[None, None]
    with torch.inference_mode():
        stages = network.phases_by_stage(counts.log1p(), counts)
    assert len(stages) == 1 + 2 * network.stages  # in use, twice as many as in training
    modulus = np.sqrt(counts[0, 0].numpy())
    inside = np.zeros(modulus.shape, bool)
    inside[12:52, 12:52, 12:52] = True
    for before, after in pairwise(stages[:4]):
        found = object_of(modulus**2, before[0, 0].numpy()) * inside
        expected = np.angle(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(found))))
        # Where the wave nearly vanishes, its modulus is not restored in full.
        wrong, moved = (np.abs(np.exp(1j * expected) - np.exp(1j * p[0, 0].numpy())) for p in (after, before))
        assert np.average(wrong, weights=modulus**2) < min(0.01, np.average(moved, weights=modulus**2) / 5)
    assert len(network.train().phases_by_stage(counts.log1p(), counts)) == 1 + network.stages


def test_later_stages_weigh_more() -> None:
    counts = torch.ones(2, 1, 4, 4, 4)
    truth = torch.rand(2, 1, 4, 4, 4) * 6
    batch = PhaseSample(counts, truth, counts)
    apart = torch.zeros_like(truth)
    losses = [staged_loss(torch.stack(each), batch, PhaseLossConfig()) for each in ([truth, apart], [apart, truth])]
    assert float(losses[0]) == pytest.approx(2 * float(losses[1]), abs=1e-3)


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


def test_labels_without_symmetries_have_one_sign_however_they_are_turned() -> None:
    split = Split()
    samples = PhaseSamples(split, PhaseLossConfig(remove_symmetries=True), seed=1, readers=0)
    turned = [samples[epoch, index].truth for epoch in range(16) for index in range(len(split))]
    assert all(float(truth[16, 16, 16]) == 0 for truth in turned)
    assert all(float(truth[16, 16, 18]) >= 0 for truth in turned)


# --- training ---


@pytest.mark.parametrize(
    "loss",
    [
        PhaseLossConfig(),
        PhaseLossConfig(weighting="log_intensity"),
        PhaseLossConfig(kind="object"),
        PhaseLossConfig(kind="object", twins=False),
        PhaseLossConfig(kind="moduli_and_phases"),
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
    published = PhaseLossConfig(kind="moduli_and_phases")
    assert float(phase_loss(1.0 - truth, truth, counts, published)) > 0.01


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
