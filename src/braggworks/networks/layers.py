"""Convolutions that the networks share; arrays are (batch, channel, z, y, x)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

_LEAST_SQUARE = 1e-3


class SameConv3d(nn.Conv3d):
    """Convolution with zero padding that keeps the shape; an odd padding puts its extra voxel at the end of each axis.

    Parameters
    ----------
    inputs, outputs
        Numbers of channels.
    kernel
        Voxels along each axis of the kernel.
    dilation
        Distance between the kernel's taps, in voxels.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of `x`, at its size."""
        padding = self.dilation[0] * (self.kernel_size[0] - 1)
        if padding % 2:
            x = F.pad(x, (padding // 2, padding - padding // 2) * 3)
            padding = 0
        return F.conv3d(x, self.weight, self.bias, padding=padding // 2, dilation=self.dilation)


class UpsampledConv3d(SameConv3d):
    """Every voxel repeated twice along each axis, then `SameConv3d`, without making the large array.

    On the repeated array several taps of the kernel meet the same voxel. Their weights are summed, once for even and
    once for odd output positions of each axis, which leaves a convolution of the small array with eight times the
    output channels: for a kernel of 4 less than half the work, and faster by more than that.

    Parameters
    ----------
    inputs, outputs, kernel
        As for `SameConv3d`.
    """

    fold: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel)
        fold, self._before, self._after = _fold(kernel)
        self.register_buffer("fold", fold, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (batch, output channel, 2z, 2y, 2x) from `x` of shape (batch, channel, z, y, x)."""
        weight = torch.einsum("oixyz,pax,qby,rcz->opqriabc", self.weight, self.fold, self.fold, self.fold)
        weight = weight.reshape(8 * self.out_channels, self.in_channels, *[self.fold.shape[1]] * 3)
        bias = None if self.bias is None else self.bias.repeat_interleave(8)
        y = F.conv3d(F.pad(x, (self._before, self._after) * 3), weight, bias)
        batch, _, *size = y.shape
        y = y.reshape(batch, self.out_channels, 2, 2, 2, *size).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return y.reshape(batch, self.out_channels, *(2 * n for n in size))


class DilatedBlock(nn.Module):
    """The input beside its convolutions at several dilations.

    Parameters
    ----------
    inputs
        Number of input channels.
    outputs
        Channels of all convolutions together, a multiple of their number.
    kernel
        Voxels along each axis of the kernels.
    dilations
        One per convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(SameConv3d(inputs, outputs // len(dilations), kernel, step) for step in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input's and the convolutions' channels."""
        return torch.cat([x, *(layer(x) for layer in self.layers)], 1)


def begin_as_published(network: nn.Module, last: nn.Module, steepness: float = 1.0) -> None:
    """Set weights to Glorot's uniform distribution and biases to 0, as TensorFlow, with which the thesis trained, does.

    The bias of the last layer alone lets its sigmoid begin at 0.1, about the mean of what is learned. From 0.5, all
    layers would first lower the output together, far beyond that mean, to where the sigmoid's gradient vanishes; see
    Lin et al. (ICCV 2017), section 4.1.

    With torch's own, smaller weights, a network of many layers hardly depends on its input, and little of the gradient
    arrives at the first ones (Glorot and Bengio, AISTATS 2010).

    Parameters
    ----------
    network
        What is changed.
    last
        Its last layer, before the sigmoid.
    steepness
        Factor on the sigmoid's argument.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Conv3d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.constant_(cast(Tensor, last.bias), math.log(0.1 / 0.9) / steepness)


def angle(real: Tensor, imaginary: Tensor) -> Tensor:
    """Return the angle of complex numbers, in radians, whose gradient stays finite where they vanish."""
    a, b = real.detach(), imaginary.detach()
    # Nothing but the gradient: its value is 0.
    slope = (a * imaginary - b * real) / (a.square() + b.square() + _LEAST_SQUARE)
    return torch.atan2(b, a) + slope


def _fold(kernel: int) -> tuple[Tensor, int, int]:
    """Return which taps meet which voxel, as (parity, offset, tap), and the padding before and after."""
    left = (kernel - 1) // 2
    first, last = (-left) // 2, (kernel - left) // 2
    fold = torch.zeros(2, last - first + 1, kernel)
    for parity in range(2):
        for tap in range(kernel):
            fold[parity, (parity + tap - left) // 2 - first, tap] = 1
    return fold, -first, last


def scaled(channels: Sequence[int], width: float) -> tuple[int, ...]:
    """Return channel counts times `width`, to multiples of 4 and no less."""
    return tuple(4 * max(1, round(count * width / 4)) for count in channels)
