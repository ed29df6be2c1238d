"""What training minimises: errors inside the gap, and structural similarity.

Arrays are (batch, 1, z, y, x); values are normalised to about [0, 1].
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from braggworks.config import LossConfig

Norm = Literal["mae", "mse"]

# Window and constants of Wang et al. (2004), for values between 0 and 1.
_SIGMA = 1.5
_WINDOW = 11
_C1, _C2 = 0.01**2, 0.03**2

_TILE = 32
_LEAST_VARIANCE = 0.01

_LEAST_COUNT = 0.01


def gap_error(prediction: Tensor, truth: Tensor, mask: Tensor, norm: Norm = "mse") -> Tensor:
    """Return the mean error over the gap's voxels of each sample, averaged over the samples.

    Parameters
    ----------
    prediction, truth
        Patches of shape (batch, 1, z, y, x).
    mask
        1 inside the gap, 0 elsewhere; the same shape.
    norm
        ``mae`` for absolute, ``mse`` for squared differences.
    """
    error = _magnitude((prediction - truth) * mask, norm)
    return (_total(error) / _total(mask).clamp(min=1)).mean()


def gap_gradient_error(prediction: Tensor, truth: Tensor, mask: Tensor, norm: Norm = "mse") -> Tensor:
    """Return the mean error of the differences between neighbours, of which at least one lies in the gap.

    Outside the gap the measured values are taken, so that the step at the gap's edge counts too. Parameters are those
    of `gap_error`.
    """
    difference = (prediction - truth) * mask
    total = count = torch.zeros(len(mask), dtype=difference.dtype, device=difference.device)
    for axis in (2, 3, 4):
        length = mask.shape[axis] - 1
        inside = torch.maximum(mask.narrow(axis, 0, length), mask.narrow(axis, 1, length))
        total = total + _total(_magnitude(torch.diff(difference, dim=axis), norm))
        count = count + _total(inside)
    return (total / count.clamp(min=1)).mean()


def gap_relative_error(prediction: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Return the mean squared error in the gap over the variance of the truth there, tile by tile.

    A tile has at most 32 voxels along z and y, and all of x. Where the truth has no variance to speak of, 0.01 takes
    its place. It weighs bright and dark tiles alike, and is about 1 - r^2, r being the correlation in the gap of a
    tile. Parameters are those of `gap_error`.
    """
    tile = (*(min(_TILE, n) for n in mask.shape[2:4]), mask.shape[4])
    inside = F.avg_pool3d(mask, tile)

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool3d(x * mask, tile) / inside.clamp(min=1e-9)

    variance = mean(truth.square()) - mean(truth).square()
    ratio = mean((prediction - truth).square()) / (variance.clamp(min=0) + _LEAST_VARIANCE)
    return ratio[inside > 0].mean()


def gap_poisson_deviance(prediction: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Return the Poisson deviance of the counts in the gap, over their mean, averaged over the samples.

    With expected counts m and counts n it is 2 (m - n + n log(n / m)), twice the log likelihood that is lost against a
    perfect fit (McCullagh and Nelder, Generalized Linear Models, 1989, section 2.3). The mean of the counts, plus 1,
    weighs bright and dark samples alike.

    Parameters
    ----------
    prediction, truth
        ``log(1 + counts)``, shape (batch, 1, z, y, x).
    mask
        1 inside the gap, 0 elsewhere; the same shape.
    """
    expected, counts = (torch.expm1(values * mask).clamp(min=0) for values in (prediction, truth))
    # Where nothing is expected, the gradient would be infinite.
    ratio = torch.log((counts + _LEAST_COUNT) / (expected + _LEAST_COUNT))
    deviance = 2 * (expected - counts + (counts + _LEAST_COUNT) * ratio)
    volume = _total(mask).clamp(min=1)
    return (_total(deviance) / volume / (1 + _total(counts) / volume)).mean()


def ssim(prediction: Tensor, truth: Tensor) -> Tensor:
    """Return the structural similarity of each sample, 1 for identical patches.

    The index of Wang et al., IEEE Trans. Image Process. 13, 600 (2004), 10.1109/TIP.2003.819861, in three dimensions:
    Gaussian window of 11 voxels and a standard deviation of 1.5 voxels, averaged over all places where the window lies
    inside the patch. Shorter axes take the largest odd window that fits.

    Parameters
    ----------
    prediction, truth
        Patches of shape (batch, 1, z, y, x).

    Returns
    -------
    Tensor
        Shape (batch,).
    """
    moments = torch.cat([prediction, truth, prediction * prediction, truth * truth, prediction * truth], 1)
    for _ in range(3):
        window = torch.from_numpy(_window(moments.shape[-1])).to(moments)
        moments = torch.movedim(moments @ window.T, -1, 2)
    mean_p, mean_t, square_p, square_t, product = moments.unbind(1)
    numerator = (2 * mean_p * mean_t + _C1) * (2 * (product - mean_p * mean_t) + _C2)
    variances = square_p - mean_p * mean_p + square_t - mean_t * mean_t
    return (numerator / ((mean_p * mean_p + mean_t * mean_t + _C1) * (variances + _C2))).mean((1, 2, 3))


def inpainting_loss(prediction: Tensor, truth: Tensor, mask: Tensor, config: LossConfig) -> Tensor:
    """Return the published sum: in-gap error + (1 - SSIM) + in-gap gradient error, each with its weight.

    Masto et al., J. Appl. Cryst. (2024), 10.1107/S1600576724004163. Beside it, `gap_poisson_deviance` and
    `gap_relative_error`. Parameters are those of `gap_error`, and the weights. A term of weight 0 is not computed.
    """
    loss = torch.zeros((), dtype=prediction.dtype, device=prediction.device)
    if config.gap:
        loss = loss + config.gap * gap_error(prediction, truth, mask, config.error)
    if config.ssim:
        loss = loss + config.ssim * (1 - ssim(prediction, truth)).mean()
    if config.gradient:
        loss = loss + config.gradient * gap_gradient_error(prediction, truth, mask, config.error)
    if config.poisson:
        loss = loss + config.poisson * gap_poisson_deviance(prediction, truth, mask)
    if config.relative:
        loss = loss + config.relative * gap_relative_error(prediction, truth, mask)
    return loss


def _magnitude(difference: Tensor, norm: Norm) -> Tensor:
    return difference.abs() if norm == "mae" else difference.square()


def _total(x: Tensor) -> Tensor:
    return x.sum((1, 2, 3, 4))


@lru_cache
def _window(size: int) -> NDArray[np.float64]:
    """Return the matrix (places, size) that averages a line of voxels with the window at each of its places."""
    width = min(_WINDOW, size - 1 + size % 2)
    weights = np.exp(-0.5 * ((np.arange(width) - width // 2) / _SIGMA) ** 2)
    places = size - width + 1
    matrix = np.zeros((places, size))
    for place in range(places):
        matrix[place, place : place + width] = weights / weights.sum()
    return matrix
