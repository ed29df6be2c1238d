"""Interpolation across gaps: exact where theory says so, silent elsewhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d

from braggworks.errors import ScanError
from braggworks.inpainting.interpolation import METHODS, interpolate, interpolate_batch


def slab(shape, axis, start, width):
    mask = np.zeros(shape, bool)
    where = [slice(None)] * len(shape)
    where[axis] = slice(start, start + width)
    mask[tuple(where)] = True
    return mask


def polynomial(shape, axis, coefficients):
    """Values that follow a polynomial along one axis and are arbitrary, but constant, along the others."""
    line = np.polynomial.Polynomial(coefficients)(np.arange(shape[axis]) / shape[axis])
    other = [size if number != axis else 1 for number, size in enumerate(shape)]
    return np.random.default_rng(1).random(other) + line.reshape([-1 if n == axis else 1 for n in range(3)])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("method", "degree"), [("nearest", 0), ("linear", 1), ("cubic", 3)])
@pytest.mark.parametrize("width", [1, 3, 6, 12])
def test_a_method_is_exact_on_polynomials_of_its_degree(axis, method, degree, width):
    shape = (20, 22, 24)
    truth = polynomial(shape, axis, [0.3, -2.0, 5.0, -3.0][: degree + 1])
    mask = slab(shape, axis, 5, width)
    np.testing.assert_allclose(interpolate(np.where(mask, np.nan, truth), mask, method), truth, atol=1e-12)


@pytest.mark.parametrize("method", ["nearest", "linear"])
def test_agreement_with_scipy(method):
    values = np.random.default_rng(2).random((4, 5, 30))
    mask = slab(values.shape, 2, 11, 6)
    line = np.flatnonzero(~mask[0, 0])
    expected = interp1d(line, values[..., line], kind=method, axis=-1)(np.arange(30))
    np.testing.assert_allclose(interpolate(values, mask, method), expected, atol=1e-12)


def test_cubic_is_scipys_polynomial_through_two_voxels_on_each_side():
    values = np.random.default_rng(3).random((2, 3, 16))
    mask = slab(values.shape, 2, 6, 5)
    nodes = np.array([4, 5, 11, 12])
    expected = interp1d(nodes, values[..., nodes], kind="cubic", axis=-1)(np.arange(6, 11))
    np.testing.assert_allclose(interpolate(values, mask, "cubic")[..., 6:11], expected, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_slabs_by_matrix_equal_voxel_by_voxel(method):
    """One stray masked voxel sends an array to the general path; elsewhere nothing may change."""
    values = np.random.default_rng(4).random((20, 20, 20)).astype(np.float32)
    mask = slab(values.shape, 2, 4, 3) | slab(values.shape, 2, 12, 4)
    stray = mask.copy()
    stray[0, 0, 0] = True
    fast, general = interpolate(values, mask, method), interpolate(values, stray, method)
    np.testing.assert_allclose(fast[1:], general[1:], atol=2e-6)


@pytest.mark.parametrize("method", METHODS)
def test_cross_is_covered_and_its_crossing_averages_both_axes(method):
    shape = (6, 20, 20)
    truth = np.broadcast_to(np.add.outer(np.arange(20.0), 2 * np.arange(20.0)), shape)
    mask = slab(shape, 1, 8, 4) | slab(shape, 2, 6, 4)
    filled = interpolate(np.where(mask, np.nan, truth), mask, method)
    assert np.isfinite(filled).all()
    if method != "nearest":
        np.testing.assert_allclose(filled, truth, atol=1e-9)


def test_crossing_of_unequal_slabs_follows_the_narrower_one():
    values = np.random.default_rng(5).random((3, 24, 24))
    narrow, wide = slab(values.shape, 2, 10, 3), slab(values.shape, 1, 8, 7)
    filled = interpolate(values, narrow | wide, "linear")
    first = interpolate(values, wide, "linear")
    expected = interpolate(np.where(narrow, 0, first), narrow, "linear")
    np.testing.assert_allclose(filled[narrow & wide], expected[narrow & wide], atol=1e-12)


def test_single_voxel_is_the_mean_of_its_three_axes():
    values = np.random.default_rng(6).random((5, 5, 5))
    mask = np.zeros(values.shape, bool)
    mask[2, 2, 2] = True
    neighbours = [values[1, 2, 2], values[3, 2, 2], values[2, 1, 2], values[2, 3, 2], values[2, 2, 1], values[2, 2, 3]]
    assert interpolate(values, mask)[2, 2, 2] == pytest.approx(np.mean(neighbours))


@pytest.mark.parametrize("method", METHODS)
def test_gap_at_the_edge_takes_the_nearest_measured_voxel(method):
    values = np.random.default_rng(7).random((4, 6, 12))
    mask = slab(values.shape, 2, 0, 3) | slab(values.shape, 2, 10, 2)
    filled = interpolate(np.where(mask, np.nan, values), mask, method)
    np.testing.assert_array_equal(filled[..., :3], np.repeat(values[..., 3:4], 3, axis=-1))
    np.testing.assert_array_equal(filled[..., 10:], np.repeat(values[..., 9:10], 2, axis=-1))


def test_cubic_falls_back_to_linear_beside_the_edge():
    values = np.random.default_rng(8).random((3, 4, 10))
    mask = slab(values.shape, 2, 1, 3)
    np.testing.assert_allclose(interpolate(values, mask, "cubic"), interpolate(values, mask, "linear"))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    density=st.floats(0.0, 0.9),
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    method=st.sampled_from(METHODS),
)
def test_any_mask_is_filled_and_measured_voxels_are_untouched(seed, density, shape, method):
    generator = np.random.default_rng(seed)
    values = generator.random(shape).astype(np.float32)
    mask = generator.random(shape) < density
    mask[tuple(generator.integers(0, shape))] = False
    filled = interpolate(np.where(mask, np.float32(np.nan), values), mask, method)
    assert filled.dtype == np.float32
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[~mask], values[~mask])
    if method != "cubic":
        assert filled.min() >= values[~mask].min() - 1e-6
        assert filled.max() <= values[~mask].max() + 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_batch_equals_one_by_one(method):
    generator = np.random.default_rng(9)
    values = generator.random((6, 16, 16, 16)).astype(np.float32)
    mask = np.stack([slab((16, 16, 16), 2, 4 + n % 3, 3 + n % 2) for n in range(6)])
    mask[3] |= slab((16, 16, 16), 1, 5, 4)
    mask[5] = False
    together = interpolate_batch(values, mask.astype(np.uint8), method)
    for one, gap, expected in zip(values, mask, together, strict=True):
        np.testing.assert_allclose(interpolate(one, gap, method), expected, rtol=1e-6)
    np.testing.assert_array_equal(together[5], values[5])


def test_input_is_left_alone():
    values = np.random.default_rng(10).random((4, 4, 8))
    before = values.copy()
    mask = slab(values.shape, 2, 2, 3)
    interpolate(values, mask)
    np.testing.assert_array_equal(values, before)
    assert mask.sum() == 48


def test_an_array_without_measured_voxels_is_refused():
    with pytest.raises(ScanError, match="covers a whole array"):
        interpolate(np.ones((4, 4, 4)), np.ones((4, 4, 4), bool))
    blocked = np.zeros((2, 4, 4, 4), bool)
    blocked[1] = True
    with pytest.raises(ScanError, match="covers a whole array"):
        interpolate_batch(np.ones((2, 4, 4, 4)), blocked)


def test_wrong_shapes_and_methods_are_refused():
    with pytest.raises(ValueError, match="must share a shape"):
        interpolate(np.ones((4, 4)), np.ones((4, 4), bool))
    with pytest.raises(ValueError, match="unknown method"):
        interpolate(np.ones((4, 4, 4)), np.zeros((4, 4, 4), bool), "spline")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch"):
        interpolate_batch(np.ones((4, 4, 4)), np.zeros((4, 4, 4), bool))
