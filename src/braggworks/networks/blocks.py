"""A U-Net over blocks of voxels, which are its channels; arrays are (batch, channel, z, y, x)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from braggworks.networks.layers import angle

BLOCK = 4
"""Voxels per axis of a block."""

_VOXELS = BLOCK**3
GROUPS = 8
"""Of group normalisation; channels are multiples."""

_SLOPE = 0.1  # of LeakyReLU


class BlockUNet3D(nn.Module):
    """U-Net whose last convolution gives a complex number for each voxel, of which it returns the angle.

    Each level is halved by the one before it, and back, and holds a residual pair of convolutions (kernel 3, group
    normalisation). The first level sees the voxels of each block as channels, and where the block lies.

    Parameters
    ----------
    inputs
        Channels of its input.
    levels
        Channels of each level at width 1.
    width
        Factor on them, in multiples of 8.
    """

    def __init__(self, inputs: int, levels: Sequence[int], width: float = 1.0) -> None:
        super().__init__()
        levels = [group_multiple(channels, width) for channels in levels]
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        channels = inputs * _VOXELS + 3
        for outputs in levels:
            self.encoder.append(BlockPair(channels, outputs))
            channels = outputs
        for outputs in levels[-2::-1]:
            self.decoder.append(BlockPair(channels + outputs, outputs))
            channels = outputs
        self.head = nn.Conv3d(channels, 2 * _VOXELS, 3, padding=1)

    def forward(self, values: Tensor) -> Tensor:
        """Return angles in radians, (batch, 1, z, y, x), of arrays (batch, inputs, z, y, x)."""
        skips = [self.encoder[0](_with_places(to_blocks(values, BLOCK)))]
        for block in self.encoder[1:]:
            skips.append(block(F.max_pool3d(skips[-1], 2)))
        x = skips.pop()
        for block in self.decoder:
            x = block(torch.cat([F.interpolate(x, scale_factor=2), skips.pop()], 1))
        real, imaginary = self.head(x).float().split(_VOXELS, 1)
        return angle(from_blocks(real, BLOCK), from_blocks(imaginary, BLOCK))


class BlockPair(nn.Module):
    """Two convolutions beside what they are added to."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv3d(outputs, outputs, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, outputs) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return as many channels as it has outputs."""
        if max(x.shape[2:]) > 2 or x.device.type != "cpu":
            return self._both(x)
        # In bfloat16, the weights' gradient on 2 x 2 x 2 voxels is read from memory that nobody wrote (torch 2.13).
        with torch.autocast("cpu", enabled=False):
            return self._both(x.float())

    def _both(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(_normed(self.norms[0], self.first(x)), _SLOPE)
        return x + F.leaky_relu(_normed(self.norms[1], self.second(x)), _SLOPE)


def _normed(norm: nn.Module, x: Tensor) -> Tensor:
    """Normalise by groups; on a GPU in the precision of the convolutions, for half of the traffic."""
    if x.device.type == "cpu":
        result: Tensor = norm(x)
        return result
    assert isinstance(norm, nn.GroupNorm)  # noqa: S101
    with torch.autocast(x.device.type, enabled=False):
        return F.group_norm(x, norm.num_groups, norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps)


def group_multiple(channels: int, width: float) -> int:
    """Return a channel count times `width`, to a multiple of `GROUPS` and no less."""
    return GROUPS * max(1, round(channels * width / GROUPS))


def to_blocks(x: Tensor, edge: int) -> Tensor:
    """Return (batch, channel and voxel of the block, z, y, x) of (batch, channel, edge z, edge y, edge x)."""
    batch, channels, *size = x.shape
    z, y, x_ = (n // edge for n in size)
    blocks = x.reshape(batch, channels, z, edge, y, edge, x_, edge).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return blocks.reshape(batch, channels * edge**3, z, y, x_).contiguous(memory_format=torch.channels_last_3d)


def from_blocks(x: Tensor, edge: int) -> Tensor:
    """Return (batch, channel, edge z, edge y, edge x), the inverse of `to_blocks`."""
    batch, voxels, *size = x.shape
    channels, (z, y, x_) = voxels // edge**3, size
    whole = x.reshape(batch, channels, edge, edge, edge, z, y, x_).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return whole.reshape(batch, channels, *(edge * n for n in size))


def _with_places(x: Tensor) -> Tensor:
    """Return `x` with three more channels: where each block lies, from -1 to 1 along z, y and x."""
    axes = [torch.linspace(-1, 1, n, device=x.device, dtype=x.dtype) for n in x.shape[2:]]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return torch.cat([x, places.expand(len(x), *places.shape)], 1)
