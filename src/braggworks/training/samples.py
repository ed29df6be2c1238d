"""Normalised training samples, from memory or from disk, turned and mirrored at random."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from braggworks.datasets.gaps import GAP_SHAPES
from braggworks.errors import UserError
from braggworks.seeds import identity_digest
from braggworks.training.normalisation import network_values, normalise

_BYTES_READ = 4 + 1  # counts and mask
_BYTES_PER_VOXEL = _BYTES_READ + 4 + 4 + 1  # and what is made of them
_CHUNK = 64
_READER_GRACE_SECONDS = 60


class Sample(NamedTuple):
    """One sample (z, y, x), or a batch (batch, 1, z, y, x); z has one plane where patches have two dimensions."""

    values: Tensor  # what the network sees
    truth: Tensor
    mask: Tensor  # 1 in the gap


class Patches(Protocol):
    """What is asked of a split of a dataset, as `braggworks.datasets.reader.SampleDataset` offers it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels of a sample, (z, y, x) or (y, x)."""

    @property
    def size(self) -> int:
        """Voxels per axis of a sample."""

    @property
    def gap_shapes(self) -> NDArray[np.uint8]:
        """Shape of each sample's gap, as a number in `braggworks.datasets.gaps.GAP_SHAPES`."""

    @property
    def metadata(self) -> dict[str, NDArray[Any]]:
        """Further columns, one entry per sample."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, sample: int) -> tuple[Tensor, Tensor]:
        """Return counts (float32) and mask (bool) of one sample, each of `shape`."""

    def load_all(self) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Return counts and masks of all samples, (samples, *shape) each."""


class Samples(Dataset[Sample]):
    """Samples of one split, addressed by (epoch, index).

    A split that fits in memory is read and prepared once; a larger one is read and prepared sample by sample, in other
    processes ahead of training. The samples are the same.

    Parameters
    ----------
    patches
        The split.
    prior
        Whether the network wants its gaps interpolated.
    seed
        Seeds the random turns of `augment`; ``None`` for none.
    in_memory
        Whether to read all samples at once; see `memory_needed`.
    readers
        Processes that read ahead of training otherwise; 0 to read when a batch is needed.
    pin
        Whether batches are to lie where a GPU can fetch them by itself.
    """

    def __init__(
        self,
        patches: Patches,
        *,
        prior: bool,
        seed: int | None = None,
        in_memory: bool = True,
        readers: int = 2,
        pin: bool = False,
    ) -> None:
        self._patches, self._prior, self._seed = patches, prior, seed
        self._vertical = np.asarray(patches.gap_shapes) == GAP_SHAPES.index("vertical")
        self._readers, self._pin = 0 if in_memory else readers, pin
        self._prepared = prepare(*patches.load_all(), prior=prior) if in_memory else None

    def __len__(self) -> int:
        return len(self._patches)

    def __getitem__(self, key: tuple[int, ...]) -> Sample:
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

    def keys(
        self, epoch: int, order: NDArray[np.int64], shares: Iterable[NDArray[np.int64]]
    ) -> Iterator[list[tuple[int, ...]]]:
        """Yield the keys of each share; `order` is what is left of the epoch."""
        for share in shares:
            yield [(epoch, int(index)) for index in share]

    def batches(
        self,
        epoch: int,
        order: NDArray[np.int64],
        shares: Callable[[NDArray[np.int64]], Iterable[NDArray[np.int64]]],
    ) -> Iterator[Sample]:
        """Yield the batches into which `shares` cuts the samples `order`; one without samples has empty tensors.

        Raises
        ------
        FileError
            If a shard is missing or damaged.
        """
        yield from self._loaded(epoch, order, shares, _stack)

    def _loaded(
        self,
        epoch: int,
        order: NDArray[np.int64],
        shares: Callable[[NDArray[np.int64]], Iterable[NDArray[np.int64]]],
        collate: Callable[[list[Any]], Any],
    ) -> Iterator[Any]:
        """Yield what `collate` makes of the samples of each batch."""
        loader = DataLoader(
            self,
            batch_sampler=list(self.keys(epoch, order, shares(order))),
            collate_fn=collate,
            # More than the processors would only be warned of.
            num_workers=min(self._readers, len(os.sched_getaffinity(0))) if len(order) else 0,
            worker_init_fn=_keep_reading,
            generator=torch.Generator(),
            pin_memory=self._pin,
        )
        failure = None
        try:
            yield from loader
        except UserError as error:
            # A reader's error comes with its traceback, whose last line is the class and the sentence.
            sentence = str(error).strip().splitlines()[-1]
            failure = type(error)(sentence.removeprefix(f"{type(error).__module__}.{type(error).__name__}: "))
            # Its traceback would keep the readers alive until they are killed.
            error.with_traceback(None)
        if failure:
            raise failure


def memory_needed(patches: Patches, *, prepared: bool = True) -> int:
    """Return the bytes that are needed to hold all samples at once, and to prepare them."""
    return len(patches) * math.prod(patches.shape) * (_BYTES_PER_VOXEL if prepared else _BYTES_READ)


def prepare(counts: NDArray[Any], mask: NDArray[Any], *, prior: bool) -> Sample:
    """Normalise samples (samples, [z,] y, x) into (samples, z, y, x); the mask of the result is bool."""
    if counts.ndim == 3:
        counts, mask = counts[:, None], mask[:, None]
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
        Whether a swap is allowed: a gap with an arm normal to y would become one that no detector has. A sample of one
        plane is never swapped.
    """
    axes = [axis for axis in range(3) if turn >> axis & 1]
    swapped = swap and len(sample.truth) > 1 and bool(turn >> 3 & 1)
    parts = (part.transpose(0, 1) if swapped else part for part in sample)
    return Sample(*(part.flip(axes) if axes else part for part in parts))


def _stack(samples: Iterable[Sample]) -> Sample:
    """Return a batch of samples of any task."""
    found = list(samples)
    if not found:
        return Sample(*[torch.empty(0)] * 3)
    return type(found[0])(*(torch.stack(parts)[:, None].float() for parts in zip(*found, strict=True)))


def _keep_reading(worker: int) -> None:
    """Outlive a signal that a job's processes all receive: the training process decides when to stop."""
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    # By this one, the training process also ends readers that it has left behind.
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(_READER_GRACE_SECONDS))
