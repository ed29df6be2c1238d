"""Random phase fields."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braggworks.particles.fields import COSINE_PERIOD, GAUSSIAN_WIDTH, Field, draw_field
from braggworks.seeds import generator

KINDS = ("gaussians", "cosines", "random_field", "none")


def rotation(ndim: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((ndim, ndim)))[0]


@given(st.sampled_from(KINDS), st.integers(2, 3), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_a_turned_field_has_at_turned_points_the_value_of_the_old_one(kind: str, ndim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    field, points, turn = draw_field(kind, rng, ndim), rng.uniform(-1, 1, (50, ndim)), rotation(ndim, rng)
    assert np.allclose(field.turned(turn)(points @ turn.T), field(points), atol=1e-12)


def test_the_value_is_the_sum_that_the_docstring_names() -> None:
    field = Field(
        np.array([[1.0, 2.0]]), np.array([0.5 - 2j]), np.array([[0.25, -0.5]]), np.array([0.7]), np.array([3.0])
    )
    x, y = 0.4, -0.3
    wave = 0.5 * np.cos(x + 2 * y) + 2 * np.sin(x + 2 * y)
    bump = 3 * np.exp(-((x - 0.25) ** 2 + (y + 0.5) ** 2) / (2 * 0.7**2))
    assert field(np.array([[x, y]])) == pytest.approx([wave + bump])


@pytest.mark.parametrize("ndim", [2, 3])
def test_kinds_hold_what_they_are_named_for(ndim: int) -> None:
    for seed in range(20):
        gaussians = draw_field("gaussians", generator("field", seed), ndim)
        cosines = draw_field("cosines", generator("field", seed), ndim)
        assert len(gaussians.centres) == 2 and len(gaussians.waves) == 0
        assert len(cosines.waves) == 2 and len(cosines.centres) == 0
        assert np.all((gaussians.widths >= GAUSSIAN_WIDTH[0]) & (gaussians.widths <= GAUSSIAN_WIDTH[1]))
        periods = 2 * np.pi / np.linalg.norm(cosines.waves, axis=1)
        assert np.all((periods >= COSINE_PERIOD[0]) & (periods <= COSINE_PERIOD[1]))
    assert not draw_field("none", generator("field"), ndim)(np.ones((4, ndim))).any()


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("correlation", [0.2, 0.5])
def test_the_random_field_has_unit_variance_and_the_covariance_that_it_claims(ndim: int, correlation: float) -> None:
    length = 2 * correlation
    steps = np.array([0.0, 0.5, 1.0, 2.0]) * length
    points = np.zeros((len(steps), ndim))
    points[:, -1] = steps
    values = np.array(
        [
            draw_field("random_field", generator("grf", seed), ndim, (correlation, correlation))(points)
            for seed in range(1500)
        ]
    )
    covariance = (values[:, :1] * values).mean(axis=0)
    assert values.mean(axis=0) == pytest.approx(np.zeros(len(steps)), abs=0.1)
    # The error of a covariance from 1500 draws is about 1 / sqrt(1500) = 0.026.
    assert covariance == pytest.approx(np.exp(-(steps**2) / (2 * length**2)), abs=0.1)


def test_the_same_generator_gives_the_same_field_and_another_gives_another() -> None:
    points = generator("points").uniform(-1, 1, (30, 3))
    for kind in KINDS[:3]:
        first, again, other = (draw_field(kind, generator("field", seed), 3)(points) for seed in (1, 1, 2))
        assert np.array_equal(first, again) and not np.allclose(first, other)
