"""Baselines beyond interpolation along a line: what they must reproduce, and what they must leave alone."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from braggworks.evaluation.gap_protocol import smooth
from braggworks.inpainting.interpolation import interpolate
from braggworks.inpainting.linear_predictor import SIZES, fit_predictor, predict_gaps
from braggworks.inpainting.variational import fill_biharmonic, fill_total_variation

Fill = Callable[[np.ndarray, np.ndarray], np.ndarray]
BASELINES: tuple[Fill, ...] = (predict_gaps, fill_biharmonic, fill_total_variation)
every_baseline = pytest.mark.parametrize("fill", BASELINES, ids=lambda fill: fill.__name__)


def fringes(size: int = 48, noise: float = 0.0) -> np.ndarray:
    """Crossed fringes of periods that a line through the gap cannot follow."""
    z, y, x = np.meshgrid(*[np.arange(size) - size // 2] * 3, indexing="ij")
    pattern = np.cos(2 * np.pi * (x + 0.3 * y) / 7) + np.cos(2 * np.pi * (x - 0.2 * z) / 9) + 3
    return (pattern + noise * np.random.default_rng(0).standard_normal(pattern.shape)).astype(np.float32)


def slab(size: int = 48, start: int = 26, width: int = 6, axis: int = 2) -> np.ndarray:
    mask = np.zeros((size,) * 3, bool)
    np.moveaxis(mask, axis, 2)[..., start : start + width] = True
    return mask


def error(found: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - truth)[mask] ** 2)))


@every_baseline
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_measured_voxels_stay_and_what_is_hidden_is_not_looked_at(fill: Fill, axis: int) -> None:
    truth, mask = fringes(), slab(axis=axis)
    hidden = np.where(mask, np.float32(1e6), truth)
    found = fill(hidden, mask)
    assert found.dtype == np.float32
    assert np.array_equal(found[~mask], truth[~mask])
    assert np.array_equal(found, fill(np.where(mask, np.nan, truth), mask))
    assert np.array_equal(np.asarray(hidden[mask]), np.full(mask.sum(), 1e6, np.float32))


@every_baseline
def test_without_a_gap_nothing_happens(fill: Fill) -> None:
    truth = fringes(24)
    assert np.array_equal(fill(truth, np.zeros(truth.shape, bool)), truth)


@every_baseline
def test_a_constant_is_continued(fill: Fill) -> None:
    truth = np.full((40, 40, 40), 2.5, np.float32)
    np.testing.assert_allclose(fill(truth, slab(40, 20, 6)), truth, atol=1e-5)


def test_the_predictor_follows_fringes_that_repeat() -> None:
    truth, mask = fringes(noise=0.05), slab()
    linear = error(interpolate(truth, mask), truth, mask)
    assert error(predict_gaps(truth, mask), truth, mask) < 0.2 * linear


@pytest.mark.parametrize("axes", [(1, 2), (0, 2)])
def test_the_predictor_fills_both_arms_of_a_cross(axes: tuple[int, int]) -> None:
    truth = fringes(noise=0.05)
    mask = slab(axis=axes[0], start=30) | slab(axis=axes[1])
    found = predict_gaps(truth, mask)
    linear = interpolate(truth, mask)
    for axis in axes:
        arm = slab(axis=axis, start=30 if axis == axes[0] else 26)
        assert error(found, truth, arm) < 0.5 * error(linear, truth, arm)


def test_the_predictor_looks_as_far_as_it_helps() -> None:
    noise = np.random.default_rng(1).standard_normal((48, 48, 48)).astype(np.float32)
    coarse = gaussian_filter(np.random.default_rng(2).standard_normal(noise.shape), 2.5).astype(np.float32)
    # Of a random walk across the gap, its neighbours say all; of a noisy array, averages over more say more.
    walk, noisy = noise.cumsum(axis=2), coarse + 0.5 * coarse.std() * noise
    near, far = (fit_predictor(array, np.zeros(array.shape, bool), 3, 20) for array in (walk, noisy))
    assert near is not None
    assert far is not None
    assert (near.planes, near.half) == SIZES[0]
    assert far.half > near.half
    assert far.weights.shape == (2 * far.planes * (2 * far.half + 1) ** 2, 3)
    # No room for more than the least.
    least = fit_predictor(coarse, np.zeros(coarse.shape, bool), 3, 4)
    assert least is not None and (least.planes, least.half) == SIZES[0]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_smooth_continuation_is_the_same_along_every_axis(axis: int) -> None:
    truth, mask = fringes(32), slab(32, 12, 4)
    expected = smooth(np.expm1(truth)[None], mask[None])[0]
    turned = smooth(np.expm1(np.moveaxis(truth, 2, axis))[None], np.moveaxis(mask, 2, axis)[None])[0]
    assert np.moveaxis(turned, axis, 2) == pytest.approx(expected, rel=1e-3)


def test_the_predictor_interpolates_where_there_is_nothing_to_fit_to() -> None:
    truth, mask = fringes(20), slab(20, 8, 4)
    assert np.array_equal(predict_gaps(truth, mask), interpolate(truth, mask))


def test_biharmonic_filling_continues_a_cubic() -> None:
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, 32)] * 3, indexing="ij")
    truth, mask = (x**3 - x * y + 0.5 * z).astype(np.float64), slab(32, 12, 6)
    found = fill_biharmonic(truth, mask)
    # Exact but for the array's free ends.
    inner = np.s_[8:-8, 8:-8]
    assert np.abs(found - truth)[inner].max() < 0.01 < np.abs(interpolate(truth, mask) - truth)[inner].max()


def test_total_variation_keeps_an_edge_sharp() -> None:
    truth = np.zeros((24, 24, 24), np.float32)
    truth[:, :12] = 1
    mask = slab(24, 10, 5)
    found = fill_total_variation(truth, mask)
    assert np.abs(found - truth).max() < 0.05


def test_total_variation_is_least() -> None:
    truth, mask = fringes(24), slab(24, 10, 4)
    found = fill_total_variation(truth, mask)

    def variation(array: np.ndarray) -> float:
        parts = [np.diff(array, axis=a, append=np.take(array, [-1], a)) for a in range(3)]
        return float(np.sqrt(np.sum(np.square(parts), axis=0)).sum())

    best, rng = variation(found), np.random.default_rng(0)
    assert best < variation(interpolate(truth, mask))
    for size in (0.1, 0.01):
        assert variation(found + size * mask * rng.standard_normal(found.shape)) > best
