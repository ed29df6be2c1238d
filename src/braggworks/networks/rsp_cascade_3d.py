"""Our own network for reciprocal-space phases that goes back and forth between the pattern and the object."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from braggworks.config import NetworkConfig
from braggworks.networks.base import PhaseNetwork
from braggworks.networks.block_rsp_unet_3d import BlockRspUNet3D
from braggworks.networks.blocks import BlockPair, from_blocks, group_multiple, to_blocks
from braggworks.networks.layers import angle

_EDGE = 2  # voxels per axis of a block of the object, whose voxels are channels
_BOX = 5, 8  # share of the grid's axes that an object may fill; sampled twice, it fills half
_LEVELS = (96, 128, 128)
_FILLED = 0.1  # share of the box that an object fills, about: moduli are scaled to near 1
_FURTHER = 2  # times as many stages in use as in training
_LEAST = 1e-4  # squared modulus, below which an amplitude has no phase


class RspCascade3D(PhaseNetwork):
    """A first phase from the pattern, refined in stages that all see the object of the phase before.

    The first phase is that of `BlockRspUNet3D`. Each stage gives the object of the measured moduli and of the phase so
    far, and that of the stage before, to a U-Net in real space, which adds to the former; the phase is that of its
    transform. Without the U-Net, a stage is a cycle of error reduction in a box. All stages have the same weights, as
    in cascades for magnetic resonance imaging (J. Schlemper et al., IEEE Trans. Med. Imaging 37, 491 (2018),
    10.1109/TMI.2017.2760978). 7.4 M parameters at width 1, stored in 16 bits.

    Parameters
    ----------
    width
        Factor on all channel counts, in multiples of 8.
    stages
        How often the object is refined in training; in use it is refined twice as often, because the stages after those
        that were trained still bring it nearer.
    """

    multiple: ClassVar[int] = BlockRspUNet3D.multiple
    stored: ClassVar[torch.dtype] = torch.float16

    def __init__(self, width: float = 1.0, stages: int = 6) -> None:
        super().__init__()
        self.stages = stages
        self.first = BlockRspUNet3D(width)
        self.refine = _ObjectUNet(width)

    @classmethod
    def from_config(cls, config: NetworkConfig) -> Self:
        """Build the network that a configuration describes."""
        return cls(config.width, config.stages)

    def phases_by_stage(self, values: Tensor, counts: Tensor) -> Tensor:
        """Return the first phase, and that after each refinement; see `PhaseNetwork`."""
        phases = [self.first(values)]
        modulus = _scaled(counts)
        with torch.autocast(values.device.type, enabled=False):
            wave = torch.polar(modulus, phases[0])
        before = None
        for _ in range(self.stages if self.training else _FURTHER * self.stages):
            with torch.autocast(values.device.type, enabled=False):
                projected = _object(wave)
                before = projected if before is None else before
                channels = torch.cat([projected.real, projected.imag, before.real, before.imag], 1)
            change = self.refine(channels).float()
            with torch.autocast(values.device.type, enabled=False):
                before = projected + torch.complex(change[:, :1], change[:, 1:])
                calculated = _wave(before, modulus.shape)
                wave = modulus * calculated / (calculated.abs().square() + _LEAST).sqrt()
                phases.append(angle(calculated.real, calculated.imag))
        return torch.stack(phases)


class _ObjectUNet(nn.Module):
    """U-Net over blocks of an object's voxels: four real channels to two, which are 0 at first."""

    def __init__(self, width: float) -> None:
        super().__init__()
        levels = [group_multiple(channels, width) for channels in _LEVELS]
        voxels = _EDGE**3
        self.encoder, self.decoder, self.rise = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        channels = 4 * voxels
        for outputs in levels:
            self.encoder.append(BlockPair(channels, outputs))
            channels = outputs
        for outputs in levels[-2::-1]:
            self.rise.append(nn.Conv3d(channels, outputs, 1))
            self.decoder.append(BlockPair(outputs, outputs))
            channels = outputs
        self.head = nn.Conv3d(channels, 2 * voxels, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Return what is added to an object, (batch, 2, z, y, x)."""
        skips = [self.encoder[0](to_blocks(x, _EDGE))]
        for block in self.encoder[1:]:
            skips.append(block(F.avg_pool3d(skips[-1], 2)))
        found = skips.pop()
        for rise, block in zip(self.rise, self.decoder, strict=True):
            found = block(F.interpolate(rise(found), scale_factor=2) + skips.pop())
        return from_blocks(self.head(found), _EDGE)


def _scaled(counts: Tensor) -> Tensor:
    """Return moduli whose squares sum to what an object of modulus 1 has in a part of the box."""
    power = counts.flatten(1).sum(1).clamp(min=1).reshape(-1, 1, 1, 1, 1)
    return (counts * (_FILLED * _box(counts.shape[-1]) ** 3 / power)).sqrt()


def _box(n: int) -> int:
    return n * _BOX[0] // _BOX[1]


def _object(wave: Tensor) -> Tensor:
    """Return the middle of the object, whose transform about the middle is a wave, with the norm kept."""
    axes = (2, 3, 4)
    n = wave.shape[-1]
    box, start = _box(n), n // 2 - _box(n) // 2
    found = torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(wave, axes), dim=axes, norm="ortho"), axes)
    middle: Tensor = found[..., start : start + box, start : start + box, start : start + box]
    return middle


def _wave(found: Tensor, shape: torch.Size) -> Tensor:
    """Return the transform of an object that is 0 outside of the box."""
    axes = (2, 3, 4)
    n = shape[-1]
    start = n // 2 - found.shape[-1] // 2
    after = n - start - found.shape[-1]
    whole = F.pad(found, (start, after) * 3)
    wave: Tensor = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(whole, axes), dim=axes, norm="ortho"), axes)
    return wave
