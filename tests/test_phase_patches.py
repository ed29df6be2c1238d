"""Phases found patch by patch: where patches lie, what training shows of them, stitching, and its scores."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from braggworks.cli import main
from braggworks.config import NetworkConfig, PhaseLossConfig, ShellSweep, TrainingConfig
from braggworks.networks import PatchPhaseNetwork, build
from braggworks.phasing import stitching
from braggworks.phasing.rsp import Phaser
from braggworks.phasing.shells import known_before, shells_of
from braggworks.phasing.stitching import by_shell, stitch
from braggworks.recipes import SweepRecipe
from braggworks.training.checkpoints import Weights, write_weights
from braggworks.training.objectives import objective, patch_loss
from braggworks.training.phase_patches import CENTRAL, PhasePatch, PhasePatches

SHAPE, SIZE = (64, 64, 64), 32
CONFIG = NetworkConfig(name="rsp_patches_3d", width=0.1)


class FewPatterns:
    """Smooth phases, and counts that fall off from the peak."""

    shape, size = SHAPE, 64
    gap_shapes = np.zeros(4, np.uint8)
    metadata: ClassVar[dict[str, np.ndarray]] = {}

    def __len__(self) -> int:
        return 4

    def __getitem__(self, sample: int) -> tuple[Tensor, Tensor]:
        counts, phases = self.load_all()
        return torch.from_numpy(counts[sample]), torch.from_numpy(phases[sample])

    def load_all(self) -> tuple[np.ndarray, np.ndarray]:
        z, y, x = np.meshgrid(*(np.arange(n) - n // 2 for n in SHAPE), indexing="ij")
        counts = 1e5 / (1 + z**2 + y**2 + x**2)
        phases = [np.sin(0.1 * (k + 1) * z) + 0.05 * y * x / (k + 2) for k in range(4)]
        return np.stack([counts] * 4).astype(np.float32), np.stack(phases).astype(np.float32)


def same_phase(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((np.abs(np.angle(np.exp(1j * (a - b)))) < 1e-4).all())


# --- where they lie ---


@pytest.mark.parametrize(("n", "patches"), [(32, [1]), (64, [1, 13, 51, 105])])
def test_shells_cover_a_pattern_from_the_peak_outwards(n: int, patches: list[int]) -> None:
    shells, first = shells_of((n, n, n), SIZE)
    assert [len(cubes) for cubes in shells] == patches
    assert (first < 0).mean() < 1e-3
    assert shells[0] == [(slice(n // 2 - 16, n // 2 + 16),) * 3]
    for number, cubes in enumerate(shells):
        reached = np.zeros(first.shape, bool)
        for cube in cubes:
            assert first[cube].shape == (SIZE,) * 3
            # Each says something, and is told something.
            assert (first[cube] == number).any()
            assert number == 0 or (first[cube] < number).any()
            reached[cube] = True
        np.testing.assert_array_equal(reached[first == number], True)


def test_what_no_shell_says_is_never_known() -> None:
    shells, first = shells_of(SHAPE, SIZE)
    assert (first < 0).any()
    assert not known_before(SHAPE, SIZE, 0).any()
    for number in range(len(shells)):
        assert not known_before(SHAPE, SIZE, number)[(first < 0) | (first >= number)].any()
    assert known_before(SHAPE, SIZE, 2)[first == 1].all()


# --- what training shows ---


def test_patches_show_what_shells_within_know_and_no_more() -> None:
    samples = PhasePatches(FewPatterns(), PhaseLossConfig(), seed=3)
    patches = [samples[epoch, index] for epoch in range(30) for index in range(4)]
    central = [not patch.known.any() for patch in patches]
    assert np.mean(central) == pytest.approx(CENTRAL, abs=0.12)
    for patch in patches:
        assert patch.values.shape == (SIZE,) * 3
        assert float(patch.values.max()) == pytest.approx(1)
        assert (patch.known == 0).any()
        assert torch.equal(patch.guess, patch.truth * patch.known)
    again = PhasePatches(FewPatterns(), PhaseLossConfig(), seed=3, in_memory=False, readers=0)
    for mine, other in zip(samples[5, 2], again[5, 2], strict=True):
        assert torch.equal(mine, other)
    assert not torch.equal(samples[6, 2].truth, samples[5, 2].truth)


class DarkPatterns(FewPatterns):
    """Nothing was counted far from the peak."""

    def load_all(self) -> tuple[np.ndarray, np.ndarray]:
        counts, phases = super().load_all()
        return np.where(counts > 150, counts, 0).astype(np.float32), phases


def test_patches_whose_phase_is_noise_are_not_shown() -> None:
    samples = PhasePatches(DarkPatterns(), PhaseLossConfig(), seed=3)
    patches = [samples[epoch, index] for epoch in range(30) for index in range(4)]
    told = [float((patch.counts * (1 - patch.known)).sum()) for patch in patches if patch.known.any()]
    assert len(told) > 50
    assert min(told) >= 100


def test_validation_patches_are_the_same_in_every_epoch() -> None:
    samples = PhasePatches(FewPatterns(), PhaseLossConfig())
    for mine, other in zip(samples[0, 1], samples[7, 1], strict=True):
        assert torch.equal(mine, other)


def batch(*patches: PhasePatch) -> PhasePatch:
    return PhasePatch(*(torch.stack(parts)[:, None].float() for parts in zip(*patches, strict=True)))


def test_the_loss_is_that_of_what_is_not_known_and_as_the_guess_says() -> None:
    samples = PhasePatches(FewPatterns(), PhaseLossConfig(), seed=0)
    drawn = [samples[epoch, 0] for epoch in range(20)]
    central = next(patch for patch in drawn if not patch.known.any())
    outer = next(patch for patch in drawn if patch.known.any())
    both = batch(central, outer)
    wrong = both.truth + 2 * both.known * torch.rand_like(both.truth)
    assert patch_loss(wrong, both, "amplitude").tolist() == pytest.approx([0, 0], abs=1e-4)
    # What the guess fixes is not forgiven.
    for other in (-both.truth, both.truth + 0.8):
        free, guided = patch_loss(other, both, "amplitude").tolist()
        assert free == pytest.approx(0, abs=1e-4)
        assert guided > 0.05


def test_gradients_reach_both_networks_and_a_batch_may_lack_either_kind() -> None:
    network = build(CONFIG)
    training = TrainingConfig(release="a", network=CONFIG, phase_loss=PhaseLossConfig())
    predict, mean_loss = objective(network, training)
    samples = PhasePatches(FewPatterns(), PhaseLossConfig(), seed=0)
    drawn = [samples[epoch, 0] for epoch in range(20)]
    central = [patch for patch in drawn if not patch.known.any()]
    outer = [patch for patch in drawn if patch.known.any()]
    for some, silent in ((central[:2], "outer"), (outer[:2], "central"), ([central[0], outer[0]], "")):
        network.zero_grad()
        mean_loss(predict(batch(*some)), batch(*some)).backward()
        for name, parameter in network.named_parameters():
            seen = parameter.grad is not None and bool(parameter.grad.abs().max() > 0)
            if silent and name.startswith(silent):
                assert not seen, name
            elif name.endswith("weight") and "norm" not in name:
                assert seen, name


def test_both_networks_are_about_as_large_as_published() -> None:
    network = build(NetworkConfig(name="rsp_patches_3d"))
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    assert all(3.2e6 < size < 4e6 for size in sizes.values())
    assert sizes.keys() == {"central", "outer"}


# --- stitching ---


def test_patches_that_are_right_make_a_phase_that_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, phases = FewPatterns().load_all()
    truth = torch.from_numpy(phases[0])
    told = []

    def oracle(network: object, seen: Tensor, given: Tensor, known: Tensor, cubes: list) -> Tensor:
        told.append((given.clone(), known.clone()))
        return torch.stack([truth[cube] for cube in cubes])

    monkeypatch.setattr(stitching, "predict", oracle)
    network = build(CONFIG)
    assert isinstance(network, PatchPhaseNetwork)
    found = stitch(network, torch.from_numpy(counts[0])).numpy()
    _, first = shells_of(SHAPE, SIZE)
    assert same_phase(found[first >= 0], phases[0][first >= 0])
    for given, known in told:
        inside = known.numpy() > 0
        assert same_phase(given.numpy()[inside], phases[0][inside])
        assert not given.numpy()[~inside].any()
    assert by_shell(found, phases[0], counts[0], SIZE) == pytest.approx(np.zeros(4), abs=1e-4)
    # Of the twin and of a constant, too.
    assert by_shell(0.7 - phases[0], phases[0], counts[0], SIZE) == pytest.approx(np.zeros(4), abs=1e-4)
    # Given the truth, only the patch at the peak may be the twin, with any constant.
    mixed = np.where(first == 0, 0.7 - phases[0], phases[0])
    assert by_shell(mixed, phases[0], counts[0], SIZE, guided=True) == pytest.approx(np.zeros(4), abs=1e-4)
    assert by_shell(mixed, phases[0], counts[0], SIZE).max() > 0.05
    assert by_shell(0.7 - phases[0], phases[0], counts[0], SIZE, guided=True)[1:].min() > 0.05
    wrong = np.where(first == 2, phases[0] + np.pi, phases[0])
    assert by_shell(wrong, phases[0], counts[0], SIZE) == pytest.approx([0, 0, 2, 0], abs=1e-4)


def test_patches_are_given_the_truth_where_it_is_said() -> None:
    counts, phases = (torch.from_numpy(each[0]) for each in FewPatterns().load_all())
    network = build(CONFIG).eval()
    assert isinstance(network, PatchPhaseNetwork)
    _, first = shells_of(SHAPE, SIZE)
    alone, guided = stitch(network, counts), stitch(network, counts, phases)
    assert same_phase(alone[first == 0].numpy(), guided[first == 0].numpy())
    assert not same_phase(alone[first == 1].numpy(), guided[first == 1].numpy())
    np.testing.assert_allclose(Phaser(network, 64).phases(counts[None].numpy())[0], alone, atol=1e-5)


# --- the sweep ---

CAMPAIGN = """
family: shape3d
seed: 1
count: 3
batch_size: 3
task: phase
body: {shapes: [random], phases: [gaussians], phase_range: [0.0, 3.0]}
sampling: {grid: 64, oversampling: [2.0, 3.0], patterns_per_particle: 1}
detector: {total_counts: [1.0e7, 1.0e7]}
patches: {size: 64, per_pattern: 1}
"""


def test_shells_are_scored_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "few.yaml").write_text(CAMPAIGN)
    shard, output = tmp_path / "s.h5", tmp_path / "few.nc"
    command = ["simulate", "--campaign", str(tmp_path / "few.yaml"), "--batch", "0", "--output", str(shard)]
    assert main(command) == 0
    write_weights(tmp_path / "w", Weights(CONFIG, 64, None, build(CONFIG).state_dict()))
    recipe = SweepRecipe(version=1, sweep=ShellSweep(kind="shells", campaign="few", patterns=2), scan=None).to_json()
    command = ["sweep", str(shard), "--recipe", recipe, "--weights", f"{tmp_path}/w", "--output", str(output)]
    assert main(command) == 0
    with xr.open_dataset(output, engine="h5netcdf") as data:
        assert data["loss"].shape == (3, 4, 2)
        assert int(data["patches"].sum()) == 170
        assert np.isnan(data["guess"].values).any(axis=(1, 2)).all()
        assert data["central_network"].shape == (2, 32, 32, 32)
        assert ((data["central_accuracy"] > 0) & (data["central_accuracy"] < 90)).all()
        loss = data["loss"].values
        # The central patch is given nothing either way, and an untrained network knows nothing.
        np.testing.assert_allclose(loss[0, 0], loss[1, 0], atol=0.3)
        assert (data["low"] <= data["mean"]).all()
    assert main(["figure", "sweep-shells-few", "--input", str(output), "--output", f"{tmp_path}/few.png"]) == 0
    other = NetworkConfig(name="block_rsp_unet_3d", width=0.1)
    write_weights(tmp_path / "w", Weights(other, 64, None, build(other).state_dict()))
    capsys.readouterr()
    assert main(command) == 2
    assert "weights" in capsys.readouterr().err
