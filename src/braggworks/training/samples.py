"""Normalised training samples, from memory or from disk, turned and mirrored at random."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from braggworks.datasets.gaps import GAP_SHAPES
from braggworks.seeds import identity_digest
from braggworks.training.normalisation import network_values, normalise

MEMORY_LIMIT = 1 << 30
"""Prepared samples larger than this many bytes are read while training."""

_BYTES_PER_VOXEL = 4 + 4 + 1
_CHUNK = 64
_WORKERS = 2


class Sample(NamedTuple):
    """One sample (z, y, x), or a batch (batch, 1, z, y, x)."""

    values: Tensor  # what the network sees
    truth: Tensor
    mask: Tensor  # 1 in the gap


class Patches(Protocol):
    """What is asked of a split of a dataset, as `braggworks.datasets.reader.SampleDataset` offers it."""

    @property
    def size(self) -> int:
        """Voxels per axis of a sample."""

    @property
    def gap_shapes(self) -> NDArray[np.uint8]:
        """Shape of each sample's gap, as a number in `braggworks.datasets.gaps.GAP_SHAPES`."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, sample: int) -> tuple[Tensor, Tensor]:
        """Return counts (float32) and mask (bool) of one sample, (z, y, x) each."""

    def load_all(self) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Return counts and masks of all samples, (samples, z, y, x) each."""


class Samples(Dataset[Sample]):
    """Samples of one split, addressed by (epoch, index).

    A split that fits in memory is read and prepared once; a larger one is read sample by sample.

    Parameters
    ----------
    patches
        The split.
    prior
        Whether the network wants its gaps interpolated.
    seed
        Seeds the random turns of `augment`; ``None`` for none.
    memory_limit
        Largest size of the prepared samples, in bytes.
    """

    def __init__(
        self, patches: Patches, *, prior: bool, seed: int | None = None, memory_limit: int = MEMORY_LIMIT
    ) -> None:
        self._patches, self._prior, self._seed = patches, prior, seed
        self._vertical = np.asarray(patches.gap_shapes) == GAP_SHAPES.index("vertical")
        in_memory = len(patches) * patches.size**3 * _BYTES_PER_VOXEL <= memory_limit
        self._prepared = prepare(*patches.load_all(), prior=prior) if in_memory else None

    def __len__(self) -> int:
        return len(self._patches)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        if self._prepared is None:
            counts, mask = self._patches[index]
            sample = Sample(*(part[0] for part in prepare(counts[None].numpy(), mask[None].numpy(), prior=self._prior)))
        else:
            sample = Sample(*(part[index] for part in self._prepared))
        if self._seed is None:
            return sample
        turn = identity_digest("augment", self._seed, epoch, index)
        return augment(sample, turn, swap=bool(self._vertical[index]))

    def batches(self, epoch: int, order: Sequence[int] | NDArray[np.int64], batch_size: int) -> Iterator[Sample]:
        """Yield batches of the samples `order` in that order; the last one may be smaller."""
        keys = [(epoch, int(index)) for index in order]
        plan = [keys[start : start + batch_size] for start in range(0, len(keys), batch_size)]
        loader = DataLoader(
            self,
            batch_sampler=plan,
            collate_fn=_stack,
            num_workers=_WORKERS if self._prepared is None and plan else 0,
            generator=torch.Generator(),
        )
        return iter(loader)


def prepare(counts: NDArray[Any], mask: NDArray[Any], *, prior: bool) -> Sample:
    """Normalise samples (samples, z, y, x); the mask of the result is bool."""
    values, truth = (np.empty(counts.shape, np.float32) for _ in range(2))
    gap = np.asarray(mask, dtype=bool)
    for start in range(0, len(counts), _CHUNK):
        part = slice(start, start + _CHUNK)
        truth[part], _ = normalise(counts[part], gap[part])
        values[part] = network_values(truth[part], gap[part], prior=prior)
    return Sample(torch.from_numpy(values), torch.from_numpy(truth), torch.from_numpy(gap))


def augment(sample: Sample, turn: int, *, swap: bool) -> Sample:
    """Mirror a sample (z, y, x) and swap its first two axes, as the lowest four bits of `turn` say.

    Parameters
    ----------
    sample
        With a gap that is the same along the first axis.
    turn
        Bits 0 to 2 mirror z, y and x; bit 3 swaps z and y.
    swap
        Whether a swap is allowed: a gap with an arm normal to y would become one that no detector has.
    """
    axes = [axis for axis in range(3) if turn >> axis & 1]
    swapped = swap and bool(turn >> 3 & 1)
    parts = (part.transpose(0, 1) if swapped else part for part in sample)
    return Sample(*(part.flip(axes) if axes else part for part in parts))


def _stack(samples: Iterable[Sample]) -> Sample:
    return Sample(*(torch.stack(parts)[:, None].float() for parts in zip(*samples, strict=True)))
