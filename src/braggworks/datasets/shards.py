"""Shards: one HDF5 file of training samples from one batch, with a JSON sidecar that says what it must hold."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from braggworks.campaigns import Family, Task
from braggworks.datasets.counts import LOW, Counts, CountsWriter
from braggworks.datasets.samples import (
    ATOM_COLUMNS,
    COLUMNS,
    Pattern,
    Samples,
    columns_of,
    decode_phase,
    holds_mask,
    particle_samples,
)
from braggworks.errors import FileError
from braggworks.files import create_h5, open_h5, read_json, sha256_of

if TYPE_CHECKING:
    from braggworks.recipes import SamplesRecipe

__all__ = [
    "AGAIN",
    "COLUMNS",
    "Pattern",
    "ShardFiles",
    "ShardWriter",
    "Sidecar",
    "create_shard",
    "read_columns",
    "read_sidecar",
]

AGAIN = "delete it (`braggworks verify --delete` does) and run `braggworks run` again"
VOXELS: dict[str, str] = {LOW: "u2", "mask": "u1", "phase": "i2"}
# Values that bitshuffle packs together: 32 kB of counts read 10 % faster than its default of 8 kB, and are smaller.
_BLOCK = 16384
# Fewer than the 1024 files that a process may usually open.
_MAX_OPEN = 128


@dataclass(frozen=True)
class Sidecar:
    """What a shard must hold.

    Parameters
    ----------
    kind
        Always ``"shard"``.
    file
        The shard, relative to the sidecar's folder.
    sha256
        Hash of the shard's bytes.
    task
        What its samples are for.
    shape
        Voxels of a sample, (z, y, x) or (y, x).
    samples
        Number of samples, the same for each particle.
    particles
        Indices of the particles, in the order of their samples.
    campaign, family, batch
        Where the samples come from.
    recipe
        What the samples were made with (a `braggworks.recipes.SamplesRecipe`).
    counts_sum
        Sum of all counts.
    bytes
        Size of the shard.
    rejected
        Draws that were rejected, because their pattern would have been undersampled, and drawn again.
    provenance
        Stages, tools and environments that made it; see `braggworks.provenance.lineage`.
    """

    kind: str
    file: str
    sha256: str
    task: str
    shape: tuple[int, ...]
    samples: int
    particles: tuple[int, ...]
    campaign: str
    family: str
    batch: int
    recipe: dict[str, Any]
    counts_sum: int
    bytes: int
    rejected: int
    provenance: list[dict[str, Any]]

    @property
    def masked(self) -> bool:
        """Whether the samples have a mask."""
        detector = self.recipe.get("detector") or {}
        return self.task == "inpaint" or detector.get("dead_fraction", 0) > 0 or detector.get("hot_fraction", 0) > 0

    @property
    def voxels(self) -> dict[str, str]:
        """Names and types of the arrays with one block of voxels per sample."""
        return _voxels(self.task, masked=self.masked)

    def to_json(self) -> dict[str, Any]:
        """Return what `read_sidecar` reads."""
        return asdict(self)


def read_sidecar(path: str | Path) -> Sidecar:
    """Read a shard's sidecar. Raises `FileError` if it is missing or damaged."""
    value = read_json(path)
    if not isinstance(value, dict) or value.get("kind") != "shard":
        raise FileError(f"{path} is no sidecar of a shard: give the JSON files that `braggworks shard` writes.")
    try:
        sidecar = TypeAdapter(Sidecar).validate_python(value)
        sound = (
            bool(sidecar.particles)
            and sidecar.samples % len(sidecar.particles) == 0
            and len(sidecar.shape) in {2, 3}
            and set(sidecar.shape) == {int(sidecar.recipe["patches"]["size"])}
            and sidecar.task in get_args(Task)
            and sidecar.family in get_args(Family)
        )
    except (ValidationError, KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise FileError(f"{path} is damaged: {AGAIN}.")
    return sidecar


@contextmanager
def create_shard(
    path: str | Path,
    recipe: SamplesRecipe,
    *,
    batch: int,
    particles: Sequence[int],
    patterns: int,
    ndim: int,
) -> Iterator[ShardWriter]:
    """Open a shard that takes its name only when it is complete; the same patterns give the same bytes.

    Parameters
    ----------
    path
        File to write.
    recipe
        Task, patches and gaps.
    batch
        Number of the batch.
    particles
        Indices of its particles, in the order in which they will be added.
    patterns
        Patterns of each particle.
    ndim
        Axes of a pattern: 2 or 3.

    Yields
    ------
    ShardWriter
        To which each particle's patterns are added; once the block has ended, it gives the sidecar.

    Raises
    ------
    ValueError
        If particles or patterns were added in another order or number.
    ConfigError
        If patches do not fit in the patterns, or gaps in the patches.
    FileError
        If the disk is full or the folder cannot be written.
    """
    with create_h5(path, "shard", batch=batch, particles=len(particles)) as file:
        # Fixed-length text lies under a checksum; where other text is damaged, HDF5 may hang instead of failing.
        texts = {"kind": "shard", "campaign": recipe.campaign, "recipe": recipe.to_json()}
        file.attrs.update({name: np.bytes_(text) for name, text in texts.items()})
        writer = ShardWriter(Path(path), file, recipe, batch=batch, particles=particles, patterns=patterns, ndim=ndim)
        yield writer
        writer.finish()


class ShardWriter:
    """Writes the samples of one batch, particle by particle; made by `create_shard`.

    Parameters
    ----------
    path
        The shard's final path.
    file
        The open file.
    recipe, batch, particles, patterns, ndim
        See `create_shard`.
    """

    def __init__(
        self,
        path: Path,
        file: h5py.File,
        recipe: SamplesRecipe,
        *,
        batch: int,
        particles: Sequence[int],
        patterns: int,
        ndim: int,
    ) -> None:
        self._path, self._file, self._recipe, self._batch = path, file, recipe, batch
        self._particles, self._patterns, self._shape = tuple(particles), patterns, (recipe.patches.size,) * ndim
        self._samples = len(self._particles) * patterns * recipe.patches.per_pattern
        self._added: list[int] = []
        self._row = self._sum = 0
        self._columns: dict[str, list[NDArray[Any]]] = {name: [] for name in columns_of(recipe.family)}
        shape = (self._samples, *self._shape)
        options: dict[str, Any] = {"chunks": (1, *self._shape), "fletcher32": True, "track_times": False}
        options |= hdf5plugin.Bitshuffle(nelems=_BLOCK)
        self._counts = CountsWriter(file, shape, options)
        for name, kind in _voxels(recipe.task, masked=holds_mask(recipe)).items():
            if name != LOW:
                file.create_dataset(name, shape, kind, **options)

    def add(self, index: int, patterns: Iterable[Pattern]) -> None:
        """Add the next particle.

        Parameters
        ----------
        index
            Its index in the campaign.
        patterns
            Its patterns, in order; may be a generator, so that they need not all be in memory.

        Raises
        ------
        ValueError, ConfigError
            See `create_shard`.
        """
        if (*self._added, index) != self._particles[: len(self._added) + 1]:
            raise ValueError(f"particle {index} comes out of turn among {self._particles}")
        self._added.append(index)
        for samples in particle_samples(index, patterns, self._patterns, self._recipe, len(self._shape)):
            self._write(samples)

    def _write(self, samples: Samples) -> None:
        here = slice(self._row, self._row + len(samples["counts"]))
        self._counts.write(self._row, samples["counts"])
        for name in ("mask", "phase"):
            if name in samples:
                self._file[name][here] = samples[name]
        for name, values in self._columns.items():
            values.append(samples[name])
        self._row, self._sum = here.stop, self._sum + int(samples["counts"].sum(dtype=np.uint64))

    def finish(self) -> None:
        """Write the per-sample values; `create_shard` calls it."""
        if tuple(self._added) != self._particles:
            raise ValueError(f"only {len(self._added)} of {len(self._particles)} particles were added")
        self._counts.finish()
        for name, values in self._columns.items():
            data = np.concatenate(values)
            self._file.create_dataset(name, data=data, chunks=data.shape, fletcher32=True, track_times=False)

    def sidecar(self, rejected: int, provenance: list[dict[str, Any]]) -> Sidecar:
        """Return the sidecar, with `file` relative to the shard's own folder; call it after the block.

        Parameters
        ----------
        rejected
            Draws of the batch that were rejected.
        provenance
            What `braggworks.provenance.lineage` returned.
        """
        return Sidecar(
            kind="shard",
            file=self._path.name,
            sha256=sha256_of(self._path),
            task=self._recipe.task,
            shape=self._shape,
            samples=self._samples,
            particles=self._particles,
            campaign=self._recipe.campaign,
            family=self._recipe.family,
            batch=self._batch,
            recipe=json.loads(self._recipe.to_json()),
            counts_sum=self._sum,
            bytes=self._path.stat().st_size,
            rejected=rejected,
            provenance=provenance,
        )


def read_columns(path: str | Path, campaign: str) -> dict[str, NDArray[Any]]:
    """Return the per-sample values of a shard, by the names of `COLUMNS`, and `ATOM_COLUMNS` where it has them.

    Parameters
    ----------
    path
        The shard.
    campaign
        The campaign that it must belong to.

    Raises
    ------
    FileError
        If the shard is missing, damaged, or of another campaign.
    """
    with open_h5(path, "shard") as file:
        try:
            found = file.attrs["campaign"]
            found = found.decode(errors="replace") if isinstance(found, bytes) else found
            if found != campaign:
                raise FileError(f"{path} is a shard of campaign {found!r}, not of {campaign!r}: {AGAIN}.")
            names = [*COLUMNS, *(name for name in ATOM_COLUMNS if name in file)]
            return {name: file[name][()] for name in names}
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise damaged(path, error) from error


def damaged(path: str | Path, error: Exception) -> FileError:
    """Return the sentence for a shard that HDF5 cannot read."""
    reason = str(error.args[0] if error.args else error).splitlines()[0]
    return FileError(f"{path} is damaged ({reason}): {AGAIN}.")


class ShardFiles:
    """Voxels of several shards; each process opens a file when it first needs it, so that forks share none.

    Parameters
    ----------
    paths
        The shards.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = list(paths)
        self._open: dict[int, dict[int, dict[str, h5py.Dataset | Counts]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"paths": self.paths, "_open": {}}

    def read(self, shard: int, rows: slice, names: Sequence[str]) -> list[NDArray[Any]]:
        """Return arrays of consecutive samples of one shard.

        Parameters
        ----------
        shard
            Its place in `paths`.
        rows
            The samples.
        names
            Of ``counts`` (uint32), ``mask`` (uint8) and ``phase`` (returned in radians, float32), those wanted.

        Returns
        -------
        list
            (k, p, ...) each, in the order of `names`.

        Raises
        ------
        FileError
            If the shard is missing or damaged.
        """
        try:
            arrays = self._arrays(shard)
            found: list[NDArray[Any]] = [arrays[name][rows] for name in names]
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise damaged(self.paths[shard], error) from error
        return [decode_phase(part) if name == "phase" else part for name, part in zip(names, found, strict=True)]

    def close(self) -> None:
        """Close this process's files."""
        for arrays in self._open.pop(os.getpid(), {}).values():
            arrays["counts"].file.close()

    def _arrays(self, shard: int) -> dict[str, h5py.Dataset | Counts]:
        """Return the open arrays of a shard: to look one up takes longer than to read a small sample."""
        files = self._open.setdefault(os.getpid(), {})
        if shard not in files:
            if len(files) >= _MAX_OPEN:
                files.pop(next(iter(files)))["counts"].file.close()
            file = h5py.File(self.paths[shard], "r")
            files[shard] = {"counts": Counts(file), **{name: file[name] for name in ("mask", "phase") if name in file}}
        return files[shard]


def _voxels(task: str, *, masked: bool) -> dict[str, str]:
    wanted = {LOW: True, "mask": masked, "phase": task == "phase"}
    return {name: kind for name, kind in VOXELS.items() if wanted[name]}
