"""Corrections that are learned on the scan itself."""

from __future__ import annotations

import numpy as np
import pytest

from braggworks.evaluation.metrics import pcc
from braggworks.inpainting.scan_fit import correct
from braggworks.inpainting.slab_inpainter import SlabInpainter
from braggworks.networks.plane_network import PlaneNetwork
from braggworks.seeds import generator

SHAPE = (40, 72, 100)


def fringes(seed: int = 0) -> np.ndarray:
    """Counts with fringes that a smooth continuation misses."""
    z, y, x = np.indices(SHAPE)
    waves = np.sin(x * 2 * np.pi / 7 + y / 9) ** 2 * (1.5 + np.cos(y / 5 + z / 7))
    return generator("fringes", seed).poisson(60 * waves + 0.5).astype(np.float32)


def slab(axis: int, start: int, width: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    np.moveaxis(mask, axis, 0)[start : start + width] = True
    return mask


@pytest.fixture(scope="module")
def inpainter() -> SlabInpainter:
    """The untrained network, which is the smooth continuation."""
    return SlabInpainter(PlaneNetwork(0.1), (2, 41))


def score(truth: np.ndarray, filled: np.ndarray, mask: np.ndarray) -> float:
    return float(pcc(np.log1p(truth)[None], np.log1p(filled)[None], mask[None])[0])


@pytest.mark.parametrize(("axis", "start", "width"), [(2, 48, 5), (1, 33, 4)])
def test_errors_that_repeat_are_corrected(inpainter: SlabInpainter, axis: int, start: int, width: int) -> None:
    truth, mask = fringes(), slab(axis, start, width)
    found = inpainter.fill_scan(np.where(mask, np.float32(0), truth), mask)
    better = correct(inpainter, found, mask)
    assert score(truth, better.counts, mask) > score(truth, found.counts, mask) + 0.02
    np.testing.assert_array_equal(better.counts[~mask], truth[~mask])
    assert (better.counts >= 0).all()


def test_what_lies_under_the_mask_is_not_seen(inpainter: SlabInpainter) -> None:
    truth, mask = fringes(), slab(2, 48, 5)
    one, other = (
        correct(inpainter, inpainter.fill_scan(np.where(mask, np.float32(hidden), truth), mask), mask).counts
        for hidden in (0, 1e6)
    )
    np.testing.assert_array_equal(one, other)


def test_where_gaps_cross_nothing_changes(inpainter: SlabInpainter) -> None:
    truth, mask = fringes(), slab(2, 48, 5) | slab(1, 33, 4)
    found = inpainter.fill_scan(np.where(mask, np.float32(0), truth), mask)
    crossing = slab(2, 48, 5) & slab(1, 33, 4)
    better = correct(inpainter, found, mask).counts
    np.testing.assert_array_equal(better[crossing], found.counts[crossing])
    assert not np.array_equal(better[mask], found.counts[mask])


def test_a_scan_without_room_stays_as_it_is(inpainter: SlabInpainter) -> None:
    truth, mask = fringes()[..., :30], slab(2, 12, 6)[..., :30]
    found = inpainter.fill_scan(np.where(mask, np.float32(0), truth), mask)
    np.testing.assert_array_equal(correct(inpainter, found, mask).counts, found.counts)


def test_noise_alone_is_not_corrected(inpainter: SlabInpainter) -> None:
    truth, mask = generator("noise").poisson(3.0, SHAPE).astype(np.float32), slab(2, 48, 5)
    found = inpainter.fill_scan(np.where(mask, np.float32(0), truth), mask)
    error = [
        float(np.square(np.log1p(c) - np.log1p(truth))[mask].mean())
        for c in (correct(inpainter, found, mask).counts, found.counts)
    ]
    assert error[0] <= error[1] * 1.01
