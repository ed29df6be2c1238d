"""What one step of training predicts and minimises, by the network's task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from braggworks.config import PhaseLossConfig, TrainingConfig
from braggworks.losses import inpainting_loss
from braggworks.networks import GapNetwork, Network, PatchPhaseNetwork, PhaseNetwork
from braggworks.phase_losses import (
    Weighting,
    moduli_and_phases_error,
    object_error,
    unwrapped_error,
    weighted_coherent_average,
    weighted_cosine,
)
from braggworks.training.phase_patches import PhasePatch
from braggworks.training.phase_samples import PhaseSample

Objective = tuple[Callable[[Any], Tensor], Callable[[Tensor, Any], Tensor]]


def objective(network: Network, config: TrainingConfig) -> Objective:
    """Return two functions: a batch's prediction, and, in float32, the mean loss of a prediction and its batch.

    In training, the loss of a network in stages is a mean over them, `staged_loss`; else, it is that of the last one.
    """
    if isinstance(network, PhaseNetwork):
        loss = config.phase_loss or PhaseLossConfig()
        return (
            lambda batch: network.phases_by_stage(batch.values, batch.counts)[0 if network.training else -1 :],
            lambda stages, batch: staged_loss(stages, batch, loss),
        )
    if isinstance(network, PatchPhaseNetwork):
        weighting = (config.phase_loss or PhaseLossConfig()).weighting
        return (
            lambda batch: network(batch.values, batch.guess, batch.known),
            lambda prediction, batch: patch_loss(prediction, batch, weighting).mean(),
        )
    assert isinstance(network, GapNetwork)  # noqa: S101
    return (
        lambda batch: network.fill(batch.values, batch.mask),
        lambda prediction, batch: inpainting_loss(prediction, batch.truth, batch.mask, config.loss),
    )


def staged_loss(stages: Tensor, batch: PhaseSample, config: PhaseLossConfig) -> Tensor:
    """Return the mean loss of phases (stages, batch, 1, ...) over batch and stages, which weigh 1, 2, 3 and so on."""
    losses = [phase_loss(phases, batch.truth, batch.counts, config).mean() for phases in stages]
    total = sum(number * loss for number, loss in enumerate(losses, 1))
    return torch.as_tensor(total) * (2 / (len(losses) * (len(losses) + 1)))


def patch_loss(prediction: Tensor, patch: PhasePatch, weighting: Weighting) -> Tensor:
    """Return the loss of each patch, (batch,): WCA, or the cosine outside of a guess, which fixes sign and constant."""
    free = patch.known.flatten(1).sum(1) == 0
    counts = patch.counts * (1 - patch.known)
    coherent = weighted_coherent_average(prediction, patch.truth, counts, weighting)
    return torch.where(free, coherent, weighted_cosine(prediction, patch.truth, counts, weighting))


def phase_loss(prediction: Tensor, truth: Tensor, counts: Tensor, config: PhaseLossConfig) -> Tensor:
    """Return the configured loss of each sample, (batch,); arrays as in `braggworks.phase_losses`."""
    match config.kind:
        case "wca":
            return weighted_coherent_average(prediction, truth, counts, config.weighting)
        case "object":
            return object_error(prediction, truth, counts, twins=config.twins)
        case "moduli_and_phases":
            return moduli_and_phases_error(prediction, truth, counts)
        case "unwrapped":
            return unwrapped_error(prediction, truth, counts, config.weighting)
