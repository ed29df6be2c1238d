"""The 2-D network for reciprocal-space phases of M. Masto's thesis (Univ. Grenoble Alpes), section 4.4.1."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from braggworks.config import NetworkConfig
from braggworks.networks.base import PhaseNetwork
from braggworks.networks.layers import angle, scaled

_ENCODER = (64, 128, 256, 512, 512, 512)
_BOTTLENECK = 944


class RspUNet2D(PhaseNetwork):
    """U-Net from a normalised log intensity to an unwrapped phase.

    Six encoder blocks, each a 3 x 3 convolution, LeakyReLU and max pooling, bring 64 x 64 pixels to a vector; a
    bottleneck; and as many decoder blocks of a transposed convolution (stride 2) and LeakyReLU, each joined by the
    encoder's output of its size. The last convolution has no activation. The thesis gives the kinds of layers and, of
    its larger network, the number of parameters, 27.5 million, but not the channels: these are 64, 128, 256, 512, 512
    and 512, and 944 at the bottleneck, which have 27 507 185 parameters.

    Parameters
    ----------
    width
        Factor on all channel counts but the last.
    phasor
        Give a complex number, whose angle is the phase: it can turn around points where the wave vanishes.
    """

    ndim: ClassVar[int] = 2
    memory_format: ClassVar[torch.memory_format] = torch.channels_last
    multiple: ClassVar[int] = 64

    def __init__(self, width: float = 1.0, *, phasor: bool = False) -> None:
        super().__init__()
        self.phasor = phasor
        levels, (inner,) = scaled(_ENCODER, width), scaled((_BOTTLENECK,), width)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        channels = 1
        for outputs in levels:
            self.encoder.append(nn.Conv2d(channels, outputs, 3, padding=1))
            channels = outputs
        self.bottleneck = nn.Conv2d(channels, inner, 3, padding=1)
        channels = inner
        for outputs in levels[::-1]:
            self.decoder.append(nn.ConvTranspose2d(channels, outputs, 3, stride=2, padding=1, output_padding=1))
            channels = 2 * outputs
        self.head = nn.Conv2d(channels, 2 if phasor else 1, 3, padding=1)

    @classmethod
    def from_config(cls, config: NetworkConfig) -> Self:
        """Build the network that a configuration describes."""
        return cls(config.width, phasor=config.phasor)

    def forward(self, values: Tensor) -> Tensor:
        """Return phases; see `PhaseNetwork`."""
        x, skips = values, []
        for block in self.encoder:
            skips.append(F.leaky_relu(block(x)))
            x = F.max_pool2d(skips[-1], 2)
        x = F.leaky_relu(self.bottleneck(x))
        for block in self.decoder:
            x = torch.cat([F.leaky_relu(block(x)), skips.pop()], 1)
        output: Tensor = self.head(x)
        return angle(output[:, :1].float(), output[:, 1:].float()) if self.phasor else output
