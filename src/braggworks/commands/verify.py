"""Check a release's dataset: files, hashes, counts, gap masks and splits.

Takes a manifest, or a results folder with all its releases. Names the first thing that is wrong and what to do.

example:
    braggworks verify results/demo
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from braggworks.errors import FileError
from braggworks.paths import Paths

if TYPE_CHECKING:
    from braggworks.datasets.manifests import Manifest, ShardEntry

    Bar = Callable[..., Iterable[ShardEntry]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("path", metavar="PATH", help="a manifest, or a results folder")
    parser.add_argument(
        "--delete",
        action="store_true",
        help="delete damaged manifests, and damaged shards with their sidecars, so that a run makes them again",
    )


def run(args: argparse.Namespace) -> None:
    """Check each manifest and print one line for it."""
    from tqdm import tqdm

    interval = 0.1 if sys.stderr.isatty() else 5
    deleted = []
    for path in _manifests(Path(args.path)):
        bar = partial(tqdm, desc=f"verify {path.parent.name}", unit="shard", mininterval=interval)
        if args.delete and (gone := _delete_damaged(path, bar)):
            deleted.append(gone)
        else:
            _check(path, bar)
    if deleted:
        raise FileError(f"{' and '.join(deleted)} are deleted: run `braggworks run` again, which makes them anew.")


def _check(path: Path, bar: Bar) -> None:
    from braggworks.datasets.checks import check_manifest
    from braggworks.datasets.manifests import read_manifest
    from braggworks.datasets.splits import SPLITS

    manifest = read_manifest(path)
    if not _in_place(manifest, path):
        raise FileError(
            f"{path} is the manifest of release {manifest.release!r}: delete it (`braggworks verify --delete` does) "
            "and run `braggworks run` again."
        )
    particles = check_manifest(manifest, path, bar)
    if not _follows(manifest):
        raise FileError(
            f"{path} differs from what the sidecars of its shards say: delete it (`braggworks verify --delete` does) "
            "and run `braggworks run` again."
        )
    samples = sum(entry.samples for entry in manifest.shards)
    splits = ", ".join(f"{name} {manifest.splits[name].particles}" for name in SPLITS)
    print(f"{path}: {len(manifest.shards)} shards, {samples} samples, {particles} particles ({splits})")


def _in_place(manifest: Manifest, path: Path) -> bool:
    """Return whether a manifest in a results folder lies where its release's does."""
    place = Path(Paths(".").manifest(manifest.release))
    return path.parent.parent.name != place.parent.parent.name or path.parent.name == manifest.release


def _follows(manifest: Manifest) -> bool:
    """Return whether a manifest is the one that its sidecars, and what it says of the release, make."""
    from pydantic import ValidationError

    from braggworks.config import Release
    from braggworks.datasets.manifests import build_manifest
    from braggworks.errors import UserError

    names = [entry.name for entry in manifest.campaigns]
    try:
        release = Release(
            name=manifest.release, campaigns=names, held_out=list(manifest.held_out), warm_start=manifest.warm_start
        )
        sidecars = [manifest.path(entry.sidecar) for entry in manifest.shards]
        return build_manifest(release, manifest.split_config, sidecars, manifest.folder) == manifest
    except (UserError, ValidationError):
        return False


def _delete_damaged(path: Path, bar: Bar) -> str:
    """Delete a damaged manifest, or the damaged shards of a sound one; return what, for a sentence."""
    from braggworks.datasets.checks import damaged_shards
    from braggworks.datasets.manifests import read_manifest

    try:
        manifest = read_manifest(path)
    except FileError as reason:
        print(reason)
        path.unlink()
        return f"the damaged manifest {path}"
    if not _in_place(manifest, path):
        path.unlink()
        return f"the manifest of another release, {path},"
    damaged = damaged_shards(manifest, bar)
    for entry, error in damaged:
        print(error)
        _delete(manifest, entry)
    if damaged:
        return f"{len(damaged)} damaged shards of release {manifest.release!r}"
    if _follows(manifest):
        return ""
    # Text that no hash covers has changed, in the manifest or in a sidecar.
    for entry in _strange(manifest):
        _delete(manifest, entry)
    path.unlink()
    return f"the damaged manifest {path} and shards whose sidecars disagree with it"


def _strange(manifest: Manifest) -> list[ShardEntry]:
    """Return the shards whose sidecar names a stage that the manifest does not know, as it should."""
    from braggworks.datasets.shards import read_sidecar

    known = {entry.name: entry.provenance for entry in manifest.campaigns}
    return [
        entry
        for entry in manifest.shards
        if any(
            stage not in known.get(entry.campaign, ())
            for stage in read_sidecar(manifest.path(entry.sidecar)).provenance
        )
    ]


def _delete(manifest: Manifest, entry: ShardEntry) -> None:
    for name in (entry.file, entry.sidecar):
        manifest.path(name).unlink(missing_ok=True)


def _manifests(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    pattern = Paths(".").manifest("*")
    found = sorted(path.glob(pattern))
    if not found:
        raise FileError(f"{path / pattern} matches no file: give a results folder, or run `braggworks run` first.")
    return found
