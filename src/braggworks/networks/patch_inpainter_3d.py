"""The 3-D patch inpainter of Masto et al., J. Appl. Cryst. (2024), 10.1107/S1600576724004163."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from braggworks.config import NetworkConfig
from braggworks.networks.base import GapNetwork
from braggworks.networks.layers import DilatedBlock, SameConv3d, UpsampledConv3d, begin_as_published

_SLOPE = 0.2  # of LeakyReLU
_STEEPNESS = 1.5  # of the last sigmoid


class PatchInpainter3D(GapNetwork):
    """U-Net whose first two encoder blocks see the patch through dilated convolutions.

    Encoder, each block halved by max pooling before its activation: 32 channels (its input beside four dilated
    convolutions of 8 channels, kernel 3), 64 (the same with 16, kernel 2), 128 and 256 (one convolution, kernel 2).
    Decoder: four convolutions of kernel 2 to 478, 222, 96 and 32 channels, each followed by x2 upsampling; the second
    to fourth also take the encoder's output of their size, before pooling. Tail at full size: 24 (kernel 4), 12
    (kernel 3), 6 (kernel 2) and 1 channel (kernel 1). With these layers the network has 3 038 829 parameters.

    Parameters
    ----------
    width
        Factor on all channel counts but the last.
    mask_input
        Give the mask as a second input channel.
    residual
        Add the network's output to the input inside the gap, where the input then holds an interpolation, instead of
        passing it through the published sigmoid 1 / (1 + exp(-1.5 x)). The last layer starts at zero, so that the
        untrained network returns the interpolation itself.
    """

    multiple: ClassVar[int] = 16

    def __init__(self, width: float = 1.0, *, mask_input: bool = False, residual: bool = False) -> None:
        super().__init__()
        self.mask_input = mask_input
        self.uses_prior = residual
        inputs = 2 if mask_input else 1
        first, second = (4 * max(1, round(channels * width / 4)) for channels in (32, 64))
        third, fourth, *decoder = (max(4, round(channels * width)) for channels in (128, 256, 478, 222, 96, 32))
        tail = [max(4, round(channels * width)) for channels in (24, 12, 6)]
        skips = (inputs + first + second, third, fourth)
        self.encoder = nn.ModuleList(
            [
                DilatedBlock(inputs, first, 3, (4, 3, 2, 1)),
                DilatedBlock(inputs + first, second, 2, (3, 2, 2, 1)),
                SameConv3d(skips[0], third, 2),
                SameConv3d(third, fourth, 2),
            ]
        )
        self.decoder = nn.ModuleList(
            [
                SameConv3d(fourth, decoder[0], 2),
                SameConv3d(decoder[0] + skips[2], decoder[1], 2),
                SameConv3d(decoder[1] + skips[1], decoder[2], 2),
                SameConv3d(decoder[2] + skips[0], decoder[3], 2),
            ]
        )
        # The upsampling of the last decoder block is part of the tail's first layer.
        self.tail = nn.ModuleList([UpsampledConv3d(decoder[3], tail[0], 4), SameConv3d(tail[0], tail[1], 3)])
        self.tail.append(SameConv3d(tail[1], tail[2], 2))
        self.head = SameConv3d(tail[2], 1, 1)
        if residual:
            for parameter in self.head.parameters():
                nn.init.zeros_(parameter)
        else:
            begin_as_published(self, last=self.head, steepness=_STEEPNESS)

    @classmethod
    def from_config(cls, config: NetworkConfig) -> Self:
        """Build the network that a configuration describes."""
        return cls(config.width, mask_input=config.mask_input, residual=config.residual)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Return filled patches; see `GapNetwork`."""
        x = torch.cat([values, mask], 1) if self.mask_input else values
        x = x.contiguous(memory_format=torch.channels_last_3d)
        skips = []
        for block in self.encoder:
            skips.append(block(x))
            x = _activate(F.max_pool3d(skips[-1], 2))
        for block, skip in zip(self.decoder[:-1], skips[:0:-1], strict=True):
            x = F.interpolate(_activate(block(x)), scale_factor=2)
            x = torch.cat([x, skip], 1)
        x = _activate(self.decoder[-1](x))
        for layer in self.tail:
            x = _activate(layer(x))
        output: Tensor = self.head(x)
        if self.uses_prior:
            return values + mask * output
        return torch.sigmoid(_STEEPNESS * output)


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, _SLOPE)
