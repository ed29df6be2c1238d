"""Manifests: the JSON that defines a release's dataset, and the samples that it selects."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from braggworks.campaigns import Task
from braggworks.config import SplitConfig
from braggworks.datasets.shards import AGAIN, ShardFiles, Sidecar, read_columns, read_sidecar
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
class CampaignEntry:
    """What a release has of one campaign.

    Parameters
    ----------
    name, family
        The campaign and the family of its particles.
    particles, samples
        How many there are.
    rejected
        Draws that were rejected, because their pattern would have been undersampled, and drawn again.
    recipe_sha256
        SHA-256 of the recipe of its shards, as compact JSON with sorted keys.
    provenance
        Every different stage that worked on its batches, with recipe, tools and environment, in order.
    """

    name: str
    family: str
    particles: int
    samples: int
    rejected: int
    recipe_sha256: str
    provenance: tuple[dict[str, Any], ...]


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
    task
        What its samples are for.
    shape
        Voxels of a sample, (z, y, x) or (y, x).
    samples, particles, bytes
        Totals; the bytes are those of the shards.
    campaigns
        What there is of each campaign, in the release's order.
    splits
        Samples and particles of train, validation and test.
    fractions
        Shares of the particles in validation and test.
    split_seed
        Part of the identity that decides a particle's split.
    held_out
        Campaigns whose particles are all in the test split.
    shards
        The shards, by campaign in the release's order and by batch.
    folder
        The manifest's folder; not part of the file.
    """

    kind: str
    release: str
    warm_start: str | None
    task: str
    shape: tuple[int, ...]
    samples: int
    particles: int
    bytes: int
    campaigns: tuple[CampaignEntry, ...]
    splits: dict[Split, SplitSize]
    fractions: dict[str, float]
    split_seed: int
    held_out: tuple[str, ...]
    shards: tuple[ShardEntry, ...]
    folder: Path = field(default=Path(), compare=False)

    @property
    def split_config(self) -> SplitConfig:
        """What `split_of` needs."""
        return SplitConfig(**self.fractions, seed=self.split_seed)

    def split_of(self, campaign: str, index: int) -> Split:
        """Return the split of a particle."""
        return split_of(campaign, index, self.split_config, self.held_out)

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
        Values by the names of `braggworks.datasets.samples.COLUMNS`, and further ones that all shards have.
    task
        What the samples are for.
    shape
        Voxels of a sample, (z, y, x) or (y, x).
    """

    files: tuple[Path, ...]
    campaigns: tuple[str, ...]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    task: str
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.row)

    @property
    def campaign(self) -> NDArray[np.str_]:
        """Name of each sample's campaign; a particle is identified by campaign and index."""
        return np.array(self.campaigns, np.str_)[self.shard]

    @property
    def voxels(self) -> tuple[str, str]:
        """Names of the two arrays of a sample: counts and mask for the task inpaint, counts and phase for phase."""
        return ("counts", "mask") if self.task == "inpaint" else ("counts", "phase")


def build_manifest(
    release: Release, splits: SplitConfig, sidecars: Sequence[str | Path], folder: str | Path
) -> Manifest:
    """Join the shards of a release.

    Parameters
    ----------
    release
        Name, campaigns, those held out, and warm start.
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
        If a sidecar is not of the release, a batch comes twice, a campaign has none, or recipes, tasks or shapes
        differ.
    """
    found = [(Path(path), read_sidecar(path)) for path in sidecars]
    _check_sidecars(release, found)
    found.sort(key=lambda item: (release.campaigns.index(item[1].campaign), item[1].batch))
    sizes = {name: [0, 0] for name in SPLITS}
    for _, sidecar in found:
        for index in sidecar.particles:
            size = sizes[split_of(sidecar.campaign, index, splits, release.held_out)]
            size[0] += sidecar.samples // len(sidecar.particles)
            size[1] += 1
    first = found[0][1]
    return Manifest(
        kind="manifest",
        release=release.name,
        warm_start=release.warm_start,
        task=first.task,
        shape=first.shape,
        samples=sum(sidecar.samples for _, sidecar in found),
        particles=sum(len(sidecar.particles) for _, sidecar in found),
        bytes=sum(sidecar.bytes for _, sidecar in found),
        campaigns=tuple(
            _campaign_entry([sidecar for _, sidecar in found if sidecar.campaign == name]) for name in release.campaigns
        ),
        splits={name: SplitSize(*size) for name, size in sizes.items()},
        fractions={"validation": splits.validation, "test": splits.test},
        split_seed=splits.seed,
        held_out=tuple(release.held_out),
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
        sound = (
            set(manifest.splits) == set(SPLITS)
            and bool(manifest.shards)
            and bool(manifest.split_config)
            and manifest.task in get_args(Task)
            and len(set(manifest.shape)) == 1
            and len(manifest.shape) in {2, 3}
        )
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
    shards, rows, columns = [], [], []
    for number, entry in enumerate(manifest.shards):
        values = read_columns(manifest.path(entry.file), entry.campaign)
        particles, inverse = np.unique(values["particle"], return_inverse=True)
        wanted = np.array([split in {None, manifest.split_of(entry.campaign, int(index))} for index in particles])
        row = np.flatnonzero(wanted[inverse])
        rows.append(row)
        shards.append(np.full(len(row), number))
        columns.append({name: value[row] for name, value in values.items()})
    names = [name for name in columns[0] if all(name in part for part in columns)]
    return SampleTable(
        files=tuple(manifest.path(entry.file) for entry in manifest.shards),
        campaigns=tuple(entry.campaign for entry in manifest.shards),
        shard=np.concatenate(shards),
        row=np.concatenate(rows),
        columns={name: np.concatenate([part[name] for part in columns]) for name in names},
        task=manifest.task,
        shape=manifest.shape,
    )


def load_samples(table: SampleTable) -> tuple[NDArray[np.uint32], NDArray[Any]]:
    """Return the two arrays of a whole selection that fits in memory.

    Returns
    -------
    counts
        (S, p, ...) uint32.
    second
        (S, p, ...) mask (uint8, 1 in the gap) for the task inpaint, phase (float32, radians) for the task phase.

    Raises
    ------
    FileError
        If a shard is missing or damaged.
    """
    shape = (len(table), *table.shape)
    counts, second = np.empty(shape, np.uint32), np.empty(shape, np.uint8 if table.task == "inpaint" else np.float32)
    files = ShardFiles(table.files)
    breaks = np.flatnonzero((np.diff(table.shard) != 0) | (np.diff(table.row) != 1)) + 1
    for first, stop in zip([0, *breaks], [*breaks, len(table)], strict=True):
        if first < stop:
            rows = slice(int(table.row[first]), int(table.row[stop - 1]) + 1)
            counts[first:stop], second[first:stop] = files.read(int(table.shard[first]), rows, table.voxels)
    files.close()
    return counts, second


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
        if (sidecar.task, sidecar.shape) != (found[0][1].task, found[0][1].shape):
            raise ConfigError(
                f"{path} holds samples of {_kind(sidecar)}, and {found[0][0]} of {_kind(found[0][1])}: "
                "give the campaigns of a release one task and one patches.size."
            )
    missing = [name for name in release.campaigns if name not in firsts]
    if missing:
        raise ConfigError(f"Release {release.name!r} has no shard of campaign {missing[0]!r}: add its sidecars.")


def _kind(sidecar: Sidecar) -> str:
    return f"{' x '.join(map(str, sidecar.shape))} px for the task {sidecar.task}"


def _campaign_entry(sidecars: Sequence[Sidecar]) -> CampaignEntry:
    """Join the shards of one campaign, which are in the order of their batches."""
    provenance: dict[str, dict[str, Any]] = {}
    for sidecar in sidecars:
        for entry in sidecar.provenance:
            provenance.setdefault(json.dumps(entry, sort_keys=True), entry)
    text = json.dumps(sidecars[0].recipe, sort_keys=True, separators=(",", ":"))
    return CampaignEntry(
        name=sidecars[0].campaign,
        family=sidecars[0].family,
        particles=sum(len(sidecar.particles) for sidecar in sidecars),
        samples=sum(sidecar.samples for sidecar in sidecars),
        rejected=sum(sidecar.rejected for sidecar in sidecars),
        recipe_sha256=hashlib.sha256(text.encode()).hexdigest(),
        provenance=tuple(provenance.values()),
    )


def _entry(path: Path, sidecar: Sidecar, folder: Path) -> ShardEntry:
    return ShardEntry(
        file=os.path.relpath(path.parent / sidecar.file, folder),
        sidecar=os.path.relpath(path, folder),
        sha256=sidecar.sha256,
        samples=sidecar.samples,
        campaign=sidecar.campaign,
        batch=sidecar.batch,
    )
