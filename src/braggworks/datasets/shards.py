"""Shards: one HDF5 file of training samples from one batch, with a JSON sidecar that says what it must hold."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from braggworks.datasets.gaps import plan_gaps
from braggworks.datasets.patches import choose_corners, extract
from braggworks.diffraction.detector import poisson_counts
from braggworks.errors import FileError
from braggworks.files import create_h5, open_h5, read_json, sha256_of
from braggworks.seeds import generator

if TYPE_CHECKING:
    from braggworks.recipes import ShardRecipe

# One value per sample: name and type; corner has three.
COLUMNS: dict[str, str] = {
    "particle": "i8",
    "pattern": "i4",
    "corner": "i4",
    "gap_width": "i4",
    "cross": "u1",
    "oversampling": "f4",
    "total_counts": "f8",
}
AGAIN = "delete it and run `braggworks run` again"
# Fewer than the 1024 files that a process may usually open.
_MAX_OPEN = 128

Groups = list[tuple[int, h5py.Group]]


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
    samples
        Number of samples, the same for each particle.
    particles
        Indices of the particles, in the order of their samples.
    campaign, batch
        Where the samples come from.
    recipe
        What the samples were made with (`braggworks.config.ShardRecipe`).
    counts_sum
        Sum of all counts.
    bytes
        Size of the shard.
    """

    kind: str
    file: str
    sha256: str
    samples: int
    particles: tuple[int, ...]
    campaign: str
    batch: int
    recipe: dict[str, Any]
    counts_sum: int
    bytes: int

    @property
    def patch_size(self) -> int:
        """Voxels per axis of a sample."""
        return int(self.recipe["patches"]["size"])

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
        sound = bool(sidecar.particles) and sidecar.samples % len(sidecar.particles) == 0 and sidecar.patch_size > 0
    except (ValidationError, KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise FileError(f"{path} is damaged: {AGAIN}.")
    return sidecar


def write_shard(
    patterns: str | Path,
    shard: str | Path,
    recipe: ShardRecipe,
    progress: Callable[[Groups], Iterable[tuple[int, h5py.Group]]] = iter,
) -> Sidecar:
    """Cut the training samples of one batch; the same input gives the same bytes.

    Parameters
    ----------
    patterns
        File of kind ``patterns``.
    shard
        File to write.
    recipe
        Detector and patches.
    progress
        Wraps the iteration over particles, for a progress bar.

    Returns
    -------
    Sidecar
        With `file` relative to the shard's own folder.

    Raises
    ------
    FileError
        If the patterns are damaged or of another campaign, or the disk is full.
    ConfigError
        If the patches do not fit in the patterns, or a voxel gets more counts than 32 bits hold.
    """
    shard = Path(shard)
    with open_h5(patterns, "patterns") as source:
        groups, batch, rows = _check_patterns(source, patterns, recipe)
        with create_h5(shard, "shard", batch=batch, particles=len(groups)) as target:
            # Fixed-length text lies under a checksum; where other text is damaged, HDF5 may hang instead of failing.
            texts = {"kind": "shard", "campaign": recipe.campaign, "recipe": recipe.to_json()}
            target.attrs.update({name: np.bytes_(text) for name, text in texts.items()})
            total = _write_samples(target, progress(groups), rows, recipe, patterns)
    return Sidecar(
        kind="shard",
        file=shard.name,
        sha256=sha256_of(shard),
        samples=rows,
        particles=tuple(index for index, _ in groups),
        campaign=recipe.campaign,
        batch=batch,
        recipe=json.loads(recipe.to_json()),
        counts_sum=total,
        bytes=shard.stat().st_size,
    )


def read_columns(path: str | Path, campaign: str) -> dict[str, NDArray[Any]]:
    """Return the per-sample values of a shard, by the names of `COLUMNS`.

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
            return {name: file[name][()] for name in COLUMNS}
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
        self._open: dict[int, dict[int, h5py.File]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"paths": self.paths, "_open": {}}

    def read(self, shard: int, rows: slice) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Return counts and masks, (k, p, p, p) each, of consecutive samples of one shard. Raises `FileError`."""
        try:
            file = self._file(shard)
            return file["counts"][rows], file["mask"][rows]
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise damaged(self.paths[shard], error) from error

    def close(self) -> None:
        """Close this process's files."""
        for file in self._open.pop(os.getpid(), {}).values():
            file.close()

    def _file(self, shard: int) -> h5py.File:
        files = self._open.setdefault(os.getpid(), {})
        if shard not in files:
            if len(files) >= _MAX_OPEN:
                files.pop(next(iter(files))).close()
            files[shard] = h5py.File(self.paths[shard], "r")
        return files[shard]


def _check_patterns(source: h5py.File, path: str | Path, recipe: ShardRecipe) -> tuple[Groups, int, int]:
    """Return the particles, the batch and the number of samples that follow."""
    found = source.attrs.get("campaign")
    if found != recipe.campaign:
        raise FileError(f"{path} belongs to campaign {found!r}, not {recipe.campaign!r}: give this campaign's file.")
    try:
        groups = [(int(name), source[name]) for name in sorted(source)]
        batch = int(source.attrs["batch"])
        ((shape, ratios),) = {(group["amplitude"].shape, group["oversampling"].shape) for _, group in groups}
        whole = len(groups) == int(source.attrs["particles"]) and len(shape) == 4 and ratios == shape[:1]
    except (KeyError, ValueError):
        whole = False
    if not whole or 0 in shape:
        raise FileError(f"{path} does not hold the patterns of all its particles: delete it and make it again.")
    return groups, batch, len(groups) * shape[0] * recipe.patches.per_pattern


def _write_samples(
    file: h5py.File, groups: Iterable[tuple[int, h5py.Group]], rows: int, recipe: ShardRecipe, path: str | Path
) -> int:
    """Return the sum of all counts."""
    counts = _create_voxels(file, "counts", rows, recipe.patches.size, "u4")
    mask = _create_voxels(file, "mask", rows, recipe.patches.size, "u1")
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in COLUMNS}
    row, total = 0, 0
    for index, group in groups:
        for samples in _particle_samples(group, index, recipe, path):
            here = slice(row, row + len(samples["counts"]))
            counts[here], mask[here] = samples["counts"], samples["mask"]
            row, total = here.stop, total + int(samples["counts"].sum(dtype=np.uint64))
            for name, values in columns.items():
                values.append(samples[name])
    for name, values in columns.items():
        data = np.concatenate(values).astype(COLUMNS[name])
        file.create_dataset(name, data=data, chunks=data.shape, fletcher32=True, track_times=False)
    return total


def _create_voxels(file: h5py.File, name: str, rows: int, size: int, kind: str) -> h5py.Dataset:
    cube = (size, size, size)
    options = {"chunks": (1, *cube), "fletcher32": True, "track_times": False, **hdf5plugin.Bitshuffle()}
    return file.create_dataset(name, (rows, *cube), kind, **options)


def _particle_samples(
    group: h5py.Group, index: int, recipe: ShardRecipe, path: str | Path
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the samples of each pattern of one particle."""
    identity = (recipe.campaign, recipe.seed, index)
    noise, place = generator(*identity, "detector"), generator(*identity, "patches")
    cut, per_pattern = recipe.patches, recipe.patches.per_pattern
    amplitude, oversampling = group["amplitude"], group["oversampling"][()]
    gaps = plan_gaps(
        index,
        len(amplitude) * per_pattern,
        widths=cut.gap_widths_px,
        cross_fraction=cut.cross_fraction,
        size=cut.size,
        rng=place,
    )
    for pattern in range(len(amplitude)):
        photons = float(np.exp(noise.uniform(*np.log(recipe.detector.total_counts))))
        try:
            counts = poisson_counts(np.abs(amplitude[pattern].astype(np.complex128)) ** 2, photons, noise)
        except ValueError as error:
            raise FileError(f"{path}: particle {index}, pattern {pattern}: {error}; make the file again.") from None
        corners = choose_corners(
            counts, cut.size, per_pattern, bias=cut.outward_bias, minimum=cut.minimum_counts, rng=place
        )
        rows = slice(pattern * per_pattern, (pattern + 1) * per_pattern)
        yield {
            "counts": extract(counts, corners, cut.size),
            "mask": gaps.masks(cut.size, rows),
            "particle": np.full(per_pattern, index),
            "pattern": np.full(per_pattern, pattern),
            "corner": corners,
            "gap_width": gaps.width[rows],
            "cross": gaps.cross[rows],
            "oversampling": np.full(per_pattern, oversampling[pattern]),
            "total_counts": np.full(per_pattern, photons),
        }
