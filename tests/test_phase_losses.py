"""Losses of reciprocal-space phases, and the network that predicts them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from phasing_inputs import faceted

from braggworks.networks.rsp_unet_3d import RspUNet3D
from braggworks.phase_losses import (
    WEIGHTINGS,
    moduli_and_phases_error,
    object_error,
    unwrapped_error,
    weighted_coherent_average,
)
from braggworks.phasing.alignment import twin

every_weighting = pytest.mark.parametrize("weighting", list(WEIGHTINGS))


def waves(size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Return phases and counts of two objects."""
    found = [np.fft.fftn(np.fft.ifftshift(faceted(size, seed))) for seed in (0, 1)]
    phase = torch.tensor(np.stack([np.angle(each)[None] for each in found]))
    counts = torch.tensor(np.stack([np.abs(each)[None] ** 2 for each in found]))
    return phase, counts


@every_weighting
@settings(deadline=None, max_examples=30)
@given(constant=st.floats(-50, 50), seed=st.integers(0, 99))
def test_a_constant_turns_and_the_twin_do_not_matter(weighting: str, constant: float, seed: int) -> None:
    truth, counts = waves()
    rng = torch.Generator().manual_seed(seed)
    prediction = truth + 0.7 * torch.randn(truth.shape, generator=rng, dtype=truth.dtype)
    wanted = weighted_coherent_average(prediction, truth, counts, weighting)
    turns = 2 * np.pi * torch.randint(-3, 4, truth.shape, generator=rng)
    signs = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1, 1)
    for other in (prediction + constant, prediction + turns, -prediction, signs * prediction):
        found = weighted_coherent_average(other, truth, counts, weighting)
        torch.testing.assert_close(found, wanted, atol=1e-9, rtol=1e-6)
    assert ((wanted > 0) & (wanted < 1)).all()


@every_weighting
def test_it_is_0_at_the_truth_and_near_1_for_random_phases(weighting: str) -> None:
    truth, counts = waves(32)
    exact = weighted_coherent_average(truth, truth, counts, weighting)
    torch.testing.assert_close(exact, torch.zeros(2, dtype=exact.dtype), atol=1e-9, rtol=0)
    if weighting != "intensity":  # a handful of voxels hold nearly all of it
        noise = 2 * np.pi * torch.rand(truth.shape, generator=torch.Generator().manual_seed(0))
        assert (weighted_coherent_average(noise, truth, counts, weighting) > 0.9).all()


def test_weights_say_which_voxels_count() -> None:
    truth, counts = waves()
    wrong = torch.where(counts > counts.quantile(0.9), 1.0, 0.0)
    found = {name: float(weighted_coherent_average(truth + wrong, truth, counts, name)[0]) for name in WEIGHTINGS}
    assert found["uniform"] < found["log_intensity"] < found["amplitude"]


def test_the_twin_has_the_negative_phase() -> None:
    found = faceted(16)
    phases = [torch.tensor(np.angle(np.fft.fftn(np.fft.ifftshift(each))))[None, None] for each in (found, twin(found))]
    counts = torch.tensor(np.abs(np.fft.fftn(found)) ** 2)[None, None]
    # Where nothing is diffracted, the phase is chance.
    assert float(weighted_coherent_average(phases[1], -phases[0], counts)) < 1e-6
    assert float(object_error(phases[1], phases[0], counts)) < 1e-6
    assert float(object_error(phases[1], phases[0], counts, twins=False)) > 0.1


def test_object_errors_are_those_of_the_objects() -> None:
    truth, counts = waves()
    prediction = truth + 0.5 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1), dtype=truth.dtype)
    objects = [
        torch.fft.ifftn(torch.polar(counts.sqrt(), each), dim=(2, 3, 4), norm="ortho") for each in (prediction, truth)
    ]
    wanted = (objects[0] - objects[1]).abs().square().sum((1, 2, 3, 4)) / counts.sum((1, 2, 3, 4))
    torch.testing.assert_close(object_error(prediction, truth, counts, twins=False), wanted)
    assert (object_error(prediction, truth, counts) <= wanted).all()
    torch.testing.assert_close(object_error(prediction + 2, -truth, counts), object_error(prediction, truth, counts))


def test_moduli_and_phases_are_those_of_the_thesis() -> None:
    objects = np.stack([faceted(16, seed, phase_range=1.0) for seed in (0, 1)])
    waves_of = [np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(each))) for each in objects]
    truth = torch.tensor(np.angle(waves_of))[:, None]
    counts = torch.tensor(np.abs(waves_of) ** 2)[:, None]
    exact = moduli_and_phases_error(truth, truth, counts)
    torch.testing.assert_close(exact, torch.zeros(2, dtype=exact.dtype))
    # A constant phase changes no modulus, and each voxel inside by its square.
    inside = torch.tensor((objects != 0).mean((1, 2, 3)))
    torch.testing.assert_close(moduli_and_phases_error(truth + 0.3, truth, counts), 0.09 * inside)
    prediction = truth + 0.5 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1), dtype=truth.dtype)
    guess = np.fft.fftshift(
        np.fft.ifftn(np.fft.ifftshift(counts[0, 0].sqrt().numpy() * np.exp(1j * prediction[0, 0].numpy())))
    )
    wanted = np.mean((np.abs(guess) - np.abs(objects[0])) ** 2)
    wanted += np.mean((objects[0] != 0) * (np.angle(guess) - np.angle(objects[0])) ** 2)
    assert float(moduli_and_phases_error(prediction, truth, counts)[0]) == pytest.approx(float(wanted), rel=1e-6)
    assert float(moduli_and_phases_error(-truth, truth, counts).min()) > 0.1 * float(inside.min())


def test_unwrapped_phases_are_compared_without_their_means() -> None:
    truth, counts = waves()
    exact = unwrapped_error(4 - truth, truth, counts)
    torch.testing.assert_close(exact, torch.zeros(2, dtype=exact.dtype), atol=1e-20, rtol=0)
    torch.testing.assert_close(
        unwrapped_error(1.5 * truth, truth, counts), 0.25 * truth.var((1, 2, 3, 4), correction=0), atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("loss", [weighted_coherent_average, object_error, moduli_and_phases_error, unwrapped_error])
def test_gradients_are_finite_everywhere(loss) -> None:
    truth, counts = waves()
    for start in (truth.clone(), torch.zeros_like(truth), truth + np.pi):
        prediction = start.requires_grad_()
        loss(prediction, truth, counts * (counts > counts.mean())).sum().backward()
        assert torch.isfinite(prediction.grad).all()


@pytest.mark.parametrize("loss", [weighted_coherent_average, object_error, unwrapped_error])
def test_a_constant_prediction_is_left_in_some_direction(loss) -> None:
    truth, counts = waves()
    prediction = torch.zeros_like(truth).requires_grad_()
    loss(prediction, truth, counts).sum().backward()
    assert prediction.grad.abs().max() > 1e-6


def test_descent_finds_the_phase_or_its_twin() -> None:
    truth, counts = waves()
    found = torch.zeros_like(truth).requires_grad_()
    optimiser = torch.optim.Adam([found], 0.1)
    for _ in range(150):
        loss = weighted_coherent_average(found, truth, counts).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.02


# --- the network ---


def test_published_size() -> None:
    with torch.device("meta"):
        network = RspUNet3D()
    assert sum(parameter.numel() for parameter in network.parameters()) == 143_759_937


def test_every_parameter_learns_and_the_phase_has_the_patterns_shape() -> None:
    torch.manual_seed(0)
    network = RspUNet3D(0.05)
    values = torch.rand(1, 1, 64, 64, 64)
    phase = network(values)
    assert phase.shape == values.shape
    phase.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in network.parameters())
