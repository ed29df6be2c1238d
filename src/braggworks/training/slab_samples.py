"""Training samples whose gaps are drawn anew in every epoch: slabs through bright patterns, or through one scan."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from braggworks.config import SlabConfig
from braggworks.errors import ConfigError
from braggworks.inpainting.band_limit import REACH
from braggworks.networks.plane_network import PLANES
from braggworks.seeds import generator
from braggworks.training.samples import Patches, Sample, Samples
from braggworks.training.scan_windows import Windows

NARROW_PX = 12


class DrawnSlabs(Samples):
    """Slabs that are drawn from seed, epoch and index, addressed by (epoch, index, width).

    Each sample holds the slab and the planes that the plane network sees on either side, (z, y, planes), so that a
    batch has slabs of one width.

    Parameters
    ----------
    slabs
        What is drawn.
    batch_size
        Samples of all parts of a batch.
    seed
        Seeds all draws.
    """

    def __init__(self, slabs: SlabConfig, batch_size: int, seed: int) -> None:
        self._slabs, self._batch_size, self._draws = slabs, batch_size, seed
        self._readers, self._pin = 0, False

    def __getitem__(self, key: tuple[int, ...]) -> Sample:
        epoch, index, width = key
        counts = self._planes(index, width, generator("slab", self._draws, epoch, index))
        truth = torch.from_numpy(np.log1p(counts, dtype=np.float32))
        mask = torch.zeros(truth.shape, dtype=torch.bool)
        side = (truth.shape[-1] - width) // 2
        mask[..., side : side + width] = True
        return Sample(torch.where(mask, torch.zeros(()), truth), truth, mask)

    def keys(
        self, epoch: int, order: NDArray[np.int64], shares: Iterable[NDArray[np.int64]]
    ) -> Iterator[list[tuple[int, ...]]]:
        """Yield the keys of each batch's share; its width follows from its place in the epoch."""
        position = len(self) - len(order)
        for number, share in enumerate(shares):
            rng = generator("slab width", self._draws, epoch, position + number * self._batch_size)
            width = draw_width(self._slabs, rng)
            yield [(epoch, int(index), width) for index in share]

    @abstractmethod
    def _planes(self, index: int, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the counts of a sample, (z, y, planes)."""


class SlabSamples(DrawnSlabs):
    """Slabs through the patches of one split, whose own gaps are not looked at.

    Their counts are those of the shard times a factor, with Poisson noise or, for some samples, without.

    Parameters
    ----------
    patches
        The split, with the column ``total_counts`` in its metadata.
    slabs, batch_size, seed
        As for `DrawnSlabs`.
    in_memory, readers, pin
        As for `Samples`.

    Raises
    ------
    ConfigError
        If the patches are too small for the widest slab, or their total counts are unknown.
    """

    def __init__(
        self,
        patches: Patches,
        slabs: SlabConfig,
        *,
        batch_size: int,
        seed: int,
        in_memory: bool = True,
        readers: int = 2,
        pin: bool = False,
    ) -> None:
        super().__init__(slabs, batch_size, seed)
        needed = slabs.widths_px[1] + 2 * PLANES
        if patches.size < needed:
            raise ConfigError(
                f"Slabs of {slabs.widths_px[1]} px need patches of {needed} px, and the release has {patches.size}: "
                f"set training.slabs.widths_px to at most {patches.size - 2 * PLANES}, or use larger patches."
            )
        self._patches = patches
        self._readers, self._pin = 0 if in_memory else readers, pin
        self._totals = np.asarray(patches.metadata["total_counts"], dtype=np.float64)
        if not (self._totals > 0).all():
            raise ConfigError("Some samples have no total counts, as patches of scans: leave them out of the release.")
        self._counts = patches.load_all()[0] if in_memory else None

    def _planes(self, index: int, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
        counts = self._patches[index][0].numpy() if self._counts is None else self._counts[index]
        planes = np.transpose(counts, rng.permutation(3))
        # All samples of one width have as many planes.
        thick = width + 2 * min(REACH, (planes.shape[2] - width) // 2)
        start = int(rng.integers(planes.shape[2] - thick, endpoint=True))
        planes = _mirrored(planes[..., start : start + thick], rng)
        return self._seen(planes, self._totals[index], rng)

    def _seen(self, planes: NDArray[np.float64], total: float, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return counts as a detector sees them with fewer photons, or, nearly without noise, as they are."""
        if rng.random() < self._slabs.noise_free:
            return planes.astype(np.float64)
        low, high = np.log(np.minimum(self._slabs.total_counts, total))
        seen: NDArray[np.int64] = rng.poisson(planes * (np.exp(rng.uniform(low, high)) / total))
        return seen.astype(np.float64)


class ScanSlabs(DrawnSlabs):
    """Slabs through measured voxels of one scan; none sees a masked voxel.

    Parameters
    ----------
    counts
        (z, y, x) counts.
    windows
        Where slabs may lie; they must have room for the widest.
    number
        Samples in an epoch.
    slabs, batch_size, seed
        As for `DrawnSlabs`; counts are taken as they were measured.
    """

    def __init__(
        self,
        counts: NDArray[Any],
        windows: Windows,
        slabs: SlabConfig,
        *,
        number: int,
        batch_size: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(slabs, batch_size, seed)
        self._scan, self._windows, self._number = counts, windows, number

    def __len__(self) -> int:
        return self._number

    def _planes(self, index: int, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
        axis, window = self._windows.draw(width, rng)
        planes = np.moveaxis(self._scan[window], axis, 2)
        return _mirrored(planes.transpose(1, 0, 2) if rng.random() < 0.5 else planes, rng)


def draw_width(slabs: SlabConfig, rng: np.random.Generator) -> int:
    """Return a width in pixels: narrow ones and wide ones, each in equal parts."""
    low, high = slabs.widths_px
    if low > NARROW_PX or (high > NARROW_PX and rng.random() >= slabs.narrow_share):
        low = max(low, NARROW_PX + 1)
    else:
        high = min(high, NARROW_PX)
    return int(rng.integers(low, high, endpoint=True))


def _mirrored(planes: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float64]:
    steps = tuple(slice(None, None, -1 if mirrored else 1) for mirrored in rng.random(3) < 0.5)
    return np.ascontiguousarray(planes[steps], dtype=np.float64)
