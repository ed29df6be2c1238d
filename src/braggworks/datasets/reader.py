"""The torch reader of a release's dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from braggworks.datasets.manifests import load_samples, read_manifest, select_samples
from braggworks.datasets.shards import ShardFiles
from braggworks.datasets.splits import Split


class PatchDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Samples of one split, as (counts, mask) with axes (z, y, x).

    Counts are float32, (p, p, p), complete also under the gap; the mask is bool, true in the gap. Files are opened
    when a process first needs them, so that workers may be forked or spawned.

    Parameters
    ----------
    manifest_path
        The release's manifest.
    split
        Which particles; ``None`` takes all.

    Raises
    ------
    FileError
        If the manifest or a shard is missing, damaged, or of another campaign.
    """

    def __init__(self, manifest_path: str | Path, split: Split | None) -> None:
        self.manifest = read_manifest(manifest_path)
        self.table = select_samples(self.manifest, split)
        self._files = ShardFiles(self.table.files)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, sample: int) -> tuple[torch.Tensor, torch.Tensor]:
        shard, row = int(self.table.shard[sample]), int(self.table.row[sample])
        counts, mask = self._files.read(shard, slice(row, row + 1))
        return torch.from_numpy(counts[0].astype(np.float32)), torch.from_numpy(mask[0].astype(bool))

    def load_all(self) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Return counts and masks of all samples, (S, p, p, p) each, for a dataset that fits in memory."""
        return load_samples(self.table)

    @property
    def size(self) -> int:
        """Voxels per axis of a sample."""
        return self.table.patch_size

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
        """Width of each sample's gap, in pixels."""
        return self.table.columns["gap_width"]

    @property
    def crosses(self) -> NDArray[np.bool_]:
        """Whether each sample's gap is a cross."""
        return self.table.columns["cross"].astype(bool)

    @property
    def metadata(self) -> dict[str, NDArray[Any]]:
        """All per-sample values, by the names of `braggworks.datasets.shards.COLUMNS`."""
        return self.table.columns
