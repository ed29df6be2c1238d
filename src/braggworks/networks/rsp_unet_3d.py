"""The network for reciprocal-space phases of Masto et al., npj Comput. Mater. (2026), 10.1038/s41524-026-02017-w."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from braggworks.config import NetworkConfig
from braggworks.networks.base import PhaseNetwork
from braggworks.networks.layers import DilatedBlock, SameConv3d, UpsampledConv3d, scaled

_SLOPE = 0.2  # of LeakyReLU


class RspUNet3D(PhaseNetwork):
    """U-Net from a normalised log intensity to an unwrapped phase.

    Encoder, each block followed by max pooling and LeakyReLU: 32 channels (its input beside four dilated convolutions
    of 8 channels, kernel 5, dilations 8, 5, 3, 1), 64 (the same with 16, dilations 6, 4, 2, 1), 128 (one convolution,
    kernel 4), 256, 512 and 1024 (kernel 3). Bottleneck: 2048 (kernel 2). Decoder: 1024, 512, 256 (kernel 3), 128
    (kernel 4), 64 and 32 (kernel 5), each after twofold upsampling; the encoder's output of the same size, before
    pooling, joins them through a convolution of kernel 3 to half its channels. Tail: 16 and 1 channels (kernel 5),
    without an activation. At its published width it has 143 759 937 parameters; it needs a multiple of 64 voxels.

    Parameters
    ----------
    width
        Factor on all channel counts but the last.
    """

    # In bfloat16, dilated convolutions of few channels end in NaN on the CPU in the order channels_last.
    memory_format: ClassVar[torch.memory_format] = torch.contiguous_format
    multiple: ClassVar[int] = 64

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        first, second, *plain = scaled((32, 64, 128, 256, 512, 1024), width)
        (deepest, tail) = scaled((2048, 16), width)
        levels = [1 + first, 1 + first + second, *plain]
        kernels = (4, 3, 3, 3)
        self.encoder = nn.ModuleList(
            [DilatedBlock(1, first, 5, (8, 5, 3, 1)), DilatedBlock(levels[0], second, 5, (6, 4, 2, 1))]
        )
        for inputs, outputs, kernel in zip(levels[1:-1], levels[2:], kernels, strict=True):
            self.encoder.append(SameConv3d(inputs, outputs, kernel))
        self.bottleneck = SameConv3d(levels[-1], deepest, 2)
        self.skips = nn.ModuleList(SameConv3d(channels, channels // 2, 3) for channels in levels)
        self.decoder = nn.ModuleList()
        inputs = deepest
        for outputs, kernel, skip in zip(
            scaled((1024, 512, 256, 128, 64, 32), width), (3, 3, 3, 4, 5, 5), levels[::-1], strict=True
        ):
            self.decoder.append(UpsampledConv3d(inputs, outputs, kernel))
            inputs = outputs + skip // 2
        self.tail = SameConv3d(inputs, tail, 5)
        self.head = SameConv3d(tail, 1, 5)

    @classmethod
    def from_config(cls, config: NetworkConfig) -> Self:
        """Build the network that a configuration describes."""
        return cls(config.width)

    def forward(self, values: Tensor) -> Tensor:
        """Return phases; see `PhaseNetwork`."""
        x, skips = values, []
        for block, skip in zip(self.encoder, self.skips, strict=True):
            x = block(x)
            skips.append(skip(x))
            x = _activate(F.max_pool3d(x, 2))
        x = _activate(self.bottleneck(x))
        for block, skip in zip(self.decoder, skips[::-1], strict=True):
            x = torch.cat([_activate(block(x)), skip], 1)
        output: Tensor = self.head(_activate(self.tail(x)))
        return output


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, _SLOPE)
