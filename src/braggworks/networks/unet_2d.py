"""The two 2-D U-Nets for gaps of M. Masto's thesis (Univ. Grenoble Alpes), section 3.3.2 and table 3.1."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from braggworks.config import NetworkConfig
from braggworks.networks.base import GapNetwork
from braggworks.networks.layers import begin_as_published, scaled

_ENCODER = (48, 96, 192, 384, 768)
_BOTTLENECK = 1536
_DECODER = (768, 384, 192, 96, 48)
_TAIL = (24, 12, 6)
_DILATIONS = ((16, 8, 4, 2), (10, 5, 3, 1), (5, 3, 2, 1))


class UNet2D(GapNetwork):
    """U-Net of five encoder blocks, each a 3 x 3 convolution, LeakyReLU and max pooling.

    Encoder 48, 96, 192, 384 and 768 channels, bottleneck 1536, decoder of transposed convolutions (stride 2) to 768,
    384, 192, 96 and 48 channels, of which the second to fifth also take the encoder's output of their size, and a tail
    of 24, 12, 6 and 1 channels. The printed listing has a tail of kernel 5; the published number of parameters,
    31 827 673, holds with kernel 3, which is used here.

    Parameters
    ----------
    width
        Factor on all channel counts but the last.
    mask_input
        Give the mask as a second input channel.
    residual
        Add the network's output, times the mask, to the input, whose gaps then hold an interpolation, in place of the
        published sigmoid. The last layer starts at zero.
    """

    ndim: ClassVar[int] = 2
    memory_format: ClassVar[torch.memory_format] = torch.channels_last
    multiple: ClassVar[int] = 32
    dilations: ClassVar[tuple[tuple[int, ...], ...]] = ()
    last_kernel: ClassVar[int] = 3
    first_skip: ClassVar[bool] = False

    def __init__(self, width: float = 1.0, *, mask_input: bool = False, residual: bool = False) -> None:
        super().__init__()
        self.mask_input, self.uses_prior = mask_input, residual
        channels, skips = 2 if mask_input else 1, []
        self.encoder = nn.ModuleList()
        for number, outputs in enumerate(scaled(_ENCODER, width)):
            dilations = self.dilations[number] if number < len(self.dilations) else ()
            block = _DilatedBlock(channels, outputs, dilations) if dilations else _same(channels, outputs)
            self.encoder.append(block)
            channels = outputs + channels if dilations else outputs
            skips.append(channels)
        (inner,) = scaled((_BOTTLENECK,), width)
        self.bottleneck = _same(channels, inner)
        channels, self.decoder = inner, nn.ModuleList()
        last = len(_DECODER) - 1
        for number, outputs in enumerate(scaled(_DECODER, width)):
            self.decoder.append(_doubling(channels, outputs, self.last_kernel if number == last else 3))
            channels = outputs + (skips[last - number] if number < last or self.first_skip else 0)
        self.tail = nn.ModuleList()
        for outputs in (*(max(4, round(count * width)) for count in _TAIL), 1):
            self.tail.append(_same(channels, outputs))
            channels = outputs
        begin_as_published(self, last=self.tail[-1])
        if residual:
            for parameter in self.tail[-1].parameters():
                nn.init.zeros_(parameter)

    @classmethod
    def from_config(cls, config: NetworkConfig) -> Self:
        """Build the network that a configuration describes."""
        return cls(config.width, mask_input=config.mask_input, residual=config.residual)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Return filled patterns; see `GapNetwork`."""
        x = torch.cat([values, mask], 1) if self.mask_input else values
        skips = []
        for block in self.encoder:
            skips.append(F.leaky_relu(block(x)) if isinstance(block, nn.Conv2d) else block(x))
            x = F.max_pool2d(skips[-1], 2)
        x = F.leaky_relu(self.bottleneck(x))
        for number, block in enumerate(self.decoder):
            x = F.leaky_relu(block(x))
            if number + 1 < len(self.decoder) or self.first_skip:
                x = torch.cat([x, skips[-1 - number]], 1)
        for layer in self.tail[:-1]:
            x = F.leaky_relu(layer(x))
        output: Tensor = self.tail[-1](x)
        return values + mask * output if self.uses_prior else torch.sigmoid(output)


class ModifiedUNet2D(UNet2D):
    """`UNet2D` whose first three encoder blocks keep their input beside four dilated convolutions.

    The last transposed convolution has kernel 4, and the first encoder block's output joins the tail: 32 652 337
    parameters.
    """

    # In bfloat16, its dilated convolutions of few channels end in NaN on the CPU in the order channels_last.
    memory_format: ClassVar[torch.memory_format] = torch.contiguous_format
    dilations = _DILATIONS
    last_kernel = 4
    first_skip = True


class _DilatedBlock(nn.Module):
    """The input beside its convolutions at several dilations."""

    def __init__(self, inputs: int, outputs: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs // len(dilations), 3, padding=step, dilation=step) for step in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, *(F.leaky_relu(layer(x)) for layer in self.layers)], 1)


def _same(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _doubling(inputs: int, outputs: int, kernel: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride=2, padding=1, output_padding=kernel % 2)
