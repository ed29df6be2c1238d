"""A network joined with the scan's own linear predictor."""

import numpy as np
import pytest

from braggworks.inpainting.adapted import AdaptedInpainter
from braggworks.inpainting.interpolation import interpolate
from braggworks.inpainting.linear_predictor import predict_gaps
from braggworks.inpainting.whole_scan import Inpainted


class Interpolating:
    """Stands in for a network: linear interpolation, or the truth with an error of its own."""

    unit, patch, widths_px = "slab", None, (2, 41)

    def __init__(self, truth=None, error=0.0):
        self.truth, self.error = truth, error

    def fill(self, counts, mask):
        return counts

    def steps(self, mask):
        return 1

    def fill_scan(self, counts, mask, progress=lambda steps: None):
        progress(1)
        logs = interpolate(np.log1p(np.where(mask, 0, counts).astype(np.float32)), mask)
        if self.truth is not None:
            noise = np.random.default_rng(5).standard_normal(mask.shape)
            logs = np.maximum(np.log1p(self.truth) + self.error * noise, 0)
        filled = np.where(mask, np.expm1(logs), counts).astype(np.float32)
        return Inpainted(filled, np.zeros(mask.shape, np.float32), mask.astype(np.uint16), 1)


def fringes(size=48):
    z, y, x = np.meshgrid(*[np.arange(size) - size // 2] * 3, indexing="ij")
    expected = np.exp(np.cos(2 * np.pi * (x + 0.3 * y) / 7) + np.cos(2 * np.pi * (y - 0.2 * z) / 9) + 2)
    return np.random.default_rng(0).poisson(expected).astype(np.uint32)


def slab(start=20, width=4, axis=2, size=48):
    mask = np.zeros((size,) * 3, bool)
    np.moveaxis(mask, axis, 2)[..., start : start + width] = True
    return mask


def error(found, truth, mask):
    return float(np.sqrt(np.mean((np.log1p(found) - np.log1p(truth))[mask] ** 2)))


@pytest.mark.parametrize("axis", [0, 2])
def test_it_is_no_worse_than_either(axis):
    truth, mask = fringes(), slab(axis=axis)
    predicted = np.expm1(predict_gaps(np.log1p(np.where(mask, 0, truth)).astype(np.float32), mask))
    for network in (Interpolating(), Interpolating(truth, 0.3), Interpolating(truth, 0.6)):
        alone = network.fill_scan(truth, mask).counts
        joined = AdaptedInpainter(network).fill_scan(truth, mask).counts
        best = min(error(alone, truth, mask), error(predicted, truth, mask))
        assert error(joined, truth, mask) < 1.02 * best
        assert np.array_equal(joined[~mask], truth[~mask])
    # Errors of their own are averaged out.
    both = AdaptedInpainter(Interpolating(truth, 0.4)).fill_scan(truth, mask).counts
    assert error(both, truth, mask) < 0.9 * min(0.4, error(predicted, truth, mask))


def test_what_is_hidden_is_not_looked_at_and_steps_are_told():
    truth = fringes()
    mask = slab() | slab(start=30, axis=1)
    adapted, done = AdaptedInpainter(Interpolating()), []
    found = adapted.fill_scan(np.where(mask, np.uint32(1_000_000), truth), mask, done.append)
    again = adapted.fill_scan(np.where(mask, np.uint32(0), truth), mask)
    assert np.array_equal(found.counts[mask], again.counts[mask])
    assert sum(done) == adapted.steps(mask) == found.steps > 2


def test_without_room_beside_the_gap_it_is_the_network():
    truth, mask = fringes(20), slab(8, 4, size=20)
    network = Interpolating()
    assert np.array_equal(
        AdaptedInpainter(network).fill_scan(truth, mask).counts, network.fill_scan(truth, mask).counts
    )


def test_a_wide_gap_is_the_networks():
    truth, mask = fringes(72), slab(28, 17, size=72)
    network = Interpolating()
    adapted = AdaptedInpainter(network)
    assert adapted.steps(mask) == 1
    assert np.array_equal(adapted.fill_scan(truth, mask).counts, network.fill_scan(truth, mask).counts)
