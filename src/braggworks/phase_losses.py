"""What training a network for reciprocal-space phases minimises, blind to what the intensity does not tell.

A pattern does not know a constant phase, nor the object from its twin, whose phase is the negative one; phases are
known up to turns of 2 pi. Arrays are (batch, 1, z, y, x) or (batch, 1, y, x), phases in radians.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Weighting = Literal["amplitude", "log_intensity", "intensity", "uniform"]

WEIGHTINGS: dict[Weighting, Callable[[Tensor], Tensor]] = {
    "amplitude": lambda counts: counts.sqrt(),
    "log_intensity": torch.log1p,
    "intensity": lambda counts: counts,
    "uniform": torch.ones_like,
}
"""How much each voxel weighs: by the publication's square root of its counts, its public code's logarithm, or else."""

_TINY = 1e-12
_INSIDE = 0.1  # of the largest modulus


def weighted_coherent_average(
    prediction: Tensor, truth: Tensor, counts: Tensor, weighting: Weighting = "amplitude"
) -> Tensor:
    """Return 1 - |sum_k w_k exp(i (truth_k - prediction_k))| for each sample, with weights that sum to 1.

    The smaller of those of the truth and of its twin, chosen sample by sample: 0 for the truth, about 1 for random
    phases. M. Masto et al., npj Comput. Mater. (2026), 10.1038/s41524-026-02017-w.

    Parameters
    ----------
    prediction, truth
        Phases.
    counts
        Intensities, at least 0.
    weighting
        Of the voxels; see `WEIGHTINGS`.

    Returns
    -------
    Tensor
        Shape (batch,), from 0 to 1. A shifted object has another phase, and is not forgiven: labels are centred.
    """
    weights = WEIGHTINGS[weighting](counts)
    weights = weights / _total(weights, keep=True).clamp(min=_TINY)
    losses = [1 - _modulus(weights, sign * truth - prediction) for sign in (1, -1)]
    return _smaller(*losses)


def weighted_cosine(prediction: Tensor, truth: Tensor, counts: Tensor, weighting: Weighting = "amplitude") -> Tensor:
    """Return 1 - sum_k w_k cos(truth_k - prediction_k) for each sample, with weights that sum to 1.

    The real part of what `weighted_coherent_average` takes the modulus of: neither a constant nor the twin is forgiven.
    Parameters are the same.

    Returns
    -------
    Tensor
        Shape (batch,), from 0 to 2: 0 for the truth, about 1 for random phases.
    """
    weights = WEIGHTINGS[weighting](counts)
    weights = weights / _total(weights, keep=True).clamp(min=_TINY)
    return 1 - _total(weights * (truth - prediction).cos())


def object_error(prediction: Tensor, truth: Tensor, counts: Tensor, *, twins: bool = True) -> Tensor:
    """Return the mean squared difference of the objects that the measured moduli and both phases give, for each sample.

    Parameters
    ----------
    prediction, truth
        Phases.
    counts
        Intensities, at least 0; their roots are the moduli.
    twins
        Whether the twin, and any constant phase, are as good as the truth.

    Returns
    -------
    Tensor
        Shape (batch,), relative to the mean square of the object.
    """
    modulus, axes = counts.sqrt(), tuple(range(2, counts.ndim))
    power = _total(counts).clamp(min=_TINY)

    def squared(sign: int) -> Tensor:
        # The transform keeps the norm, so that the difference of objects is that of their waves.
        turn = torch.polar(modulus, sign * truth) * torch.polar(modulus, prediction).conj()
        overlap = turn.sum(dim=axes).squeeze(1)
        return 2 * (power - (overlap.abs() if twins else overlap.real)) / power

    return _smaller(squared(1), squared(-1)) if twins else squared(1)


def moduli_and_phases_error(prediction: Tensor, truth: Tensor, counts: Tensor) -> Tensor:
    """Return the sum of the mean squared differences of the objects' moduli and of their phases, for each sample.

    Masto's thesis, eq. 4.2: the objects are those that the measured moduli and both phases give. Neither the twin nor a
    constant phase nor a turn of 2 pi is forgiven. Parameters are those of `object_error`.

    Returns
    -------
    Tensor
        Shape (batch,). Moduli are in units of the true object's largest one; phases, in radians from -pi to pi, count
        where the true modulus is above a tenth of that, since they are chance elsewhere.
    """
    axes = tuple(range(2, counts.ndim))

    def found(phase: Tensor) -> Tensor:
        wave: Tensor = torch.fft.ifftshift(torch.polar(counts.sqrt(), phase), dim=axes)
        return torch.as_tensor(torch.fft.ifftn(wave, dim=axes))

    guess, exact = found(prediction), found(truth)
    most = exact.abs().amax(dim=axes, keepdim=True).clamp(min=_TINY)
    inside = (exact.abs() > _INSIDE * most).to(counts.dtype)
    # The angle of nothing has no gradient.
    angles = [torch.atan2(each.imag, each.real + (each.real == 0) * _TINY) for each in (guess, exact)]
    parts = [((guess.abs() - exact.abs()) / most).square(), inside * (angles[0] - angles[1]).square()]
    return torch.stack([part.mean(dim=(1, *axes)) for part in parts]).sum(dim=0)


def unwrapped_error(prediction: Tensor, truth: Tensor, counts: Tensor, weighting: Weighting = "uniform") -> Tensor:
    """Return the weighted mean squared difference of unwrapped phases without their means, for each sample.

    The smaller of those of the truth and of its twin. Parameters are those of `weighted_coherent_average`; both phases
    are unwrapped.
    """
    weights = WEIGHTINGS[weighting](counts)
    weights = weights / _total(weights, keep=True).clamp(min=_TINY)

    def centred(phase: Tensor) -> Tensor:
        return phase - _total(weights * phase, keep=True)

    losses = [_total(weights * (centred(sign * truth) - centred(prediction)).square()) for sign in (1, -1)]
    return _smaller(*losses)


def _smaller(first: Tensor, second: Tensor) -> Tensor:
    """Return the smaller of two; of equal ones the first alone, since their gradients cancel where nothing is known."""
    return torch.where(second < first, second, first)


def _modulus(weights: Tensor, phase: Tensor) -> Tensor:
    """Return |sum w exp(i phase)| of each sample, whose gradient is finite where it vanishes."""
    real, imaginary = _total(weights * phase.cos()), _total(weights * phase.sin())
    return (real.square() + imaginary.square() + _TINY).sqrt()


def _total(values: Tensor, *, keep: bool = False) -> Tensor:
    return values.sum(dim=tuple(range(1, values.ndim)), keepdim=keep)
