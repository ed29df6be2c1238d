"""Counts in a shard: 16 bits for each voxel, and a list of the few bright ones that need more.

Two bytes are read 1.3 times as fast as four. A voxel of 65535 counts or more holds 65535 in ``counts16`` and is listed:
sample i has the entries from ``bright_first[i]`` up to ``bright_first[i + 1]`` of ``bright_voxel``, its place in the
flattened sample, and ``bright_counts``.
"""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

LOW, FIRST, VOXEL, BRIGHT = "counts16", "bright_first", "bright_voxel", "bright_counts"
_MOST = np.iinfo(np.uint16).max


class CountsWriter:
    """Writes counts sample by sample into datasets of an open shard.

    Parameters
    ----------
    file
        The shard, open for writing.
    shape
        (samples, y, x) or (samples, z, y, x).
    options
        Compression and checksum of ``counts16``.
    """

    def __init__(self, file: h5py.File, shape: tuple[int, ...], options: dict[str, Any]) -> None:
        self._file, self._low = file, file.create_dataset(LOW, shape, "u2", **options)
        self._numbers: list[NDArray[np.intp]] = []
        self._voxels: list[NDArray[np.uint32]] = []
        self._bright: list[NDArray[np.uint32]] = []

    def write(self, row: int, counts: NDArray[np.uint32]) -> None:
        """Write the next samples.

        Parameters
        ----------
        row
            Number of the first one, one after the last one written.
        counts
            (k, ...) uint32.
        """
        self._low[row : row + len(counts)] = np.minimum(counts, _MOST).astype(np.uint16)
        flat = counts.reshape(len(counts), -1)
        sample, voxel = np.nonzero(flat >= _MOST)
        self._numbers.append(np.bincount(sample, minlength=len(counts)))
        self._voxels.append(voxel.astype(np.uint32))
        self._bright.append(flat[sample, voxel])

    def finish(self) -> None:
        """Write the list of bright voxels."""
        first = np.concatenate([[0], np.cumsum(np.concatenate(self._numbers))]).astype(np.uint64)
        for name, values in ((FIRST, first), (VOXEL, _joined(self._voxels)), (BRIGHT, _joined(self._bright))):
            # HDF5 has no chunks of nothing.
            options = {"chunks": values.shape, "fletcher32": True} if values.size else {}
            self._file.create_dataset(name, data=values, track_times=False, **options)


class Counts:
    """Counts of the samples of an open shard, uint32; ``counts[3]`` and ``counts[2:7]`` read them.

    Parameters
    ----------
    file
        The shard.

    Raises
    ------
    KeyError, OSError, ValueError
        If the shard is damaged.
    """

    def __init__(self, file: h5py.File) -> None:
        self.file, self._low = file, file[LOW]
        self.shape: tuple[int, ...] = self._low.shape
        self._size = math.prod(self.shape[1:])
        first, voxel, self._bright = (file[name][()] for name in (FIRST, VOXEL, BRIGHT))
        if not self._sound(first, voxel):
            raise ValueError("its list of bright voxels does not fit its samples")
        self._first: list[int] = first.tolist()
        sample = np.repeat(np.arange(len(self)), np.diff(first.astype(np.int64)))
        self._place = voxel + sample * self._size

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice) -> NDArray[np.uint32]:
        if isinstance(rows, slice):
            first, stop, step = rows.indices(len(self))
            if step != 1:
                raise IndexError("consecutive samples only")
            return self._read(first, max(first, stop))
        first = range(len(self))[rows]
        return np.asarray(self._read(first, first + 1)[0])

    def _read(self, first: int, stop: int) -> NDArray[np.uint32]:
        counts: NDArray[np.uint32] = self._low[first:stop].astype(np.uint32)
        begin, end = self._first[first], self._first[stop]
        if begin < end:
            counts.reshape(-1)[self._place[begin:end] - first * self._size] = self._bright[begin:end]
        return counts

    def _sound(self, first: NDArray[Any], voxel: NDArray[Any]) -> bool:
        listed = len(first) == len(self) + 1 and first[0] == 0 and bool((first[1:] >= first[:-1]).all())
        whole = listed and int(first[-1]) == len(voxel) == len(self._bright)
        return whole and bool((voxel < self._size).all()) and bool((self._bright >= _MOST).all())


def _joined(parts: list[NDArray[np.uint32]]) -> NDArray[np.uint32]:
    return np.concatenate([np.empty(0, np.uint32), *parts])
