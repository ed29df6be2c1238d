"""The band limit: exact where fringes are wide and noise is low, and no worse than the guess where they are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braggworks.inpainting.band_limit import REACH, find_band
from braggworks.inpainting.continuation import continue_planes


def diffraction(ratio, shape=(48, 20, 22), offset=40, seed=0):
    """Return intensities (planes, z, y) of scatterers within 1 / ratio of the field of view, maximum 1e5."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(-0.5, 0.5, (60, 3)) / ratio
    q = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in shape], indexing="ij"), -1) + offset
    amplitude = np.exp(2j * np.pi * q @ place.T).sum(-1)
    intensity = np.abs(amplitude) ** 2
    return torch.from_numpy(intensity * (1e5 / intensity.max()))


def split(pattern, width):
    start = (len(pattern) - width) // 2
    before, gap, after = pattern[:start], pattern[start : start + width], pattern[start + width :]
    return before[-REACH:], gap, after[:REACH]


def correlation(found, truth):
    return float(np.corrcoef(*(torch.log1p(values).flatten().numpy() for values in (found, truth)))[0, 1])


def smooth(before, after, width):
    logs = [torch.log1p(planes).float()[None] for planes in (before[-2:], after[:2])]
    return torch.expm1(continue_planes(*logs, width)[0])


@pytest.mark.parametrize(("ratio", "width"), [(3.0, 3), (4.0, 6), (6.0, 12)])
def test_it_is_exact_where_the_band_leaves_nothing_open(ratio, width):
    before, gap, after = split(diffraction(ratio), width)
    band = find_band(before, after, width)
    assert band is not None
    assert band.ratio == pytest.approx(ratio, rel=0.1)
    assert band.clean.all()
    guess = smooth(before, after, width)
    assert correlation(band.settle(guess), gap) > 0.99 > correlation(guess, gap)
    assert band.share(guess).mean() < 0.1


def test_what_the_band_leaves_open_is_the_guess():
    before, gap, after = split(diffraction(2.0), 12)
    band = find_band(before, after, 12)
    assert band is not None
    share = band.share(smooth(before, after, 12))
    assert share[5:7].mean() > 0.9
    truth = band.settle(gap)
    torch.testing.assert_close(truth, gap, rtol=0.05, atol=float(gap.mean()) * 0.05)


def test_noise_leaves_the_guess_alone():
    rng = np.random.default_rng(1)
    counts = torch.from_numpy(rng.poisson(diffraction(4.0).numpy() / 1e4).astype(np.float64))
    before, _, after = split(counts, 6)
    band = find_band(before, after, 6)
    assert band is not None
    assert not band.clean.any()
    guess = smooth(before, after, 6)
    assert torch.equal(band.settle(guess), guess.double())
    assert (band.share(guess) == 1).all()


def test_nothing_measured_says_nothing():
    assert find_band(torch.zeros(16, 20, 20), torch.zeros(16, 20, 20), 5) is None


def test_planes_on_one_side_alone_are_enough_to_start_from():
    pattern = diffraction(6.0)
    band = find_band(pattern[:0], pattern[3:19], 3)
    assert band is not None
    assert correlation(band.settle(pattern[3:4].expand(3, -1, -1)), pattern[:3]) > 0.9


def test_it_scales_with_the_intensity():
    before, _, after = split(diffraction(5.0), 6)
    guess = smooth(before, after, 6)
    one = find_band(before, after, 6)
    other = find_band(before / 1e6, after / 1e6, 6)
    assert one is not None
    assert other is not None
    assert other.ratio == one.ratio
    torch.testing.assert_close(other.settle(guess / 1e6) * 1e6, one.settle(guess), rtol=1e-4, atol=1e-3)
