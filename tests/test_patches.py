"""Patches and orders: measured densities, and extraction undone by stitching."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braggworks.config import SplitConfig
from braggworks.datasets.order import bounded_order, epoch_order
from braggworks.datasets.patches import (
    choose_corners,
    covering_corners,
    draw_corners,
    extract,
    measured_corners,
    stitch,
)
from braggworks.datasets.splits import split_of
from braggworks.errors import ConfigError

SHAPES = st.tuples(*[st.integers(4, 14)] * 3)
PLANES = st.tuples(*[st.integers(4, 24)] * 2)


@given(SHAPES | PLANES, st.integers(1, 4), st.integers(1, 40), st.sampled_from([0.0, 1.0, 4.0]), st.integers(0, 99))
def test_corners_are_legal_and_repeat(shape, size, count, bias, seed):
    corners = draw_corners(shape, size, count, bias, np.random.default_rng(seed))
    assert corners.shape == (count, len(shape))
    assert (corners >= 0).all()
    assert (corners + size <= shape).all()
    assert np.array_equal(corners, draw_corners(shape, size, count, bias, np.random.default_rng(seed)))


@pytest.mark.parametrize("bias", [0.0, 1.0, 2.0, 5.0])
@pytest.mark.parametrize(("shape", "size"), [((12, 12, 12), 8), ((9, 12, 11), 6)])
def test_density_of_patch_centres_grows_as_a_power_of_their_distance(shape, size, bias):
    draws = 200_000
    corners = draw_corners(shape, size, draws, bias, np.random.default_rng(3))
    legal = np.array(list(itertools.product(*[range(n - size + 1) for n in shape])))
    distance = np.linalg.norm(legal + size // 2 - np.array(shape) // 2, axis=1)
    expected = distance**bias
    expected *= draws / expected.sum()
    observed = np.bincount(np.ravel_multi_index(corners.T, [n - size + 1 for n in shape]), minlength=len(legal))
    assert (observed[expected == 0] == 0).all()
    usual = expected > 5
    freedom = np.count_nonzero(usual) - 1
    chi_squared = ((observed - expected)[usual] ** 2 / expected[usual]).sum()
    assert abs(chi_squared - freedom) < 5 * np.sqrt(2 * freedom)


def test_patch_of_the_arrays_own_size_has_one_place():
    assert np.array_equal(draw_corners((8, 8, 8), 8, 3, 2.0, np.random.default_rng(0)), np.zeros((3, 3)))


def test_patch_larger_than_the_array_is_refused():
    with pytest.raises(ConfigError, match="A patch of 16 px does not fit in an array of 20 x 12 x 20"):
        draw_corners((20, 12, 20), 16, 1, 0.0, np.random.default_rng(0))


def test_dim_patches_are_drawn_again():
    counts = np.zeros((24, 24, 24), np.uint32)
    counts[:, :, 12:] = 1
    options = {"size": 8, "count": 50, "bias": 1.0}
    corners = choose_corners(counts, **options, minimum=256, rng=np.random.default_rng(0))
    assert (extract(counts, corners, 8).sum(axis=(1, 2, 3)) >= 256).all()
    unlimited = choose_corners(counts, **options, minimum=0, rng=np.random.default_rng(0))
    assert np.array_equal(unlimited, draw_corners(counts.shape, 8, 50, 1.0, np.random.default_rng(0)))
    assert (extract(counts, unlimited, 8).sum(axis=(1, 2, 3)) < 256).any()


def test_where_nothing_is_bright_enough_the_brightest_draw_is_taken():
    counts = np.zeros((24, 24, 24), np.uint32)
    counts[4:20, 4:20, 4:20] = 1
    corners = choose_corners(counts, 8, 30, bias=0.0, minimum=10_000, rng=np.random.default_rng(0))
    sums = extract(counts, corners, 8).sum(axis=(1, 2, 3))
    chance = draw_corners(counts.shape, 8, 30, 0.0, np.random.default_rng(0))
    assert len(sums) == 30
    assert sums.min() > np.median(extract(counts, chance, 8).sum(axis=(1, 2, 3)))
    nothing = choose_corners(np.zeros_like(counts), 8, 5, bias=0.0, minimum=1, rng=np.random.default_rng(0))
    assert nothing.shape == (5, 3)


@pytest.mark.parametrize("shape", [(12, 12), (8, 8, 8)])
def test_patch_of_the_patterns_own_size_is_the_whole_pattern(shape):
    counts = np.random.default_rng(0).poisson(2.0, shape).astype(np.uint32)
    rng = np.random.default_rng(1)
    corners = choose_corners(counts, shape[0], 1, bias=2.0, minimum=10**6, rng=rng)
    assert np.array_equal(extract(counts, corners, shape[0])[0], counts)
    assert rng.random() == np.random.default_rng(1).random()


@settings(deadline=None)
@given(SHAPES | PLANES, st.integers(1, 5), st.integers(0, 99))
def test_measured_corners_are_those_of_patches_without_a_hole(shape, size, seed):
    unmeasured = np.random.default_rng(seed).random(shape) < 0.05
    size = min(size, *shape)
    found = measured_corners(unmeasured, size)
    assert found.shape == tuple(n - size + 1 for n in shape)
    corners = np.argwhere(np.ones_like(found))
    held = extract(unmeasured, corners, size).reshape(len(corners), -1).any(axis=1)
    assert np.array_equal(found.ravel(), ~held)


def test_no_patch_holds_an_unmeasured_voxel():
    counts = np.ones((20, 24, 28), np.uint32)
    unmeasured = np.zeros(counts.shape, bool)
    unmeasured[:, :, 10] = unmeasured[3, 5, 20] = True
    options = {"bias": 1.0, "minimum": 0, "rng": np.random.default_rng(0), "unmeasured": unmeasured}
    corners = choose_corners(counts, 8, 200, **options)
    assert not extract(unmeasured, corners, 8).any()
    assert {bool(x) for x in corners[:, 2] < 3} == {True, False}
    with pytest.raises(ConfigError, match="Every patch of 18 px holds a pixel that was not measured"):
        choose_corners(counts, 18, 1, **options)


def test_patches_keep_away_from_the_peak_wherever_it_is():
    far = [
        np.linalg.norm(draw_corners((40, 40), 8, 2000, 4.0, np.random.default_rng(0), peak=peak) + 4 - peak, axis=1)
        for peak in ((10, 10), (30, 30))
    ]
    near = np.linalg.norm(draw_corners((40, 40), 8, 2000, 0.0, np.random.default_rng(0)) + 4 - (10, 10), axis=1)
    assert min(f.mean() for f in far) > near.mean() + 3
    assert abs(far[0].mean() - far[1].mean()) < 0.7


def test_extraction_is_slicing():
    array = np.arange(10 * 11 * 12, dtype=np.uint32).reshape(10, 11, 12)
    corners = np.array([[0, 0, 0], [6, 7, 8], [2, 5, 1]])
    patches = extract(array, corners, 4)
    assert patches.dtype == array.dtype
    for patch, (z, y, x) in zip(patches, corners, strict=True):
        assert np.array_equal(patch, array[z : z + 4, y : y + 4, x : x + 4])


@settings(deadline=None)
@given(SHAPES | PLANES, st.data())
def test_extraction_then_stitching_is_the_identity(shape, data):
    size = data.draw(st.integers(1, min(shape)))
    stride = data.draw(st.integers(1, size))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    weights = data.draw(st.sampled_from([None, rng.uniform(0.1, 1, (size,) * len(shape))]))
    array = rng.poisson(3.0, shape).astype(np.uint32)
    extra = draw_corners(shape, size, 5, 1.0, rng)
    corners = np.concatenate([covering_corners(shape, size, stride), extra])
    stitched = stitch(extract(array, corners, size), corners, shape, weights)
    np.testing.assert_allclose(stitched, array, rtol=1e-13, atol=1e-13)


def test_overlaps_are_weighted_means_and_uncovered_voxels_nan():
    patches = (np.full((2,), value) for value in (1.0, 5.0))
    stitched = stitch(patches, np.array([[0], [1]]), (4,), weights=np.array([1.0, 3.0]))
    np.testing.assert_array_equal(stitched, [1, (3 * 1 + 1 * 5) / 4, 5, np.nan])


def test_epoch_order_is_a_permutation_of_its_identity():
    orders = [epoch_order(50, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert all(np.array_equal(np.sort(order), np.arange(50)) for order in orders)
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(orders, 2))
    assert np.array_equal(orders[1], epoch_order(50, 0, 1))
    assert len(epoch_order(0, 0, 0)) == 0


@given(st.integers(0, 300), st.integers(1, 20), st.integers(1, 60), st.integers(0, 9))
def test_bounded_order_is_a_permutation_that_stays_local(n, block, buffer, epoch):
    order = bounded_order(n, 3, epoch, block, buffer)
    assert np.array_equal(np.sort(order), np.arange(n))
    assert np.array_equal(order, bounded_order(n, 3, epoch, block, buffer))
    for first in range(0, n, buffer):
        blocks = np.unique(order[first : first + buffer] // block)
        assert len(blocks) <= -(-buffer // block) + 2


def test_bounded_order_depends_on_seed_and_epoch_and_mixes():
    orders = [bounded_order(1000, seed, epoch, 8, 128) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(orders, 2))
    # Neighbours in the data are rarely neighbours in time, and the buffers come from all over the data.
    assert (np.abs(np.diff(orders[0])) == 1).mean() < 0.05
    assert np.ptp(orders[0][:128]) > 500
    with pytest.raises(ValueError, match="a block of 0"):
        bounded_order(5, 0, 0, 0, 4)


def test_held_out_campaigns_are_test_data():
    splits = SplitConfig(validation=0.1, test=0.2)
    assert {split_of("x", index, splits, ["x"]) for index in range(50)} == {"test"}
    assert [split_of("y", i, splits, ["x"]) for i in range(50)] == [split_of("y", i, splits) for i in range(50)]


def test_split_follows_from_the_identity_alone():
    splits = SplitConfig(validation=0.1, test=0.2)
    found = [split_of("demo-free", index, splits) for index in range(20_000)]
    shares = {name: found.count(name) / len(found) for name in set(found)}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.01)
    assert found[:6] == ["test", "train", "train", "test", "validation", "validation"]
    assert found[:200] != [split_of("demo-clamped", index, splits) for index in range(200)]
    assert found[:200] != [split_of("demo-free", i, SplitConfig(validation=0.1, test=0.2, seed=1)) for i in range(200)]


@given(st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0, 0.09))
def test_a_larger_fraction_takes_particles_from_train_only(validation, test, more):
    before = SplitConfig(validation=validation, test=test)
    for after in (
        SplitConfig(validation=validation + more, test=test),
        SplitConfig(validation=validation, test=test + more),
    ):
        for index in range(30):
            old, new = split_of("x", index, before), split_of("x", index, after)
            assert old in {new, "train"}
