"""Losses: zero at the truth, blind outside the gap where they claim to be, and SSIM against its definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from braggworks.config import LossConfig
from braggworks.losses import gap_error, gap_gradient_error, gap_poisson_deviance, inpainting_loss, ssim

GAP_TERMS = (gap_error, gap_gradient_error)
seeds = st.integers(0, 2**31)
widths = st.integers(1, 6)


def draw(seed, width=3, batch=2, size=12):
    generator = torch.Generator().manual_seed(seed)
    prediction, truth = (torch.rand(batch, 1, size, size, size, generator=generator) for _ in range(2))
    mask = torch.zeros_like(truth)
    mask[..., (size - width) // 2 : (size - width) // 2 + width] = 1
    return prediction, truth, mask


@settings(max_examples=10, deadline=None)
@given(seeds, widths, st.sampled_from(["mae", "mse"]))
def test_loss_is_zero_at_the_truth_and_positive_elsewhere(seed, width, norm):
    prediction, truth, mask = draw(seed, width)
    config = LossConfig(error=norm)
    assert inpainting_loss(truth, truth, mask, config).item() == pytest.approx(0, abs=1e-5)
    assert inpainting_loss(prediction, truth, mask, config).item() > 0.1


@settings(max_examples=10, deadline=None)
@given(seeds, widths, st.sampled_from(GAP_TERMS), st.sampled_from(["mae", "mse"]))
def test_gap_terms_ignore_predictions_outside_the_gap(seed, width, term, norm):
    prediction, truth, mask = draw(seed, width)
    other = torch.where(mask > 0, prediction, torch.rand_like(prediction))
    assert term(prediction, truth, mask, norm) == term(other, truth, mask, norm)


@pytest.mark.parametrize("axis", [2, 3, 4])
def test_losses_are_mirror_symmetric(axis):
    parts = draw(5)
    mirrored = [part.flip(axis) for part in parts]
    config = LossConfig(gap=2, ssim=3, gradient=5)
    torch.testing.assert_close(inpainting_loss(*parts, config), inpainting_loss(*mirrored, config))


def test_samples_count_alike_whatever_their_gap():
    prediction, truth, mask = draw(1)
    mask[1, ..., :9] = 1
    for term in GAP_TERMS:
        each = [term(prediction[i : i + 1], truth[i : i + 1], mask[i : i + 1]) for i in range(2)]
        torch.testing.assert_close(term(prediction, truth, mask), sum(each) / 2)


def test_gap_error_of_a_constant_offset():
    _, truth, mask = draw(2)
    assert gap_error(truth + 0.5, truth, mask, "mae").item() == pytest.approx(0.5, rel=1e-5)
    assert gap_error(truth + 0.5, truth, mask, "mse").item() == pytest.approx(0.25, rel=1e-5)


def test_gradient_error_of_a_constant_offset_is_the_step_at_the_edges():
    _, truth, mask = draw(2, width=4, size=12)
    # Along x 5 of the pairs touch the gap and 2 of them see the step; along y and z all 11 * 4 pairs touch it.
    assert gap_gradient_error(truth + 0.5, truth, mask, "mae").item() == pytest.approx(
        0.5 * 2 * 144 / (5 * 144 + 2 * 11 * 12 * 4), rel=1e-5
    )


def test_without_a_gap_the_gap_terms_are_zero():
    prediction, truth, mask = draw(3)
    for term in GAP_TERMS:
        assert term(prediction, truth, torch.zeros_like(mask)).item() == 0


@settings(max_examples=10, deadline=None)
@given(seeds, st.sampled_from([8, 11, 12, 16]))
def test_ssim_is_one_for_identical_and_symmetric_otherwise(seed, size):
    a, b, _ = draw(seed, size=size)
    torch.testing.assert_close(ssim(a, a), torch.ones(2))
    torch.testing.assert_close(ssim(a, b), ssim(b, a))
    assert (ssim(a, b) < 0.5).all()


@pytest.mark.parametrize("size", [9, 13])
def test_ssim_is_its_definition(size):
    a, b, _ = draw(7, size=size)
    width = min(11, size)
    line = np.exp(-0.5 * ((np.arange(width) - width // 2) / 1.5) ** 2)
    window = np.einsum("i,j,k->ijk", line, line, line) / line.sum() ** 3

    def average(x):
        return np.einsum("zyxijk,ijk->zyx", sliding_window_view(x, (width,) * 3), window)

    for i in range(2):
        x, y = a[i, 0].double().numpy(), b[i, 0].double().numpy()
        mx, my = average(x), average(y)
        vx, vy, cxy = average(x * x) - mx**2, average(y * y) - my**2, average(x * y) - mx * my
        index = (2 * mx * my + 1e-4) * (2 * cxy + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
        assert ssim(a, b)[i].item() == pytest.approx(index.mean(), rel=1e-4)


def test_loss_is_the_weighted_sum():
    prediction, truth, mask = draw(9)
    terms = [
        gap_error(prediction, truth, mask, "mae"),
        (1 - ssim(prediction, truth)).mean(),
        gap_gradient_error(prediction, truth, mask, "mae"),
    ]
    weights = (2.0, 3.0, 5.0)
    for keep in ((1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)):
        used = dict(zip(("gap", "ssim", "gradient"), (w * k for w, k in zip(weights, keep, strict=True)), strict=True))
        expected = sum(w * k * t for w, k, t in zip(weights, keep, terms, strict=True))
        torch.testing.assert_close(inpainting_loss(prediction, truth, mask, LossConfig(error="mae", **used)), expected)


def test_gradients_are_those_of_the_loss():
    prediction, truth, mask = (part.double() for part in draw(4, batch=1, size=5))
    prediction.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: inpainting_loss(p, truth, mask, LossConfig()), prediction)


def test_the_poisson_deviance_is_least_at_the_truth_and_grows_as_the_likelihood_says():
    rng = torch.Generator().manual_seed(0)
    rate = torch.full((2, 1, 4, 8, 8), 20.0)
    counts = torch.poisson(rate, generator=rng)
    mask = torch.zeros_like(counts)
    mask[..., 2:6] = 1

    def loss(expected):
        return gap_poisson_deviance(torch.log1p(expected), torch.log1p(counts), mask)

    assert loss(counts) == pytest.approx(0, abs=1e-5)
    # The deviance of a right model is about 1 per count.
    assert loss(rate) * 21 == pytest.approx(1, rel=0.25)
    assert loss(rate) < loss(rate * 1.2) < loss(rate * 1.5)
    inside = (mask > 0).expand_as(counts)
    expected = rate * 1.3
    gain = torch.distributions.Poisson(rate).log_prob(counts) - torch.distributions.Poisson(expected).log_prob(counts)
    difference = (loss(expected) - loss(rate)) * (1 + counts[inside].view(2, -1).mean(1)).mean()
    assert difference == pytest.approx(2 * float(gain[inside].mean()), rel=0.02)
    spoilt = torch.where(inside, expected, torch.full((), 1e6))
    assert loss(spoilt) == loss(expected)


def test_the_poisson_deviance_has_gradients_where_nothing_is_expected():
    prediction = torch.zeros(1, 1, 2, 2, 4, requires_grad=True)
    gap_poisson_deviance(prediction, torch.ones(1, 1, 2, 2, 4), torch.ones(1, 1, 2, 2, 4)).backward()
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()
    assert (prediction.grad < 0).all()
