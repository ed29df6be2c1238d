"""Which samples a dataset holds, and what is in each: the ground on which lost, doubled and changed are counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (lets h5py read the shards)
import numpy as np
from numpy.typing import NDArray

#: (campaign, particle, pattern, number of the patch in its pattern)
Identity = tuple[str, int, int, int]
#: Every sample by its identity, with the hashes of all samples that claim it.
Samples = dict[Identity, list[str]]


def samples_of(shards: Iterable[Path]) -> Samples:
    """Return the samples of some shards, read without the package's own reader."""
    found: Samples = {}
    for shard in shards:
        with h5py.File(shard, "r") as file:
            campaign = bytes(file.attrs["campaign"]).decode()
            arrays = {name: data[()] for name, data in file.items() if isinstance(data, h5py.Dataset)}
        rows = {name: data for name, data in arrays.items() if len(data) == len(arrays["particle"])}
        # Such as the list of the brightest voxels, which belongs to all samples of the shard.
        common = b"".join(_described(name, arrays[name]) for name in sorted(arrays.keys() - rows.keys()))
        patches: Counter[tuple[int, int]] = Counter()
        for row, (particle, pattern) in enumerate(zip(arrays["particle"], arrays["pattern"], strict=True)):
            place = (int(particle), int(pattern))
            digest = hashlib.sha256(common)
            for name in sorted(rows):
                digest.update(_described(name, np.asarray(rows[name][row])))
            found.setdefault((campaign, *place, patches[place]), []).append(digest.hexdigest())
            patches[place] += 1
    return found


def _described(name: str, array: NDArray[Any]) -> bytes:
    """Return an array's bytes behind its name, type and shape."""
    return f"{name} {array.dtype.str} {array.shape};".encode() + np.ascontiguousarray(array).tobytes()


def fingerprint(path: Path) -> str:
    """Return a hash of a file: of its bytes, or of what it holds where the file also tells how long it took."""
    if path.parent.name in {"crystals", "relaxed"} or path.parent.name.startswith("patterns"):
        return _content(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _content(path: Path) -> str:
    digest = hashlib.sha256()

    def add(name: str, part: h5py.HLObject) -> None:
        for key in sorted(set(part.attrs) - {"seconds"}):
            digest.update(f"{name}.{key}={part.attrs[key]!r};".encode())
        if isinstance(part, h5py.Dataset):
            digest.update(_described(name, np.asarray(part[()])))

    try:
        with h5py.File(path, "r") as file:
            add("/", file)
            file.visititems(add)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        return f"unreadable: {error}"
    return digest.hexdigest()


def wrong_samples(wanted: Samples, found: Samples) -> dict[str, int]:
    """Return how many samples are lost, doubled, changed, or should not be there."""
    return {
        "lost": sum(identity not in found for identity in wanted),
        "doubled": sum(len(hashes) > 1 for hashes in found.values()),
        "changed": sum(wanted[identity][0] not in found.get(identity, wanted[identity]) for identity in wanted),
        "foreign": sum(identity not in wanted for identity in found),
    }
