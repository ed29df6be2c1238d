"""Checks of a release's dataset: each stops at the first thing that is wrong and names it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from braggworks.datasets.gaps import gap_voxels
from braggworks.datasets.manifests import Manifest, ShardEntry, select_samples
from braggworks.datasets.shards import AGAIN, COLUMNS, Sidecar, damaged, read_columns, read_sidecar
from braggworks.datasets.splits import SPLITS
from braggworks.errors import FileError
from braggworks.files import open_h5, sha256_of

_BLOCK = 64


def check_manifest(
    manifest: Manifest,
    path: str | Path,
    progress: Callable[[Sequence[ShardEntry]], Iterable[ShardEntry]] = iter,
) -> int:
    """Check every shard of a release, and its splits.

    Parameters
    ----------
    manifest
        The release's dataset.
    path
        The manifest's file, for sentences.
    progress
        Wraps the iteration over shards, for a progress bar.

    Returns
    -------
    int
        Number of particles.

    Raises
    ------
    FileError
        Names the first thing that is wrong, the file, and what to do.
    """
    _check_list(manifest, path)
    owners: dict[tuple[str, int], Path] = {}
    for entry in progress(manifest.shards):
        shard = manifest.path(entry.file)
        sidecar = read_sidecar(manifest.path(entry.sidecar))
        check_shard(shard, manifest.path(entry.sidecar), sidecar, entry)
        for index in sidecar.particles:
            other = owners.setdefault((entry.campaign, index), shard)
            if other != shard:
                raise FileError(
                    f"{shard} and {other} both hold particle {index} of campaign {entry.campaign!r}: delete both and "
                    "run `braggworks run` again."
                )
    _check_splits(manifest, path)
    return len(owners)


def check_shard(shard: Path, sidecar_path: Path, sidecar: Sidecar, entry: ShardEntry) -> None:
    """Check one shard against its sidecar and its entry in a manifest; raises as `check_manifest` does."""
    if not shard.exists():
        raise FileError(f"{shard} does not exist, but the manifest lists it: run `braggworks run` again.")
    columns = read_columns(shard, entry.campaign)
    _check_identity(shard, sidecar_path, sidecar, entry)
    digest = sha256_of(shard)
    if digest != entry.sha256:
        raise FileError(
            f"{shard} has changed since the manifest was made (SHA-256 {digest[:12]}, listed {entry.sha256[:12]}): "
            f"{AGAIN}."
        )
    if shard.stat().st_size != sidecar.bytes:
        raise FileError(f"{shard} has {shard.stat().st_size} bytes, not the {sidecar.bytes} of its sidecar: {AGAIN}.")
    _check_columns(shard, columns, sidecar)
    _check_voxels(shard, columns, sidecar)


def _check_list(manifest: Manifest, path: str | Path) -> None:
    seen: set[Path] = set()
    for entry in manifest.shards:
        shard = manifest.path(entry.file)
        if shard in seen:
            raise FileError(f"{path} lists {shard} twice: {AGAIN}.")
        seen.add(shard)


def _check_identity(shard: Path, sidecar_path: Path, sidecar: Sidecar, entry: ShardEntry) -> None:
    if (sidecar.sha256, sidecar.samples, sidecar.campaign, sidecar.batch) != (
        entry.sha256,
        entry.samples,
        entry.campaign,
        entry.batch,
    ):
        raise FileError(
            f"{sidecar_path} disagrees with the manifest on {shard.name}: delete both and run `braggworks run` again."
        )
    with open_h5(shard, "shard") as file:
        own = {name: file.attrs.get(name) for name in ("batch", "recipe")}
    if own["batch"] != sidecar.batch:
        raise FileError(f"{shard} is batch {own['batch']}, not batch {sidecar.batch}: {AGAIN}.")
    try:
        same = json.loads(own["recipe"]) == sidecar.recipe
    except (TypeError, ValueError):
        same = False
    if not same:
        raise FileError(f"{shard} was made with another recipe than its sidecar says: {AGAIN}.")


def _check_columns(shard: Path, columns: dict[str, NDArray[Any]], sidecar: Sidecar) -> None:
    particles = np.repeat(sidecar.particles, sidecar.samples // len(sidecar.particles))
    for name in COLUMNS:
        if len(columns[name]) != sidecar.samples or not np.isfinite(columns[name]).all():
            raise FileError(f"{shard}: {name} does not hold {sidecar.samples} finite values: {AGAIN}.")
    if not np.array_equal(columns["particle"], particles):
        raise FileError(f"{shard} holds other particles than its sidecar lists: {AGAIN}.")


def _check_voxels(shard: Path, columns: dict[str, NDArray[Any]], sidecar: Sidecar) -> None:
    size = sidecar.patch_size
    with open_h5(shard, "shard") as file:
        try:
            for name, kind in (("counts", np.uint32), ("mask", np.uint8)):
                if file[name].shape != (sidecar.samples, size, size, size) or file[name].dtype != kind:
                    raise FileError(
                        f"{shard}: {name} has shape {file[name].shape} and type {file[name].dtype}, which is not "
                        f"{sidecar.samples} samples of {size} px: {AGAIN}."
                    )
            total = _check_masks(shard, file, columns, size)
        except (OSError, KeyError, RuntimeError) as error:
            raise damaged(shard, error) from error
    if total != sidecar.counts_sum:
        raise FileError(f"{shard} holds {total} counts, not the {sidecar.counts_sum} of its sidecar: {AGAIN}.")


def _check_masks(shard: Path, file: h5py.File, columns: dict[str, NDArray[Any]], size: int) -> int:
    """Return the sum of all counts, after a look at every mask."""
    wanted = gap_voxels(size, columns["gap_width"], columns["cross"])
    total = 0
    for first in range(0, len(wanted), _BLOCK):
        rows = slice(first, first + _BLOCK)
        mask = file["mask"][rows]
        if mask.max() > 1:
            raise FileError(f"{shard}: a mask holds {mask.max()}, and only 0 and 1 are allowed: {AGAIN}.")
        wrong = np.flatnonzero(np.count_nonzero(mask, axis=(1, 2, 3)) != wanted[rows])
        if len(wrong):
            row = first + int(wrong[0])
            raise FileError(
                f"{shard}: the gap of sample {row} covers {np.count_nonzero(mask[wrong[0]])} voxels instead of "
                f"{wanted[row]}: {AGAIN}."
            )
        total += int(file["counts"][rows].sum(dtype=np.uint64))
    return total


def _check_splits(manifest: Manifest, path: str | Path) -> None:
    """Check what a reader gets: totals, and no particle in two splits."""
    taken: dict[tuple[str, int], str] = {}
    for split in SPLITS:
        table = select_samples(manifest, split)
        particles = set(zip(table.campaign.tolist(), table.columns["particle"].tolist(), strict=True))
        for particle in sorted(particles):
            if taken.setdefault(particle, split) != split:
                raise FileError(
                    f"{path}: particle {particle[1]} of campaign {particle[0]!r} is in {taken[particle]} and in "
                    f"{split}: {AGAIN}."
                )
        size = manifest.splits[split]
        if (len(table), len(particles)) != (size.samples, size.particles):
            raise FileError(
                f"{path} says that split {split!r} holds {size.samples} samples of {size.particles} particles, but "
                f"the shards have {len(table)} of {len(particles)}: {AGAIN}."
            )
