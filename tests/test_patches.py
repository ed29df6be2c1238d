"""Gaps, patches and orders: exact areas, measured densities, and extraction undone by stitching."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braggworks.config import SplitConfig
from braggworks.datasets.gaps import BORDER_PX, cross_gap, gap_voxels, plan_gaps, vertical_gap
from braggworks.datasets.order import epoch_order
from braggworks.datasets.patches import choose_corners, covering_corners, draw_corners, extract, stitch
from braggworks.datasets.splits import split_of
from braggworks.errors import ConfigError

SHAPES = st.tuples(*[st.integers(4, 14)] * 3)


@st.composite
def gaps(draw):
    shape = draw(st.lists(st.integers(4, 14), min_size=2, max_size=4).map(tuple))
    width = draw(st.integers(1, min(shape[-2:])))
    start = tuple(draw(st.integers(0, n - width)) for n in shape[-2:])
    return shape, start, width


@given(gaps())
def test_gap_area_and_place_are_exact(gap):
    shape, (y, x), width = gap
    others = int(np.prod(shape[:-2]))
    vertical, cross = vertical_gap(shape, x, width), cross_gap(shape, (y, x), width)
    assert vertical.shape == cross.shape == shape
    assert vertical.dtype == cross.dtype == bool
    assert vertical.sum() == width * shape[-2] * others
    assert cross.sum() == (width * shape[-2] + width * shape[-1] - width**2) * others
    assert np.array_equal(np.flatnonzero(vertical.reshape(-1, shape[-1]).all(axis=0)), np.arange(x, x + width))
    rows = np.moveaxis(cross, -2, 0).reshape(shape[-2], -1)
    inside = np.arange(y, y + width)
    assert rows[inside].all()
    assert (cross | ~vertical).all()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: vertical_gap((8, 8), 3, 6), "A gap of 6 px that starts at x = 3 does not fit in 8 px"),
        (lambda: vertical_gap((8, 8), -1, 2), "starts at x = -1"),
        (lambda: vertical_gap((8, 8), 0, 0), "A gap of 0 px"),
        (lambda: cross_gap((4, 6, 20), (2, 2), 9), "A gap of 9 px that starts at y = 2 does not fit in 6 px"),
    ],
)
def test_gap_outside_the_array_is_refused(make, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make()


@pytest.mark.parametrize("width", [0, 13, 40])
def test_gap_wider_than_the_patch_is_refused(width):
    with pytest.raises(ConfigError, match=f"A gap of {width} px does not fit in a patch of 16 px: use gap widths of 1"):
        plan_gaps(0, 4, widths=[3, width], cross_fraction=0, size=16, rng=np.random.default_rng(0))


@pytest.mark.parametrize(("count", "cross_fraction"), [(7, 1 / 6), (72, 1 / 6), (5, 0.5), (4, 0.0), (4, 1.0)])
def test_a_campaign_holds_widths_and_crosses_in_the_wanted_parts(count, cross_fraction):
    widths, size, particles = [3, 6, 9, 12], 16, 60
    plans = [
        plan_gaps(k, count, widths=widths, cross_fraction=cross_fraction, size=size, rng=np.random.default_rng(k))
        for k in range(particles)
    ]
    found = np.concatenate([plan.width for plan in plans])
    assert np.ptp([np.count_nonzero(found == width) for width in widths]) <= 1
    assert sum(int(plan.cross.sum()) for plan in plans) == pytest.approx(particles * count * cross_fraction, abs=0.5)
    for plan in plans:
        masks = plan.masks(size)
        assert masks.dtype == np.uint8
        assert np.array_equal(masks.sum(axis=(1, 2, 3)), gap_voxels(size, plan.width, plan.cross))
        assert np.array_equal(masks[:, 0, -1].argmax(axis=1), (size - plan.width) // 2)
        assert not masks[plan.cross == 1][:, :, [*range(BORDER_PX), *range(-BORDER_PX, 0)], 0].any()


def test_widths_are_shuffled_within_a_particle():
    plan = plan_gaps(0, 64, widths=[3, 6], cross_fraction=0.5, size=16, rng=np.random.default_rng(1))
    assert not np.array_equal(plan.width, np.resize([3, 6], 64))
    assert 4 < np.count_nonzero(plan.cross[plan.width == 3]) < 28
    assert len(np.unique(plan.height)) > 4


@given(SHAPES, st.integers(1, 4), st.integers(1, 40), st.sampled_from([0.0, 1.0, 4.0]), st.integers(0, 99))
def test_corners_are_legal_and_repeat(shape, size, count, bias, seed):
    corners = draw_corners(shape, size, count, bias, np.random.default_rng(seed))
    assert corners.shape == (count, 3)
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


def test_extraction_is_slicing():
    array = np.arange(10 * 11 * 12, dtype=np.uint32).reshape(10, 11, 12)
    corners = np.array([[0, 0, 0], [6, 7, 8], [2, 5, 1]])
    patches = extract(array, corners, 4)
    assert patches.dtype == array.dtype
    for patch, (z, y, x) in zip(patches, corners, strict=True):
        assert np.array_equal(patch, array[z : z + 4, y : y + 4, x : x + 4])


@settings(deadline=None)
@given(SHAPES, st.data())
def test_extraction_then_stitching_is_the_identity(shape, data):
    size = data.draw(st.integers(1, min(shape)))
    stride = data.draw(st.integers(1, size))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    weights = data.draw(st.sampled_from([None, rng.uniform(0.1, 1, (size,) * 3)]))
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
