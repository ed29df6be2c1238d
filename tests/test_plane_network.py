"""The plane network's way: masks as slabs, the smooth continuation, slabs drawn while training, and whole scans."""

import numpy as np
import pytest
import torch
from slab_inputs import SMALL, digest, pattern, slab

from braggworks.config import NetworkConfig, SlabConfig, TrainingConfig
from braggworks.datasets.gaps import cross_gap
from braggworks.errors import ConfigError, ScanError
from braggworks.inpainting.continuation import continue_planes
from braggworks.inpainting.interpolation import interpolate
from braggworks.inpainting.model import load_inpainter
from braggworks.inpainting.slab_inpainter import SlabInpainter
from braggworks.inpainting.slabs import SMALLEST, Slab, cut_mask
from braggworks.inpainting.variational import fill_biharmonic
from braggworks.losses import gap_relative_error
from braggworks.networks import build
from braggworks.networks.plane_network import PLANES
from braggworks.training.checkpoints import Weights, write_weights
from braggworks.training.loop import Trainer
from braggworks.training.slab_samples import SlabSamples, draw_width

# --- masks as slabs ---


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slab_is_one_part(axis):
    mask = slab((12, 14, 16), axis, 5, 3)
    ((part,),) = cut_mask(mask)
    assert part.slab == Slab(axis, 5, 3)
    np.testing.assert_array_equal(np.sort(part.voxels), np.flatnonzero(mask))


def test_the_crossing_of_two_slabs_comes_second_and_from_both():
    mask = slab((10, 20, 24), 1, 8, 3) | slab((10, 20, 24), 2, 9, 3)
    first, second = cut_mask(mask)
    assert [part.slab for part in first] == [Slab(1, 8, 3), Slab(2, 9, 3)]
    assert [part.slab for part in second] == [Slab(1, 8, 3), Slab(2, 9, 3)]
    crossing = slab((10, 20, 24), 1, 8, 3) & slab((10, 20, 24), 2, 9, 3)
    for part in second:
        np.testing.assert_array_equal(np.sort(part.voxels), np.flatnonzero(crossing))


def test_every_masked_voxel_is_reached_unless_it_lies_at_the_edge():
    rng = np.random.default_rng(3)
    mask = slab((12, 20, 24), 2, 9, 4) | slab((12, 20, 24), 0, 0, 1) | (rng.random((12, 20, 24)) < 0.05)
    reached = np.zeros(mask.shape, bool)
    for part in (part for parts in cut_mask(mask) for part in parts):
        place = np.unravel_index(part.voxels, mask.shape)[part.slab.axis]
        assert part.slab.start > 0
        assert part.slab.start + part.slab.width < mask.shape[part.slab.axis]
        assert ((place >= part.slab.start) & (place < part.slab.start + part.slab.width)).all()
        reached.reshape(-1)[part.voxels] = True
    assert not (reached & ~mask).any()
    assert not reached[0].any()
    assert reached[1:-1, 1:-1, 1:-1][mask[1:-1, 1:-1, 1:-1]].all()


def test_nothing_to_fill_and_nothing_measured():
    assert cut_mask(np.zeros((4, 4, 4), bool)) == []
    assert cut_mask(np.ones((4, 4, 4), bool)) == []


# --- the smooth continuation ---


@pytest.mark.parametrize("width", [1, 3, 8])
def test_the_continuation_is_the_biharmonic_fill(width):
    shape = (20, 24, 30)
    logs = np.log1p(pattern(shape))
    mask = slab(shape, 2, 12, width)
    planes = torch.from_numpy(np.moveaxis(logs, 2, 0)).float()[None]
    found = continue_planes(planes[:, 10:12], planes[:, 12 + width : 14 + width], width)[0].numpy()
    expected = np.moveaxis(fill_biharmonic(logs, mask)[..., 12 : 12 + width], 2, 0)
    np.testing.assert_allclose(found, expected, atol=2e-2)


def test_a_plane_is_continued_exactly():
    line = (2 * torch.arange(10.0) - 3)[None, :, None, None].expand(1, 10, 12, 14)
    found = continue_planes(line[:, 2:4], line[:, 8:10], 4)
    torch.testing.assert_close(found, line[:, 4:8], rtol=0, atol=1e-4)


# --- the network ---


def test_it_starts_as_the_continuation_and_mirrors_with_its_input():
    network = build(SMALL)
    planes = torch.rand(2, 2 * PLANES, 13, 17, generator=torch.Generator().manual_seed(0))
    before, after = planes[:, :PLANES], planes[:, PLANES:]
    smooth = continue_planes(before[:, -2:], after[:, :2], 5)
    found = network.continued(torch.expm1(before), torch.expm1(after), 5)
    torch.testing.assert_close(torch.log1p(found), smooth)


@pytest.mark.parametrize("width", [1, 2, 30])
def test_it_takes_any_width_and_an_odd_number_of_pixels(width):
    network = build(SMALL)
    torch.nn.init.normal_(network.head.weight, std=0.1)
    found = network.continued(torch.rand(1, PLANES, 9, 15), torch.rand(1, PLANES, 9, 15), width)
    assert found.shape == (1, width, 9, 15)
    assert torch.isfinite(found).all()


# --- the loss ---


def test_the_relative_error_weighs_tiles_alike_and_looks_into_the_gap_alone():
    rng = torch.Generator().manual_seed(0)
    truth, mask = torch.zeros(1, 1, 64, 32, 6), torch.zeros(1, 1, 64, 32, 6)
    mask[..., 2:4] = 1
    truth[..., 2:4] = torch.randn(1, 1, 64, 32, 2, generator=rng)
    truth[:, :, 32:] *= 100
    half = gap_relative_error(0.5 * truth, truth, mask)
    assert half == pytest.approx(0.25, rel=0.05)
    outside = torch.where(mask > 0, 0.5 * truth, torch.full((), 7.0))
    torch.testing.assert_close(gap_relative_error(outside, truth, mask), half)
    assert gap_relative_error(truth, truth, mask) == 0


# --- samples ---


class Split:
    """Patches of a split, as a dataset offers them."""

    size = 40

    def __init__(self, number=6, total=1e6):
        self.counts = np.stack([pattern((self.size,) * 3, seed) for seed in range(number)]).round().astype(np.uint32)
        self.metadata = {"total_counts": np.full(number, total)}
        self.gap_shapes = np.zeros(number, np.uint8)

    def __len__(self):
        return len(self.counts)

    def __getitem__(self, index):
        return torch.from_numpy(self.counts[index].astype(np.float32)), torch.zeros(self.counts[index].shape).bool()

    def load_all(self):
        return self.counts, np.zeros(self.counts.shape, np.uint8)


SLABS = SlabConfig(widths_px=(2, 20), total_counts=(1e4, 1e6))


def batches(epoch=0, number=6, **how):
    samples = SlabSamples(Split(number), SLABS, batch_size=2, seed=5, **how)
    order = np.arange(number)
    return list(samples.batches(epoch, order, lambda left: [left[i : i + 2] for i in range(0, len(left), 2)]))


def test_samples_are_slabs_with_what_the_network_sees_and_no_more():
    for values, truth, mask in batches():
        width = int(mask[0, 0, 0, 0].sum())
        assert 2 <= width <= 20
        beside = min(16, (40 - width) // 2)
        assert truth.shape == (2, 1, 40, 40, width + 2 * beside)
        assert mask[..., beside : beside + width].all()
        assert mask.sum() == 2 * 40 * 40 * width
        assert not values[mask > 0].any()
        assert torch.equal(values[mask == 0], truth[mask == 0])


def test_samples_follow_from_seed_epoch_and_index_alone():
    whole = batches()
    assert digest(whole) == digest(batches()) == digest(batches(in_memory=False, readers=0))
    assert digest(whole) != digest(batches(epoch=1))
    samples = SlabSamples(Split(), SLABS, batch_size=2, seed=5)
    rest = list(samples.batches(0, np.arange(2, 6), lambda left: [left[:2], left[2:]]))
    assert digest(rest) == digest(whole[1:])
    # The second half of every batch, as a second process would take it.
    halves = list(samples.batches(0, np.arange(6), lambda left: [left[1:2], left[3:4], left[5:6]]))
    assert digest([type(b)(*(t[1:] for t in b)) for b in whole]) == digest(halves)


def test_some_samples_are_noise_free_and_some_are_counted():
    whole = [np.expm1(truth.numpy()) for _, truth, _ in batches(number=40)]
    totals = np.array([sample.sum() for batch in whole for sample in batch])
    assert 5 < np.sum(totals < totals.max() / 2) < 35


def test_widths_are_narrow_as_often_as_asked():
    rng = np.random.default_rng(0)
    widths = np.array([draw_width(SlabConfig(widths_px=(2, 41), narrow_share=0.7), rng) for _ in range(2000)])
    assert widths.min() == 2
    assert widths.max() == 41
    assert np.mean(widths <= 12) == pytest.approx(0.7, abs=0.04)
    assert {draw_width(SlabConfig(widths_px=(20, 22)), rng) for _ in range(50)} == {20, 21, 22}


def test_patches_too_small_or_of_unknown_flux_are_refused():
    with pytest.raises(ConfigError, match="at most 24"):
        SlabSamples(Split(1), SlabConfig(), batch_size=2, seed=0)
    with pytest.raises(ConfigError, match="no total counts"):
        SlabSamples(Split(1, total=0), SLABS, batch_size=2, seed=0)


def test_the_network_and_its_slabs_go_together():
    with pytest.raises(ValueError, match="go together"):
        TrainingConfig(release="r", network=SMALL)
    with pytest.raises(ValueError, match="go together"):
        TrainingConfig(release="r", slabs=SLABS)
    with pytest.raises(ValueError, match="leave them out"):
        NetworkConfig(name="plane_network", residual=True)


def test_training_lowers_the_error():
    loss = {"gap": 0, "ssim": 0, "gradient": 0, "relative": 1}
    slabs = SlabConfig(widths_px=(6, 7), noise_free=0.0, total_counts=(1e6, 1e6))
    how = {"epochs": 8, "batch_size": 2, "learning_rate": 5e-3}
    config = TrainingConfig(release="r", network=SMALL, slabs=slabs, loss=loss, **how)
    trainer = Trainer(build(SMALL), config, torch.device("cpu"))
    samples = SlabSamples(Split(), slabs, batch_size=2, seed=0)
    assert trainer.fit(samples, samples, save=lambda: None)
    assert trainer.progress.best_loss < 0.8 * trainer.progress.starting_loss


# --- scans ---


@pytest.fixture
def inpainter(tmp_path):
    network = build(SMALL)
    torch.manual_seed(0)
    torch.nn.init.normal_(network.head.weight, std=0.02)
    write_weights(tmp_path / "w.safetensors", Weights(SMALL, 40, (2, 12), network.state_dict()))
    found = load_inpainter(tmp_path / "w.safetensors")
    assert isinstance(found, SlabInpainter)
    return found


def masks():
    shape = (24, 40, 44)
    tee = slab(shape, 1, 25, 3)
    tee[:, :25, 18:24] = True
    edges = slab(shape, 2, 0, 2) | slab(shape, 2, 20, 5)
    hot = slab(shape, 2, 20, 5)
    hot[5, 7, 30] = True
    return {
        **{f"slab{axis}": slab(shape, axis, 10, 4) for axis in range(3)},
        "cross": cross_gap(shape, (12, 20), 6),
        "tee": tee,
        "edges": edges,
        "hot": hot,
        "wide": slab(shape, 2, 2, 38),
        "near the edge": slab(shape, 2, 3, 5),
    }


@pytest.mark.parametrize("name", list(masks()))
def test_measured_voxels_stay_and_the_rest_is_filled(inpainter, name):
    mask = masks()[name]
    counts = np.random.default_rng(0).poisson(pattern(mask.shape)).astype(np.uint32)
    found = inpainter.fill_scan(np.where(mask, 12345, counts), mask)
    assert np.array_equal(found.counts[~mask], counts[~mask])
    assert np.isfinite(found.counts).all()
    assert (found.counts >= 0).all()
    assert found.counts[mask].max() < 20 * counts.max()
    assert not found.uncertainty[~mask].any()
    again = inpainter.fill_scan(np.where(mask, 0, counts), mask)
    assert np.array_equal(found.counts, again.counts)
    assert found.steps == inpainter.steps(mask)
    slabs = mask.sum() > 1000
    assert (found.predictions[mask] > 0).mean() > (0.9 if slabs and name != "edges" else 0.5)


def test_a_slab_of_another_axis_is_filled_as_one_of_the_last(inpainter):
    counts = pattern((20, 24, 30))
    mask = slab(counts.shape, 2, 12, 4)
    expected = inpainter.fill_scan(counts, mask).counts
    turned = inpainter.fill_scan(counts.transpose(2, 0, 1), mask.transpose(2, 0, 1)).counts
    np.testing.assert_allclose(turned.transpose(1, 2, 0), expected, rtol=1e-4)


def test_a_mirrored_scan_is_filled_to_the_mirror_image(inpainter):
    counts = pattern((20, 24, 30))
    mask = slab(counts.shape, 2, 12, 4)
    expected = inpainter.fill_scan(counts, mask).counts
    mirrored = inpainter.fill_scan(counts[::-1, :, ::-1], mask[:, :, ::-1]).counts
    # Two of the four views change places with the other two only if all mirror axes go together.
    np.testing.assert_allclose(mirrored[::-1, :, ::-1], expected, rtol=0.5)


def test_hot_pixels_are_interpolated(inpainter):
    counts = pattern((20, 24, 30))
    mask = np.zeros(counts.shape, bool)
    mask[5, 6, 7] = mask[9, 9, 9:11] = True
    assert mask.sum() < SMALLEST
    found = inpainter.fill_scan(counts, mask)
    assert not found.predictions.any()
    logs = interpolate(np.log1p(counts), mask, "linear")
    np.testing.assert_allclose(np.log1p(found.counts[mask]), logs[mask], rtol=0.05)


def test_patches_are_filled_as_scans_are(inpainter):
    counts = np.stack([pattern((20, 24, 30), seed) for seed in range(3)]).astype(np.float32)
    gaps = [slab(counts[0].shape, 2, 12, 4), slab(counts[0].shape, 1, 9, 3), slab(counts[0].shape, 2, 12, 4)]
    found = inpainter.fill(counts, np.stack(gaps))
    for one, scan, gap in zip(found, counts, gaps, strict=True):
        np.testing.assert_allclose(one, inpainter.fill_scan(scan, gap).counts, rtol=1e-3)


def test_a_mask_of_everything_is_refused(inpainter):
    with pytest.raises(ScanError):
        inpainter.fill_scan(np.ones((8, 8, 8)), np.ones((8, 8, 8), bool))
