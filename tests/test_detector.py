"""The detector: photon budget and noise, dead and hot pixels."""

import numpy as np
import pytest

from braggworks.campaigns import DetectorConfig
from braggworks.diffraction.detector import detect, poisson_counts
from braggworks.errors import ConfigError

INTENSITY = np.random.default_rng(0).lognormal(0, 2, (12, 40, 50))
FLUX = (1e6, 1e6)


def run(task="inpaint", seed=1, intensity=INTENSITY, **config):
    rng = np.random.default_rng(seed)
    return detect(intensity, DetectorConfig(**{"total_counts": FLUX, **config}), rng, task), rng


def test_budget_is_log_uniform_and_kept():
    budgets = []
    for seed in range(400):
        found, _ = run(seed=seed, intensity=INTENSITY[:2, :5, :5], total_counts=(1e2, 1e6))
        assert abs(float(found.counts.sum()) - found.total_counts) < 6 * np.sqrt(found.total_counts)
        assert found.bad is None
        budgets.append(np.log10(found.total_counts))
    assert 2 <= min(budgets) < 2.1
    assert 5.9 < max(budgets) <= 6
    assert np.mean(budgets) == pytest.approx(4, abs=0.2)


def test_counts_without_bad_pixels_are_budget_then_noise():
    found, rng = run(total_counts=(1e5, 1e7))
    plain = np.random.default_rng(1)
    photons = float(np.exp(plain.uniform(*np.log((1e5, 1e7)))))
    assert found.total_counts == photons
    assert np.array_equal(found.counts, poisson_counts(INTENSITY, photons, plain))
    assert rng.random() == plain.random()


@pytest.mark.parametrize("task", ["inpaint", "phase"])
def test_bad_pixels_change_no_other_noise(task):
    (clean, rng), (spoilt, other) = run(task), run(task, dead_fraction=0.05, hot_fraction=0.02)
    assert spoilt.bad.shape == (40, 50)
    assert spoilt.bad.mean() == pytest.approx(0.07, abs=0.02)
    assert np.array_equal(clean.counts[:, ~spoilt.bad], spoilt.counts[:, ~spoilt.bad])
    assert rng.random() == other.random()


def test_truth_is_complete_where_gaps_are_to_be_filled():
    found, _ = run("inpaint", dead_fraction=0.05, hot_fraction=0.05)
    assert np.array_equal(found.counts, run()[0].counts)


def test_dead_pixels_count_nothing_and_hot_ones_too_much_at_every_angle():
    truth = run()[0].counts.astype(np.int64)
    dead = run("phase", dead_fraction=0.05)[0]
    assert dead.bad.any()
    assert not dead.counts[:, dead.bad].any()
    hot = run("phase", hot_fraction=0.05)[0]
    extra = hot.counts[:, hot.bad] - truth[:, hot.bad]
    assert extra.min() > 50
    assert extra.max() > 3_000
    # Poisson noise of a rate that does not change with the angle.
    rate = extra.mean(axis=0)
    pull = (extra - rate) / np.sqrt(rate)
    assert pull.std() == pytest.approx(np.sqrt(11 / 12), abs=0.1)


def test_dead_and_hot_pixels_are_different_ones():
    dead = run("phase", dead_fraction=0.05)[0].bad
    both = run("phase", dead_fraction=0.05, hot_fraction=0.05)[0]
    assert not both.counts[:, dead].any()
    assert (both.counts[:, both.bad & ~dead] > 50).all()


def test_two_dimensions():
    found, _ = run("phase", intensity=INTENSITY[0], dead_fraction=0.05)
    assert found.counts.shape == found.bad.shape == (40, 50)
    assert not found.counts[found.bad].any()


def test_too_many_counts_are_refused():
    with pytest.raises(ConfigError, match=r"use a smaller detector\.total_counts"):
        run(total_counts=(1e12, 1e12))
