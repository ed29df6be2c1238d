"""Checks of a release's dataset: each stops at the first thing that is wrong and names it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggworks.datasets.counts import Counts
from braggworks.datasets.gaps import GAP_SHAPES, NO_GAP, gap_pixels, gap_planes
from braggworks.datasets.manifests import Manifest, ShardEntry, select_samples
from braggworks.datasets.samples import PHASE_STEPS, columns_of
from braggworks.datasets.shards import AGAIN, Sidecar, damaged, read_columns, read_sidecar
from braggworks.datasets.splits import SPLITS
from braggworks.errors import ConfigError, FileError
from braggworks.files import open_h5, sha256_of

# Voxels that are looked at together.
_BLOCK_VOXELS = 1 << 22


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


def damaged_shards(
    manifest: Manifest, progress: Callable[[Sequence[ShardEntry]], Iterable[ShardEntry]] = iter
) -> list[tuple[ShardEntry, FileError]]:
    """Return every shard that is missing, damaged, foreign, or not the one listed, with the sentence that says so."""
    found = []
    for entry in progress(manifest.shards):
        try:
            sidecar = manifest.path(entry.sidecar)
            check_shard(manifest.path(entry.file), sidecar, read_sidecar(sidecar), entry)
        except FileError as error:
            found.append((entry, error))
    return found


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
    if any(getattr(sidecar, name) != getattr(entry, name) for name in ("sha256", "samples", "campaign", "batch")):
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
    for name in columns_of(sidecar.family):  # type: ignore[arg-type]
        values = columns.get(name)
        if values is None or len(values) != sidecar.samples or not np.isfinite(values).all():
            raise FileError(f"{shard}: {name} does not hold {sidecar.samples} finite values: {AGAIN}.")
    if not np.array_equal(columns["particle"], particles):
        raise FileError(f"{shard} holds other particles than its sidecar lists: {AGAIN}.")


def _check_voxels(shard: Path, columns: dict[str, NDArray[Any]], sidecar: Sidecar) -> None:
    total = 0
    with open_h5(shard, "shard") as file:
        try:
            for name, kind in sidecar.voxels.items():
                if file[name].shape != (sidecar.samples, *sidecar.shape) or file[name].dtype != kind:
                    raise FileError(
                        f"{shard}: {name} has shape {file[name].shape} and type {file[name].dtype}, which is not "
                        f"{sidecar.samples} samples of {' x '.join(map(str, sidecar.shape))} px: {AGAIN}."
                    )
            counts = Counts(file)
            step = max(1, _BLOCK_VOXELS // math.prod(sidecar.shape))
            for first in range(0, sidecar.samples, step):
                rows = slice(first, first + step)
                total += int(counts[rows].sum(dtype=np.uint64))
                if "mask" in sidecar.voxels:
                    _check_masks(shard, file["mask"][rows], first, columns, sidecar)
                elif columns["masked"][rows].any():
                    raise FileError(f"{shard} has no masks, but its samples have masked voxels: {AGAIN}.")
                if "phase" in sidecar.voxels:
                    _check_phases(shard, file["phase"][rows], first, columns, sidecar)
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise damaged(shard, error) from error
    if total != sidecar.counts_sum:
        raise FileError(f"{shard} holds {total} counts, not the {sidecar.counts_sum} of its sidecar: {AGAIN}.")


def _check_masks(
    shard: Path, masks: NDArray[np.uint8], first: int, columns: dict[str, NDArray[Any]], sidecar: Sidecar
) -> None:
    """Check the masks of consecutive samples, of which `first` is the first."""
    if masks.max() > 1:
        raise FileError(f"{shard}: a mask holds {masks.max()}, and only 0 and 1 are allowed: {AGAIN}.")
    depth = math.prod(sidecar.shape[:-2])
    planes = masks.reshape(len(masks), depth, *sidecar.shape[-2:]).astype(bool)
    for number in range(len(planes)):
        layers, row = planes[number], first + number
        kind, width = int(columns["gap_shape"][row]), int(columns["gap_width"][row])
        covered, masked = int(np.count_nonzero(layers)), int(columns["masked"][row])
        if covered != masked:
            raise FileError(f"{shard}: the mask of sample {row} covers {covered} voxels instead of {masked}: {AGAIN}.")
        if not (layers == layers[0]).all():
            raise FileError(f"{shard}: the mask of sample {row} changes along the rocking axis: {AGAIN}.")
        name = GAP_SHAPES[kind] if kind < len(GAP_SHAPES) else f"number {kind}"
        if not _fits(layers[0], kind, width, columns["gap_start"][row].tolist(), exact=not _has_bad_pixels(sidecar)):
            raise FileError(
                f"{shard}: the mask of sample {row}, of {masked // depth} px, is not the gap {name!r} of {width} px "
                f"where its columns say: {AGAIN}."
            )


def _fits(plane: NDArray[np.bool_], kind: int, width: int, start: list[int], *, exact: bool) -> bool:
    """Return whether a mask is the gap of its columns, or holds it where there are dead and hot pixels, too."""
    size = len(plane)
    if kind >= len(GAP_SHAPES) and kind != NO_GAP:
        return False
    if GAP_SHAPES.index("layout") == kind:
        lines: list[NDArray[np.bool_]] = [np.asarray(plane.all(axis=axis)) for axis in (1, 0)]
        found = [int(line.argmax()) if line.any() else -1 for line in lines]
        gap = lines[0][:, None] | lines[1][None, :]
        return found == start and bool(gap.any()) and (not exact or np.array_equal(gap, plane))
    try:
        options = gap_planes(kind, size, width, start)
        area = int(np.count_nonzero(plane))
        if exact:
            return area in gap_pixels(kind, size, width, start) and any(np.array_equal(o, plane) for o in options)
        return any(bool((plane | ~option).all()) for option in options)
    except ConfigError:
        return False


def _has_bad_pixels(sidecar: Sidecar) -> bool:
    detector = sidecar.recipe.get("detector") or {}
    return bool(detector.get("dead_fraction") or detector.get("hot_fraction"))


def _check_phases(
    shard: Path, phases: NDArray[np.int16], first: int, columns: dict[str, NDArray[Any]], sidecar: Sidecar
) -> None:
    """Check that the phase is zero at the peak of every pattern, where the sample holds it.

    Any 16-bit number is a finite phase; the type has been checked.
    """
    grid = _grid(sidecar)
    if not grid:
        return
    corner = columns["corner"][first : first + len(phases)]
    inside = ((corner <= grid // 2) & (grid // 2 < corner + sidecar.shape[0])).all(axis=1)
    for row in np.flatnonzero(inside).tolist():
        value = int(phases[row][tuple((grid // 2 - corner[row]).tolist())])
        if value:
            raise FileError(
                f"{shard}: the phase of sample {first + row} is {value * np.pi / PHASE_STEPS:.3f} rad at the peak "
                f"instead of 0: {AGAIN}."
            )


def _grid(sidecar: Sidecar) -> int:
    """Return the voxels per axis of the patterns, from what made them; 0 where that is not known."""
    for entry in [{"recipe": sidecar.recipe}, *sidecar.provenance]:
        for part in ("diffraction", "sampling"):
            grid = (entry.get("recipe", {}).get(part) or {}).get("grid")
            if grid:
                return int(grid)
    return 0


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
