"""The plane network, our own: it fills a slab of any width and size at once, from the planes beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import ClassVar, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from braggworks.config import NetworkConfig
from braggworks.inpainting.band_limit import REACH, Band, find_band
from braggworks.inpainting.continuation import continue_planes
from braggworks.networks.base import GapNetwork

PLANES = 8
"""Measured planes on either side that the convolutions see; the band limit is found from up to `REACH`."""

_CHANNELS, _BLOCKS = 96, 8
_DILATIONS = (1, 2, 4, 2)
_FOLD = 2  # pixels per axis that become channels
_WAVES = 24  # sines across the slab
_SHOWN = 8  # places across the slab at which the network sees what it starts from
_LEVEL_PX = 9  # neighbourhood of which the mean is taken off
_SCALE = 4.0  # of log(1 + counts)
_BRIGHT = 1e3  # mean to which intensities without noise are brought
_BRIGHTEST = 1e9
_CLEANER = 1e-2  # noise, as a share of Poisson noise, below which intensities are no counts
_LARGEST = 30.0  # logarithm of an intensity


class PlaneNetwork(GapNetwork):
    """Predicts the difference of a slab from the smoothest continuation of its surroundings.

    The planes beside the slab are the channels of a 2-D network, so that one pass fills the whole slab. The difference
    is a sum of sines across the slab, 0 just outside of it, whose coefficients the network gives for every pixel of the
    plane; the slab's width conditions every block (feature-wise gains and shifts, Perez et al. 2018,
    10.1609/aaai.v32i1.11671). It starts as the continuation itself (`braggworks.inpainting.continuation`). Where a line
    is so clean that the band limit of the intensity tells more (`braggworks.inpainting.band_limit`), the result is
    that, as far as it goes.

    Parameters
    ----------
    width
        Factor on the number of channels, 96.
    """

    memory_format: ClassVar[torch.memory_format] = torch.channels_last
    absolute: ClassVar[bool] = True

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        channels = 8 * max(1, round(_CHANNELS * width / 8))
        self.stem = nn.Conv2d((2 * PLANES + 2 * _SHOWN + 1) * _FOLD**2, channels, 3, padding=1)
        self.condition = nn.Sequential(nn.Linear(3, 64), nn.SiLU(), nn.Linear(64, 2 * channels * _BLOCKS))
        self.blocks = nn.ModuleList(_Block(channels, _DILATIONS[i % len(_DILATIONS)]) for i in range(_BLOCKS))
        self.head = nn.Conv2d(channels, _WAVES * _FOLD**2, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    @classmethod
    def from_config(cls, config: NetworkConfig) -> Self:
        """Build the network that a configuration describes."""
        return cls(config.width)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Return patches whose gap, one slab normal to the last axis and the same in all, is filled.

        Parameters
        ----------
        values
            ``log(1 + counts)``, shape (batch, 1, z, y, x); where fewer than `PLANES` planes lie beside the slab, the
            last one is repeated.
        mask
            1 in the slab.
        """
        inside = torch.nonzero(mask[0, 0, 0, 0])[:, 0]
        start, width = int(inside[0]), len(inside)
        planes = values[:, 0].movedim(-1, 1)
        before = planes[:, max(0, start - REACH) : start]
        after = planes[:, start + width : start + width + REACH]
        filled = self.continued(torch.expm1(before.double()), torch.expm1(after.double()), width)
        parts = [planes[:, :start], torch.log1p(filled).to(planes.dtype), planes[:, start + width :]]
        return torch.cat(parts, 1).movedim(1, -1)[:, None]

    def continued(self, before: Tensor, after: Tensor, width: int) -> Tensor:
        """Return the planes of slabs.

        Parameters
        ----------
        before, after
            Counts of the planes on either side, in the order in which they lie: (batch, planes, z, y); at least one
            plane each, and no more than `REACH` are looked at.
        width
            Planes in each slab.

        Returns
        -------
        Tensor
            Counts, (batch, width, z, y), float32.
        """
        return next(self.views(before, after, width, [()]))

    def views(self, before: Tensor, after: Tensor, width: int, flips: Iterable[tuple[int, ...]]) -> Iterator[Tensor]:
        """Yield the planes of slabs as they are predicted from mirrored views of their surroundings.

        Parameters
        ----------
        before, after, width
            As for `continued`.
        flips
            Axes that are mirrored, for each view: 1 across the slab, 2 for z, 3 for y.

        Yields
        ------
        Tensor
            What `continued` returns, not mirrored. What does not depend on the view is found once.
        """
        before, after = before[:, -REACH:], after[:, :REACH]
        with torch.no_grad():
            bands = [find_band(*sides, width) for sides in zip(before, after, strict=True)]
            gains = [_gain(band, torch.cat(sides)) for band, *sides in zip(bands, before, after, strict=True)]
            gain = torch.tensor(gains, device=before.device)[:, None, None, None]
            first, last = _near(before.flip(1), gain).flip(1), _near(after, gain)
            with torch.autocast(before.device.type, enabled=False):
                smooth = continue_planes(first[:, -2:], last[:, :2], width)
            known, share = _known(bands, smooth, gain)
            del bands  # as large as the slab, in double precision
            start = torch.log1p(((1 - share) * known + share * torch.expm1(smooth)).clamp(min=0))
        for axes in flips:
            ends = (last, first) if 1 in axes else (first, last)
            change = self._change(*(each.flip(axes) for each in (*ends, start, share))).flip(axes)
            guess = torch.expm1((smooth + change).clamp(max=_LARGEST))
            yield ((1 - share) * known + share * guess).clamp(min=0) / gain.float()

    def _change(self, before: Tensor, after: Tensor, start: Tensor, share: Tensor) -> Tensor:
        """Return what is added to the continuation, from logarithms of the planes and of what the slab starts from."""
        width = start.shape[1]
        level = torch.cat([before[:, -2:], after[:, :2]], 1).mean(1, keepdim=True)
        level = F.avg_pool2d(level, _LEVEL_PX, 1, _LEVEL_PX // 2, count_include_pad=False)
        planes = torch.cat([before, after, _shown(start)], 1) - level
        x = torch.cat([planes / _SCALE, level / _SCALE, _shown(share)], 1)
        rows, columns = x.shape[-2:]
        x = F.pad(x, (0, -columns % _FOLD, 0, -rows % _FOLD), mode="replicate")
        x = self.stem(F.pixel_unshuffle(x, _FOLD).contiguous(memory_format=torch.channels_last))
        about = torch.tensor([math.log(width) / 2, 1 / width, width / 20], device=x.device)
        conditions = self.condition(about).view(len(self.blocks), 2, -1, 1, 1)
        for block, (gain, shift) in zip(self.blocks, conditions, strict=True):
            x = block(x, gain, shift)
        waves = F.pixel_shuffle(self.head(F.silu(x)), _FOLD)[..., :rows, :columns]
        return torch.einsum("bkzy,kw->bwzy", waves.float(), _sines(width).to(start)) * _SCALE


class _Block(nn.Module):
    """Two convolutions beside the identity, with which it starts."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        y = self.first(F.silu(x)) * (1 + gain) + shift
        found: Tensor = x + self.second(F.silu(y))
        return found


def _near(planes: Tensor, gain: Tensor) -> Tensor:
    """Return logarithms of the first `PLANES` planes; where there are fewer, the last one is repeated."""
    steps = torch.arange(PLANES, device=planes.device).clamp(max=planes.shape[1] - 1)
    return torch.log1p(planes[:, steps] * gain).float()


def _gain(band: Band | None, planes: Tensor) -> float:
    """Return the factor that makes intensities without noise as bright as those it learned from; 1 for counts."""
    mean = float(planes.mean())
    if band is None or not band.clean.any():
        return 1.0
    power = float(planes.square().mean())
    if float(band.noise.median()) * power > _CLEANER * mean:
        return 1.0
    return max(1.0, min(_BRIGHT / mean, _BRIGHTEST / float(planes.max())))


def _known(bands: list[Band | None], smooth: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the bands tell, (batch, width, z, y), and the weight of the guess against it."""
    known, share = torch.zeros_like(smooth), torch.ones_like(smooth)
    for number, band in enumerate(bands):
        if band is not None:
            known[number] = torch.where(band.clean, band.mean * gain[number], 0.0)
            share[number] = band.share(torch.expm1(smooth[number]) / gain[number])
    return known, share


def _shown(planes: Tensor) -> Tensor:
    """Return planes at evenly spaced places across the slab, from edge to edge."""
    width = planes.shape[1]
    place = ((torch.arange(_SHOWN, device=planes.device) + 0.5) / _SHOWN * (width + 1) - 1).clamp(0, width - 1)
    low = place.long()
    share = (place - low)[:, None, None].to(planes)
    return torch.lerp(planes[:, low], planes[:, (low + 1).clamp(max=width - 1)], share)


def _sines(width: int) -> Tensor:
    """Return sines that are 0 just outside the slab, shape (`_WAVES`, width); those that it cannot hold are 0."""
    wave, place = torch.arange(1, _WAVES + 1)[:, None], torch.arange(1, width + 1)
    found = torch.sin(math.pi * wave * place / (width + 1)) * math.sqrt(2 / (width + 1))
    return torch.where(wave <= width, found, torch.zeros(()))
