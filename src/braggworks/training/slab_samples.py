"""Training samples whose gaps and noise are drawn anew in every epoch: slabs through bright patterns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from braggworks.config import SlabConfig
from braggworks.errors import ConfigError
from braggworks.networks.plane_network import PLANES
from braggworks.seeds import generator
from braggworks.training.samples import Patches, Sample, Samples

NARROW_PX = 12


class SlabSamples(Samples):
    """Slabs through the patches of one split, addressed by (epoch, index, width).

    The patches' own gaps are not looked at. Each sample is cut to the slab and the planes that the plane network sees
    on either side, (z, y, planes), so that a batch has slabs of one width. Its counts are those of the shard times a
    factor, with Poisson noise or, for some samples, without. All is drawn from seed, epoch and index.

    Parameters
    ----------
    patches
        The split, with the column ``total_counts`` in its metadata.
    slabs
        What is drawn.
    batch_size
        Samples of all parts of a batch.
    seed
        Seeds all draws.
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
        needed = slabs.widths_px[1] + 2 * PLANES
        if patches.size < needed:
            raise ConfigError(
                f"Slabs of {slabs.widths_px[1]} px need patches of {needed} px, and the release has {patches.size}: "
                f"set training.slabs.widths_px to at most {patches.size - 2 * PLANES}, or use larger patches."
            )
        self._patches, self._slabs, self._batch_size, self._draws = patches, slabs, batch_size, seed
        self._readers, self._pin = 0 if in_memory else readers, pin
        self._totals = np.asarray(patches.metadata["total_counts"], dtype=np.float64)
        if not (self._totals > 0).all():
            raise ConfigError("Some samples have no total counts, as patches of scans: leave them out of the release.")
        self._counts = patches.load_all()[0] if in_memory else None

    def __getitem__(self, key: tuple[int, ...]) -> Sample:
        epoch, index, width = key
        counts = self._patches[index][0].numpy() if self._counts is None else self._counts[index]
        rng = generator("slab", self._draws, epoch, index)
        planes = _cut(counts, width, rng)
        logs = np.log1p(self._seen(planes, self._totals[index], rng), dtype=np.float32)
        truth = torch.from_numpy(logs)
        mask = torch.zeros(truth.shape, dtype=torch.bool)
        mask[..., PLANES : PLANES + width] = True
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

    def _seen(self, planes: NDArray[np.float64], total: float, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return counts as a detector sees them with fewer photons, or expected ones."""
        low, high = np.log(np.minimum(self._slabs.total_counts, total))
        expected: NDArray[np.float64] = planes * (np.exp(rng.uniform(low, high)) / total)
        noise_free = rng.random() < self._slabs.noise_free
        return expected if noise_free else rng.poisson(expected).astype(np.float64)


def draw_width(slabs: SlabConfig, rng: np.random.Generator) -> int:
    """Return a width in pixels: narrow ones and wide ones, each in equal parts."""
    low, high = slabs.widths_px
    if low > NARROW_PX or (high > NARROW_PX and rng.random() >= slabs.narrow_share):
        low = max(low, NARROW_PX + 1)
    else:
        high = min(high, NARROW_PX)
    return int(rng.integers(low, high, endpoint=True))


def _cut(counts: NDArray[np.float32] | NDArray[np.uint32], width: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return planes around a slab at a random place, turned and mirrored at random, (z, y, planes)."""
    planes = np.transpose(counts, rng.permutation(3))
    start = int(rng.integers(planes.shape[2] - width - 2 * PLANES, endpoint=True))
    planes = planes[..., start : start + width + 2 * PLANES]
    steps = tuple(slice(None, None, -1 if mirrored else 1) for mirrored in rng.random(3) < 0.5)
    return np.ascontiguousarray(planes[steps], dtype=np.float64)
