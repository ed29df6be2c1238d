"""The torch reader of a release's dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from braggworks.datasets.manifests import load_samples, read_manifest, select_samples
from braggworks.datasets.order import BLOCK, BUFFER, bounded_order
from braggworks.datasets.shards import ShardFiles
from braggworks.datasets.splits import SPLITS, Split
from braggworks.errors import ConfigError


class SampleDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Samples of one split, with axes (z, y, x), or (y, x) in two dimensions.

    For the task inpaint a sample is (counts, mask): counts are float32, (p, p, p), and complete also under the gap; the
    mask is bool, true where nothing was measured. For the task phase it is (counts, phase): the reciprocal-space phase
    is float32, in radians in [-pi, pi). Files are opened when a process first needs them, so that workers may be forked
    or spawned.

    Parameters
    ----------
    manifest_path
        The release's manifest.
    split
        Which particles; ``None`` takes all.

    Raises
    ------
    ConfigError
        If there is no such split.
    FileError
        If the manifest or a shard is missing, damaged, or of another campaign.
    """

    def __init__(self, manifest_path: str | Path, split: Split | None) -> None:
        if split is not None and split not in SPLITS:
            raise ConfigError(f"There is no split {split!r}: use {', '.join(SPLITS)}, or None for all samples.")
        self.manifest = read_manifest(manifest_path)
        self.table = select_samples(self.manifest, split)
        self._files = ShardFiles(self.table.files)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, sample: int) -> tuple[torch.Tensor, torch.Tensor]:
        shard, row = int(self.table.shard[sample]), int(self.table.row[sample])
        counts, second = self._files.read(shard, slice(row, row + 1), self.table.voxels)
        kind = bool if self.task == "inpaint" else np.float32
        return torch.from_numpy(counts[0].astype(np.float32)), torch.from_numpy(second[0].astype(kind))

    def load_all(self) -> tuple[NDArray[np.uint32], NDArray[Any]]:
        """Return both arrays of all samples, (S, p, ...) each, for a dataset that fits in memory.

        The counts are uint32; the mask is uint8, or the phase float32.
        """
        return load_samples(self.table)

    @property
    def task(self) -> str:
        """What the samples are for: inpaint or phase."""
        return self.table.task

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels of a sample."""
        return self.table.shape

    @property
    def size(self) -> int:
        """Voxels per axis of a sample."""
        return self.table.shape[0]

    @property
    def particles(self) -> NDArray[np.int64]:
        """Index of each sample's particle, which together with its campaign identifies it."""
        return self.table.columns["particle"]

    @property
    def campaigns(self) -> NDArray[np.str_]:
        """Name of each sample's campaign."""
        return self.table.campaign

    @property
    def gap_widths(self) -> NDArray[np.int32]:
        """Width of each sample's gap, in pixels; 0 for layouts, and where there is none."""
        return self.table.columns["gap_width"]

    @property
    def gap_shapes(self) -> NDArray[np.uint8]:
        """Shape of each sample's gap, as a number in `braggworks.datasets.gaps.GAP_SHAPES`; 255 for none."""
        return self.table.columns["gap_shape"]

    @property
    def metadata(self) -> dict[str, NDArray[Any]]:
        """All per-sample values, by the names of `braggworks.datasets.samples.COLUMNS` and further ones."""
        return self.table.columns


class BoundedShuffle(Sampler[int]):
    """Order of a dataset's samples that depends on (seed, epoch) alone; see `bounded_order`.

    Parameters
    ----------
    n
        Number of samples.
    seed
        The training's seed.
    block, buffer
        See `bounded_order`.
    """

    def __init__(self, n: int, seed: int, block: int = BLOCK, buffer: int = BUFFER) -> None:
        self._n, self._seed, self._block, self._buffer = n, seed, block, buffer
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[int]:
        yield from bounded_order(self._n, self._seed, self.epoch, self._block, self._buffer).tolist()
