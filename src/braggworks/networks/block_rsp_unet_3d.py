"""Our own small network for reciprocal-space phases, which a processor can train."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from braggworks.config import NetworkConfig
from braggworks.networks.base import PhaseNetwork
from braggworks.networks.layers import angle

_BLOCK = 4  # voxels per axis
_VOXELS = _BLOCK**3
_LEVELS = (64, 96, 112, 72)
_GROUPS = 8
_SLOPE = 0.1  # of LeakyReLU


class BlockRspUNet3D(PhaseNetwork):
    """U-Net over blocks of 4 x 4 x 4 voxels, which are its channels.

    Levels of 64, 96, 112 and 72 channels, each halved by the one before, and back, of residual pairs of convolutions
    (kernel 3, group normalisation). The first level sees the 64 voxels of each block, and where the block lies. The
    last convolution gives a complex number for each voxel, whose angle is the phase: unlike a number without bounds,
    it can turn around the points where the wave vanishes. 3.92 M parameters at width 1.

    Parameters
    ----------
    width
        Factor on all channel counts, in multiples of 8.
    """

    # At least two voxels at the last level, or there is nothing to normalise.
    multiple: ClassVar[int] = _BLOCK * 2 ** len(_LEVELS)

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        levels = [_GROUPS * max(1, round(channels * width / _GROUPS)) for channels in _LEVELS]
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        channels = _VOXELS + 3
        for outputs in levels:
            self.encoder.append(_Pair(channels, outputs))
            channels = outputs
        for outputs in levels[-2::-1]:
            self.decoder.append(_Pair(channels + outputs, outputs))
            channels = outputs
        self.head = nn.Conv3d(channels, 2 * _VOXELS, 3, padding=1)

    @classmethod
    def from_config(cls, config: NetworkConfig) -> Self:
        """Build the network that a configuration describes."""
        return cls(config.width)

    def forward(self, values: Tensor) -> Tensor:
        """Return phases; see `PhaseNetwork`."""
        skips = [self.encoder[0](_with_places(_to_blocks(values)))]
        for block in self.encoder[1:]:
            skips.append(block(F.max_pool3d(skips[-1], 2)))
        x = skips.pop()
        for block in self.decoder:
            x = block(torch.cat([F.interpolate(x, scale_factor=2), skips.pop()], 1))
        real, imaginary = self.head(x).float().split(_VOXELS, 1)
        return angle(_from_blocks(real), _from_blocks(imaginary))


class _Pair(nn.Module):
    """Two convolutions beside what they are added to."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv3d(outputs, outputs, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(_GROUPS, outputs) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        if max(x.shape[2:]) > 2 or x.device.type != "cpu":
            return self._both(x)
        # In bfloat16, the weights' gradient on 2 x 2 x 2 voxels is read from memory that nobody wrote (torch 2.13).
        with torch.autocast("cpu", enabled=False):
            return self._both(x.float())

    def _both(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.norms[0](self.first(x)), _SLOPE)
        result: Tensor = x + F.leaky_relu(self.norms[1](self.second(x)), _SLOPE)
        return result


def _to_blocks(x: Tensor) -> Tensor:
    """Return (batch, voxel of the block, z, y, x) of (batch, 1, 4z, 4y, 4x)."""
    batch, _, *size = x.shape
    z, y, x_ = (n // _BLOCK for n in size)
    blocks = x.reshape(batch, z, _BLOCK, y, _BLOCK, x_, _BLOCK).permute(0, 2, 4, 6, 1, 3, 5)
    return blocks.reshape(batch, _VOXELS, z, y, x_).contiguous(memory_format=torch.channels_last_3d)


def _from_blocks(x: Tensor) -> Tensor:
    """Return the inverse of `_to_blocks`."""
    batch, _, *size = x.shape
    z, y, x_ = size
    whole = x.reshape(batch, _BLOCK, _BLOCK, _BLOCK, z, y, x_).permute(0, 4, 1, 5, 2, 6, 3)
    return whole.reshape(batch, 1, *(_BLOCK * n for n in size))


def _with_places(x: Tensor) -> Tensor:
    """Return `x` with three more channels: where each block lies, from -1 to 1 along z, y and x."""
    axes = [torch.linspace(-1, 1, n, device=x.device, dtype=x.dtype) for n in x.shape[2:]]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return torch.cat([x, places.expand(len(x), *places.shape)], 1)
