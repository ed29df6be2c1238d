"""What training is made of: normalisation, samples, checkpoints, and the filler that uses the weights."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from releases import files_below, make_release
from safetensors import safe_open
from safetensors.torch import save_file
from training_inputs import NETWORK, counts_and_mask

from braggworks.config import NetworkConfig, TrainingConfig
from braggworks.datasets.reader import SampleDataset
from braggworks.errors import FileError, ScanError
from braggworks.inpainting.interpolation import interpolate_batch
from braggworks.inpainting.model import SHIPPED, load_inpainter
from braggworks.networks import build
from braggworks.training.checkpoints import Weights, read_state, read_weights, write_state, write_weights
from braggworks.training.loop import Trainer
from braggworks.training.normalisation import denormalise, network_values, normalise
from braggworks.training.progress import Progress
from braggworks.training.samples import Sample, Samples, augment, memory_needed, prepare

seeds = st.integers(0, 2**31)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return make_release(tmp_path_factory.mktemp("release"), batches=1)


# --- normalisation ---


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_measured_voxels_reach_from_0_to_1_and_come_back(seed):
    counts, mask = counts_and_mask(seed)
    scaled, scale = normalise(counts, mask)
    for patch, gap in zip(scaled, mask, strict=True):
        assert patch[~gap].min() == 0
        assert patch[~gap].max() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(denormalise(scaled, scale), counts, rtol=2e-5, atol=1e-5)


def test_gap_does_not_enter_the_range():
    counts, mask = counts_and_mask()
    other = np.where(mask, counts * 1000 + 7, counts)
    one, two = normalise(counts, mask), normalise(other, mask)
    np.testing.assert_array_equal(one[0][~mask], two[0][~mask])
    np.testing.assert_array_equal(one[1], two[1])


def test_uniform_and_unmeasured_patches_stay_finite():
    mask = np.zeros((2, 8, 8, 8), bool)
    mask[1] = True
    scaled, scale = normalise(np.full(mask.shape, 5.0), mask)
    assert np.isfinite(scaled).all()
    np.testing.assert_allclose(denormalise(scaled, scale), 5, rtol=1e-5)
    assert (denormalise(np.full(mask.shape, -9, np.float32), scale) == 0)[0].all()


def test_network_values_hold_zero_or_the_interpolation_in_the_gap():
    counts, mask = counts_and_mask()
    scaled, _ = normalise(counts, mask)
    zero, prior = (network_values(scaled, mask, prior=wanted) for wanted in (False, True))
    assert not zero[mask].any()
    np.testing.assert_array_equal(prior, interpolate_batch(scaled, mask, "linear"))
    for values in (zero, prior):
        np.testing.assert_array_equal(values[~mask], scaled[~mask])


# --- samples ---


@pytest.mark.parametrize("turn", range(16))
@pytest.mark.parametrize("cross", [False, True])
def test_turned_sample_is_the_sample_of_the_turned_patch(turn, cross):
    counts, mask = counts_and_mask(batch=1, size=8, width=2)
    if cross:
        mask[:, :, 3:5] = True

    def turned(array):
        parts = augment(Sample(*[torch.from_numpy(array[0])] * 3), turn, swap=not cross)
        return parts.truth.numpy()[None]

    first = augment(Sample(*(part[0] for part in prepare(counts, mask, prior=True))), turn, swap=not cross)
    again = prepare(turned(counts).copy(), turned(mask).copy(), prior=True)
    for name in Sample._fields:
        np.testing.assert_allclose(getattr(first, name), getattr(again, name)[0], atol=1e-6)
    slabs = first.mask.all(0).all(0).sum(), first.mask.all(0).all(1).sum(), first.mask.all(1).all(1).sum()
    assert slabs == (2, 2 if cross else 0, 0)


def batches_of(size):
    return lambda order: [order[start : start + size] for start in range(0, len(order), size)]


@pytest.mark.parametrize("readers", [0, 2])
def test_samples_from_disk_are_those_from_memory(manifest, readers):
    patches = SampleDataset(manifest, "train")
    memory = Samples(patches, prior=True, seed=1)
    disk = Samples(patches, prior=True, seed=1, in_memory=False, readers=readers)
    order = np.arange(len(patches))[::-1]
    count = 0
    for one, two in zip(memory.batches(2, order, batches_of(16)), disk.batches(2, order, batches_of(16)), strict=True):
        assert one.truth.shape[1:] == (1, 16, 16, 16)
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
        count += len(one.truth)
    assert count == len(memory) == len(disk) == len(order)


def test_augmentation_depends_on_seed_epoch_and_sample_alone(manifest):
    patches = SampleDataset(manifest, "train")
    plain, one, two = (Samples(patches, prior=False, seed=seed) for seed in (None, 1, 2))
    assert torch.equal(plain[0, 5].truth, plain[9, 5].truth)
    assert torch.equal(one[4, 5].truth, one[4, 5].truth)
    assert any(not torch.equal(one[4, i].truth, two[4, i].truth) for i in range(8))
    assert any(not torch.equal(one[4, i].truth, one[5, i].truth) for i in range(8))
    assert list(plain.batches(0, np.arange(0), batches_of(4))) == []


def test_samples_are_held_in_memory_only_if_told_so(manifest, monkeypatch):
    patches = SampleDataset(manifest, "train")
    monkeypatch.setattr(SampleDataset, "load_all", lambda self: pytest.fail("all samples were read"))
    disk = Samples(patches, prior=False, in_memory=False, readers=0)
    assert disk[0, 3].truth.shape == (16, 16, 16)
    assert memory_needed(patches) == len(patches) * 16**3 * 14


def test_reader_of_a_damaged_shard_ends_in_a_sentence(tmp_path):
    patches = SampleDataset(make_release(tmp_path, batches=1), "train")
    for shard in tmp_path.glob("campaigns/*/shards/*.h5"):
        shard.write_bytes(b"no shard")
    with pytest.raises(FileError) as caught:
        list(Samples(patches, prior=False, in_memory=False).batches(0, np.arange(4), batches_of(2)))
    assert "shards/0.h5" in str(caught.value)
    assert "\n" not in str(caught.value)


# --- checkpoints ---


def test_state_comes_back_whole_and_is_refused_by_another_run(tmp_path):
    path = tmp_path / "deep" / "state.safetensors"
    assert read_state(path, "run") is None
    tensors = {"a": torch.rand(3, 2, 2).permute(2, 1, 0), "b": torch.tensor([0.1], dtype=torch.float64)}
    progress = Progress(epoch=2, loss_total=0.1 + 0.2, learning_rate=1e-3).to_json()
    write_state(path, "run", progress, tensors)
    found = read_state(path, "run")
    assert found[0] == progress
    assert all(torch.equal(found[1][name], tensor) for name, tensor in tensors.items())
    assert "another recipe" in read_state(path, "other run")
    path.write_bytes(path.read_bytes()[:-5])
    assert "damaged" in read_state(path, "run")


def test_equal_weights_give_equal_bytes(tmp_path):
    weights = Weights(NETWORK, 16, (2, 12), build(NETWORK).state_dict())
    for name in "ab":
        write_weights(tmp_path / name, weights)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_weights(tmp_path / "a").network == NETWORK


def test_weights_say_what_made_them_and_more_does_no_harm(tmp_path):
    weights = Weights(NETWORK, 16, (2, 12), build(NETWORK).state_dict(), {"scan": "scan.cxi", "scan_sha256": None})
    write_weights(tmp_path / "w", weights)
    assert read_weights(tmp_path / "w").provenance == weights.provenance
    with safe_open(tmp_path / "w", "pt") as file:
        about = json.loads(file.metadata()["braggworks"])
    more = {"braggworks": json.dumps({**about, "later": [1]}), "other": "x"}
    save_file({name: tensor.contiguous() for name, tensor in weights.tensors.items()}, tmp_path / "more", more)
    assert load_inpainter(tmp_path / "more").widths_px == (2, 12)
    assert read_weights(SHIPPED).provenance is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist"),
        (b"", "damaged"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00 no header here!", "damaged"),
        (b"\xff" * 64, "damaged"),
        ({"x": "y"}, "holds no weights"),
        ({"braggworks": "[]"}, "holds no weights"),
        ({"braggworks": json.dumps({"kind": "weights", "task": "phase"})}, "holds no weights"),
    ],
)
def test_foreign_weights_end_in_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "weights.safetensors"
    if isinstance(content, dict):
        save_file({"a": torch.zeros(2)}, path, content)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match=sentence):
        load_inpainter(path)


def test_weights_of_another_size_end_in_a_sentence(tmp_path):
    path = tmp_path / "weights.safetensors"
    write_weights(path, Weights(NETWORK, 16, (2, 12), build(NetworkConfig(width=0.2)).state_dict()))
    with pytest.raises(FileError, match="do not fit"):
        load_inpainter(path)


def test_full_disk_keeps_the_old_state(tmp_path, monkeypatch):
    path = tmp_path / "state.safetensors"
    write_state(path, "run", {}, {"a": torch.zeros(2)})

    def fail(self, data):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(FileError, match="full"):
        write_state(path, "run", {}, {"a": torch.ones(2)})
    assert not read_state(path, "run")[1]["a"].any()
    assert files_below(tmp_path) == {Path("state.safetensors")}


def test_a_long_gradient_is_shortened():
    steps = {}
    for norm in (None, 1e-3):
        network = build(NETWORK)
        before = [parameter.detach().clone() for parameter in network.parameters()]
        config = TrainingConfig(release="tiny", network=NETWORK, gradient_norm=norm)
        trainer = Trainer(network, config, torch.device("cpu"))
        trainer.optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
        trainer.step(Sample(*(part[:, None].float() for part in prepare(*counts_and_mask(), prior=True))))
        moved = [(new.detach() - old).norm() for new, old in zip(network.parameters(), before, strict=True)]
        steps[norm] = float(torch.stack(moved).norm())
    assert steps[1e-3] == pytest.approx(1e-3, rel=1e-3)
    assert steps[None] > 2e-3


# --- the filler ---


def test_untrained_residual_network_fills_as_interpolation_does(tmp_path):
    write_weights(tmp_path / "w", Weights(NETWORK, 16, (2, 12), build(NETWORK).state_dict()))
    counts, mask = counts_and_mask(batch=5)
    hidden = np.where(mask, np.nan, counts).astype(np.float32)
    inpainter = load_inpainter(tmp_path / "w")
    filled = inpainter.fill(hidden, mask, batch=2)
    assert inpainter.patch == 16
    assert filled.dtype == np.float32
    assert np.isnan(hidden[mask]).all()
    np.testing.assert_array_equal(filled[~mask], counts[~mask])
    expected = np.expm1(interpolate_batch(np.log1p(np.where(mask, 0, counts)), mask, "linear"))
    np.testing.assert_allclose(filled, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(inpainter.fill(hidden, mask), filled, rtol=1e-5, atol=1e-6)


def test_filler_never_gives_negative_counts_and_checks_its_input(tmp_path):
    write_weights(tmp_path / "w", Weights(NETWORK, 16, (2, 12), build(NETWORK).state_dict()))
    inpainter = load_inpainter(tmp_path / "w")
    counts, mask = counts_and_mask()
    with torch.no_grad():
        inpainter.network.head.bias.fill_(-5)
    assert (inpainter.fill(counts, mask)[mask] == 0).all()
    with pytest.raises(ScanError, match="patches of 16 px"):
        inpainter.fill(counts[:, :8], mask[:, :8])
    with pytest.raises(ScanError):
        inpainter.fill(counts, np.ones_like(mask))


class FlatPatches:
    """A split of patches in two dimensions, of fringes."""

    shape, size = (32, 32), 32

    def __init__(self, number=4):
        x = np.arange(32)
        waves = [np.sin(x * (0.3 + 0.1 * n))[:, None] + np.sin(x * 0.4) for n in range(number)]
        self.counts = np.array([(40 * (2 + wave)).round() for wave in waves]).astype(np.uint32)
        self.mask = np.zeros(self.counts.shape, np.uint8)
        self.mask[..., 14:18] = 1
        self.gap_shapes = np.zeros(number, np.uint8)

    def __len__(self):
        return len(self.counts)

    def __getitem__(self, index):
        return torch.from_numpy(self.counts[index].astype(np.float32)), torch.from_numpy(self.mask[index].astype(bool))

    def load_all(self):
        return self.counts, self.mask


@pytest.mark.parametrize("in_memory", [True, False])
def test_networks_in_two_dimensions_are_trained_on_patches_of_two_dimensions(in_memory):
    flat = FlatPatches()
    samples = Samples(flat, prior=False, seed=1, in_memory=in_memory, readers=0)
    assert memory_needed(flat) == 4 * 32 * 32 * 14
    assert samples[0, 0].truth.shape == (1, 32, 32)
    network = NetworkConfig(name="msd_net_2d", width=0.5)
    config = TrainingConfig(release="r", network=network, epochs=6, batch_size=2, learning_rate=1e-2)
    trainer = Trainer(build(network), config, torch.device("cpu"))
    assert trainer.fit(samples, samples, save=lambda: None)
    assert trainer.progress.best_loss < 0.8 * trainer.progress.starting_loss


def test_one_plane_is_never_turned_on_its_side():
    sample = Sample(*(torch.arange(12.0).reshape(1, 3, 4) for _ in range(3)))
    assert {augment(sample, turn, swap=True).truth.shape for turn in range(16)} == {(1, 3, 4)}
