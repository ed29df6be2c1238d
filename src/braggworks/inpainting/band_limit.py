"""What the size of the object says about a gap: the intensity of a finite object is band-limited along every line.

The Fourier transform of the intensity is the autocorrelation of the object, which ends at twice the object's extent. A
line of the pattern across a gap is therefore a Gaussian process whose spectrum ends there; its posterior, given the
planes on either side, is exact where fringes are wide and noise is low, and vague elsewhere (C. E. Rasmussen and
C. K. I. Williams, Gaussian Processes for Machine Learning, 2006, ch. 2 and 5). Extent and noise are those of the
highest evidence: one extent for a slab, and a noise level for every line and its neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

REACH = 16
"""Measured planes on either side that are looked at, at most."""

ERROR = 1.0
"""Relative error of the guess that `Band.blend` and `Band.settle` start from."""

_RATIOS = tuple(1.5 * 1.1**step for step in range(27))
_FINE = (0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06)
# Variance of the noise as a share of the signal's.
_NOISE = (1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_CLEAN = 1e-3  # above it, a line alone says too little
_FREQUENCIES = 192
_LINES = 256  # that the extent is estimated from
_AROUND = 5  # lines, along both axes of the plane, that share a noise level
_LEAST = 1e-12  # of a guess


class _Model(NamedTuple):
    modes: Tensor  # (planes, modes), of the known planes
    power: Tensor  # (modes,)
    carried: Tensor  # (width, modes), of the gap's planes
    unseen: Tensor  # (width, width), covariance that no known plane bears on


@dataclass(frozen=True)
class Band:
    """Posterior of a slab's planes, for lines that are clean enough.

    Parameters
    ----------
    ratio
        Oversampling ratio of the object along the line: its intensity varies no faster than that.
    noise
        (z, y), variance of the noise as a share of the signal's.
    clean
        (z, y), whether the posterior says more than a guess from the surroundings could.
    scale
        (z, y), variance of the signal.
    mean
        (width, z, y), expected intensity.
    model
        What the planes on either side bear on.
    """

    ratio: float
    noise: Tensor
    clean: Tensor
    scale: Tensor
    mean: Tensor
    model: _Model

    def share(self, guess: Tensor) -> Tensor:
        """Return the weight of a guess against the posterior mean, voxel by voxel, 1 where the line is not clean.

        Parameters
        ----------
        guess
            (width, z, y) intensity, wrong by about `ERROR` of itself.
        """
        known = torch.stack([self._covariance(noise).diagonal() for noise in _NOISE])
        # Single precision, because planes of a large scan are many.
        variance = known.to(guess.device).float()[self._level()].movedim(-1, 0) * self.scale.float()
        error = (ERROR * guess.float().clamp(min=_LEAST)) ** 2
        return torch.where(self.clean, variance / (variance + error), 1.0)

    def settle(self, guess: Tensor) -> Tensor:
        """Return the planes that agree with the band and, as far as it leaves them open, with a guess.

        Parameters
        ----------
        guess
            (width, z, y) intensity, wrong by about `ERROR` of itself.

        Returns
        -------
        Tensor
            (width, z, y), at least 0; the guess where a line is not clean.
        """
        settled, level = guess.to(self.mean).flatten(1).T.clone(), self._level().flatten()
        mean, scale = self.mean.flatten(1).T, self.scale.flatten()
        for number, noise in enumerate(_NOISE):
            rows = torch.nonzero(self.clean.flatten() & (level == number))[:, 0]
            if len(rows):
                covariance = self._covariance(noise)
                error = (ERROR * settled[rows].clamp(min=_LEAST)) ** 2 / scale[rows, None]
                off = torch.linalg.solve(covariance + torch.diag_embed(error), settled[rows] - mean[rows])
                settled[rows] = mean[rows] + off @ covariance
        return settled.T.clamp(min=0).reshape(guess.shape)

    def _level(self) -> Tensor:
        return torch.searchsorted(torch.tensor(_NOISE).to(self.noise) * (1 - 1e-9), self.noise, right=True) - 1

    def _covariance(self, noise: float) -> Tensor:
        left = self.model.carried * torch.sqrt(noise / (self.model.power + noise))
        return left @ left.T + self.model.unseen


def find_band(before: Tensor, after: Tensor, width: int) -> Band | None:
    """Return what the planes beside a slab say about it, or None where too few lines hold a signal.

    Parameters
    ----------
    before, after
        Intensity of the planes on either side, in the order in which they lie, (planes, z, y) each.
    width
        Planes in the slab.
    """
    sizes, plane = (len(before), len(after), width), before.shape[1:]
    known = torch.cat([before, after]).double().flatten(1).T
    bright = known[(known > 0).sum(1) > known.shape[1] // 2]
    if len(bright) < _AROUND**2:
        return None
    some = bright[torch.linspace(0, len(bright) - 1, min(_LINES, len(bright))).long()]

    def evidence(ratio: float) -> float:
        return float(_evidence(some, _model(ratio, *sizes))[0].amax(1).sum())

    coarse = max(_RATIOS, key=evidence)
    ratio = max((round(coarse * step, 6) for step in _FINE), key=evidence)
    model = _on(_model(ratio, *sizes), known)
    likely, seen, variance = _evidence(known, model)
    likely = F.avg_pool2d(likely.T.reshape(1, -1, *plane), _AROUND, 1, _AROUND // 2, count_include_pad=False)[0]
    level = likely.flatten(1).argmax(0)
    noise = torch.tensor(_NOISE).to(known)[level]
    mean = (seen * (model.power.sqrt() / (model.power + noise[:, None]))) @ model.carried.T
    scale = variance.gather(1, level[:, None])[:, 0]
    clean = (noise <= _CLEAN) & (scale > 0)
    noise, clean, scale = (values.reshape(plane) for values in (noise, clean, scale))
    return Band(ratio, noise, clean, scale, mean.T.reshape(width, *plane), model)


def _evidence(known: Tensor, model: _Model) -> tuple[Tensor, Tensor, Tensor]:
    """Return the log evidence of each noise level, the modes' coefficients, and the signal's variance at each level."""
    model = _on(model, known)
    seen = known @ model.modes
    spread = model.power[:, None] + torch.tensor(_NOISE).to(known)
    variance = seen**2 @ (1 / spread) / known.shape[1]
    likely = -0.5 * (known.shape[1] * torch.log(variance.clamp(min=1e-300)) + torch.log(spread).sum(0))
    return likely, seen, variance


@lru_cache(maxsize=8192)
def _model(ratio: float, before: int, after: int, width: int) -> _Model:
    """Return the modes of a spectrum (1 - f / f_max)^2, f_max being 1 / ratio."""
    steps = (torch.arange(_FREQUENCIES, dtype=torch.float64) + 0.5) / _FREQUENCIES
    weights = (1 - steps) / torch.linalg.norm(1 - steps)

    def waves(place: Tensor) -> Tensor:
        phase = 2 * math.pi * place.double()[:, None] * steps / ratio
        return torch.cat([torch.cos(phase) * weights, torch.sin(phase) * weights], 1)

    known = torch.cat([torch.arange(-before, 0), torch.arange(width, width + after)])
    modes, strength, vectors = torch.linalg.svd(waves(known), full_matrices=False)
    gap = waves(torch.arange(width))
    carried = gap @ vectors.T
    # Taken apart before it is squared, it is exact to rounding even where next to nothing is unseen.
    unseen = gap - carried @ vectors
    return _Model(modes, strength**2, carried, unseen @ unseen.T)


def _on(model: _Model, like: Tensor) -> _Model:
    return _Model(*(part.to(like) for part in model))
