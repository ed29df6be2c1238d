"""The 2-D mixed-scale dense network for gaps of M. Masto's thesis (Univ. Grenoble Alpes), table 3.1."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from braggworks.config import NetworkConfig
from braggworks.networks.base import GapNetwork
from braggworks.networks.layers import begin_as_published

_BLOCKS = 16


class MSDNet2D(GapNetwork):
    """Mixed-scale dense network (Pelt and Sethian 2018, 10.1073/pnas.1715832114) without down- or upsampling.

    Sixteen blocks of two dilated 3 x 3 convolutions, of dilations (1, 2), (3, 4) ... (31, 32). Block k counts its
    channels as 2 k + 1: each of its convolutions has half as many, rounded down, and is joined to all features before
    it. The head is a 1 x 1 convolution: 322 458 parameters.

    Parameters
    ----------
    width
        Factor on the channels of every convolution.
    mask_input
        Give the mask as a second input channel.
    residual
        Add the network's output, times the mask, to the input, whose gaps then hold an interpolation, in place of the
        published sigmoid. The head starts at zero.
    """

    ndim: ClassVar[int] = 2
    # In bfloat16, its dilated convolutions of few channels end in NaN or a crash on the CPU in the order channels_last.
    memory_format: ClassVar[torch.memory_format] = torch.contiguous_format

    def __init__(self, width: float = 1.0, *, mask_input: bool = False, residual: bool = False) -> None:
        super().__init__()
        self.mask_input, self.uses_prior = mask_input, residual
        channels, self.layers = 2 if mask_input else 1, nn.ModuleList()
        for block in range(_BLOCKS):
            outputs = max(1, round((2 * block + 3) // 2 * width))
            for dilation in (2 * block + 1, 2 * block + 2):
                self.layers.append(nn.Conv2d(channels, outputs, 3, padding=dilation, dilation=dilation))
                channels += outputs
        self.head = nn.Conv2d(channels, 1, 1)
        begin_as_published(self, last=self.head)
        if residual:
            for parameter in self.head.parameters():
                nn.init.zeros_(parameter)

    @classmethod
    def from_config(cls, config: NetworkConfig) -> Self:
        """Build the network that a configuration describes."""
        return cls(config.width, mask_input=config.mask_input, residual=config.residual)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Return filled patterns; see `GapNetwork`."""
        x = torch.cat([values, mask], 1) if self.mask_input else values
        for layer in self.layers:
            x = torch.cat([F.leaky_relu(layer(x)), x], 1)
        output: Tensor = self.head(x)
        return values + mask * output if self.uses_prior else torch.sigmoid(output)
