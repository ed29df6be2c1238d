"""Manifests: the JSON that defines a release's dataset, and the samples that it selects."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from braggworks.config import SplitConfig
from braggworks.datasets.shards import AGAIN, COLUMNS, ShardFiles, Sidecar, read_columns, read_sidecar
from braggworks.datasets.splits import SPLITS, Split, split_of
from braggworks.errors import ConfigError, FileError
from braggworks.files import read_json

if TYPE_CHECKING:
    from braggworks.config import Release


@dataclass(frozen=True)
class SplitSize:
    """How much one split holds."""

    samples: int
    particles: int


@dataclass(frozen=True)
class ShardEntry:
    """One shard of a release; paths are relative to the manifest's folder."""

    file: str
    sidecar: str
    sha256: str
    samples: int
    campaign: str
    batch: int


@dataclass(frozen=True)
class Manifest:
    """A release's dataset.

    Parameters
    ----------
    kind
        Always ``"manifest"``.
    release
        Name of the release.
    warm_start
        Release whose weights training starts from, if any.
    patch_size
        Voxels per axis of a sample.
    splits
        Samples and particles of train, validation and test.
    fractions
        Shares of the particles in validation and test.
    split_seed
        Part of the identity that decides a particle's split.
    shards
        The shards, by campaign in the release's order and by batch.
    folder
        The manifest's folder; not part of the file.
    """

    kind: str
    release: str
    warm_start: str | None
    patch_size: int
    splits: dict[Split, SplitSize]
    fractions: dict[str, float]
    split_seed: int
    shards: tuple[ShardEntry, ...]
    folder: Path = field(default=Path(), compare=False)

    @property
    def split_config(self) -> SplitConfig:
        """What `split_of` needs."""
        return SplitConfig(**self.fractions, seed=self.split_seed)

    def path(self, name: str) -> Path:
        """Return where a file lies that a shard entry names."""
        return Path(os.path.normpath(self.folder / name))

    def to_json(self) -> dict[str, Any]:
        """Return what `read_manifest` reads."""
        return {name: value for name, value in asdict(self).items() if name != "folder"}


@dataclass(frozen=True)
class SampleTable:
    """Per-sample values of a selection; every array has one entry per sample.

    Parameters
    ----------
    files
        The shards, not one per sample.
    campaigns
        Name of each shard's campaign.
    shard
        Position of the sample's shard in `files`.
    row
        Row of the sample in its shard.
    columns
        Particle, pattern, corner (z, y, x), gap width in pixels, cross (1) or vertical gap (0), oversampling ratio,
        and photons in the whole pattern, by the names of `braggworks.datasets.shards.COLUMNS`.
    patch_size
        Voxels per axis of a sample.
    """

    files: tuple[Path, ...]
    campaigns: tuple[str, ...]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    patch_size: int

    def __len__(self) -> int:
        return len(self.row)

    @property
    def campaign(self) -> NDArray[np.str_]:
        """Name of each sample's campaign; a particle is identified by campaign and index."""
        return np.array(self.campaigns, np.str_)[self.shard]


def build_manifest(
    release: Release, splits: SplitConfig, sidecars: Sequence[str | Path], folder: str | Path
) -> Manifest:
    """Join the shards of a release.

    Parameters
    ----------
    release
        Name, campaigns and warm start.
    splits
        Fractions and seed.
    sidecars
        Paths of the shards' sidecars.
    folder
        Where the manifest will lie.

    Raises
    ------
    FileError
        If a sidecar is missing or damaged.
    ConfigError
        If a sidecar is not of the release, a batch comes twice, a campaign has none, or recipes or patch sizes differ.
    """
    found = [(Path(path), read_sidecar(path)) for path in sidecars]
    _check_sidecars(release, found)
    found.sort(key=lambda item: (release.campaigns.index(item[1].campaign), item[1].batch))
    sizes = {name: [0, 0] for name in SPLITS}
    for _, sidecar in found:
        for index in sidecar.particles:
            size = sizes[split_of(sidecar.campaign, index, splits)]
            size[0] += sidecar.samples // len(sidecar.particles)
            size[1] += 1
    return Manifest(
        kind="manifest",
        release=release.name,
        warm_start=release.warm_start,
        patch_size=found[0][1].patch_size,
        splits={name: SplitSize(*size) for name, size in sizes.items()},
        fractions={"validation": splits.validation, "test": splits.test},
        split_seed=splits.seed,
        shards=tuple(_entry(path, sidecar, Path(folder)) for path, sidecar in found),
        folder=Path(folder),
    )


def read_manifest(path: str | Path) -> Manifest:
    """Read a manifest. Raises `FileError` if it is missing, damaged, or something else."""
    path = Path(path)
    value = read_json(path)
    if not isinstance(value, dict) or value.get("kind") != "manifest":
        raise FileError(f"{path} is no manifest: give the JSON file that `braggworks manifest` writes.")
    try:
        manifest = TypeAdapter(Manifest).validate_python({**value, "folder": path.parent})
        sound = set(manifest.splits) == set(SPLITS) and bool(manifest.shards) and bool(manifest.split_config)
    except (ValidationError, TypeError):
        sound = False
    if not sound:
        raise FileError(f"{path} is damaged: {AGAIN}.")
    return manifest


def select_samples(manifest: Manifest, split: Split | None = None) -> SampleTable:
    """Return the samples of a split, or all of them, in the order of the manifest.

    Parameters
    ----------
    manifest
        The release's dataset.
    split
        Which particles; ``None`` takes all.

    Raises
    ------
    FileError
        If a shard is missing, damaged, or of another campaign.
    """
    config = manifest.split_config
    shards, rows, columns = [], [], []
    for number, entry in enumerate(manifest.shards):
        values = read_columns(manifest.path(entry.file), entry.campaign)
        particles, inverse = np.unique(values["particle"], return_inverse=True)
        wanted = np.array([split in {None, split_of(entry.campaign, int(index), config)} for index in particles])
        row = np.flatnonzero(wanted[inverse])
        rows.append(row)
        shards.append(np.full(len(row), number))
        columns.append({name: value[row] for name, value in values.items()})
    return SampleTable(
        files=tuple(manifest.path(entry.file) for entry in manifest.shards),
        campaigns=tuple(entry.campaign for entry in manifest.shards),
        shard=np.concatenate(shards),
        row=np.concatenate(rows),
        columns={name: np.concatenate([part[name] for part in columns]) for name in COLUMNS},
        patch_size=manifest.patch_size,
    )


def load_samples(table: SampleTable) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Return counts and masks, (S, p, p, p) each, of a whole selection that fits in memory. Raises `FileError`."""
    shape = (len(table), *(table.patch_size,) * 3)
    counts, masks = np.empty(shape, np.uint32), np.empty(shape, np.uint8)
    files = ShardFiles(table.files)
    breaks = np.flatnonzero((np.diff(table.shard) != 0) | (np.diff(table.row) != 1)) + 1
    for first, stop in zip([0, *breaks], [*breaks, len(table)], strict=True):
        if first < stop:
            rows = slice(int(table.row[first]), int(table.row[stop - 1]) + 1)
            counts[first:stop], masks[first:stop] = files.read(int(table.shard[first]), rows)
    files.close()
    return counts, masks


def _check_sidecars(release: Release, found: list[tuple[Path, Sidecar]]) -> None:
    batches: dict[tuple[str, int], Path] = {}
    firsts: dict[str, tuple[Path, Sidecar]] = {}
    for path, sidecar in found:
        if sidecar.campaign not in release.campaigns:
            raise ConfigError(
                f"{path} belongs to campaign {sidecar.campaign!r}, which release {release.name!r} does not hold: "
                f"leave it out, or use shards of {', '.join(release.campaigns)}."
            )
        twin = batches.setdefault((sidecar.campaign, sidecar.batch), path)
        if twin is not path:
            raise ConfigError(
                f"{path} is batch {sidecar.batch} of campaign {sidecar.campaign!r}, and so is {twin}: leave one out."
            )
        first, model = firsts.setdefault(sidecar.campaign, (path, sidecar))
        if sidecar.recipe != model.recipe:
            raise ConfigError(
                f"{path} and {first} are of one campaign, but were made with different recipes: "
                "delete the older one and run `braggworks run` again."
            )
        if sidecar.patch_size != found[0][1].patch_size:
            raise ConfigError(
                f"{path} holds patches of {sidecar.patch_size} px, and {found[0][0]} of {found[0][1].patch_size} px: "
                "give the campaigns of a release one patches.size."
            )
    missing = [name for name in release.campaigns if name not in firsts]
    if missing:
        raise ConfigError(f"Release {release.name!r} has no shard of campaign {missing[0]!r}: add its sidecars.")


def _entry(path: Path, sidecar: Sidecar, folder: Path) -> ShardEntry:
    return ShardEntry(
        file=os.path.relpath(path.parent / sidecar.file, folder),
        sidecar=os.path.relpath(path, folder),
        sha256=sidecar.sha256,
        samples=sidecar.samples,
        campaign=sidecar.campaign,
        batch=sidecar.batch,
    )
