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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("path", metavar="PATH", help="a manifest, or a results folder")
    parser.add_argument(
        "--delete", action="store_true", help="delete damaged shards and their sidecars, so that a run makes them again"
    )


def run(args: argparse.Namespace) -> None:
    """Check each manifest and print one line for it."""
    from tqdm import tqdm

    from braggworks.datasets.checks import check_manifest
    from braggworks.datasets.manifests import read_manifest
    from braggworks.datasets.splits import SPLITS

    interval = 0.1 if sys.stderr.isatty() else 5
    for path in _manifests(Path(args.path)):
        manifest = read_manifest(path)
        bar = partial(tqdm, desc=f"verify {manifest.release}", unit="shard", mininterval=interval)
        if args.delete:
            _delete_damaged(manifest, bar)
        particles = check_manifest(manifest, path, bar)
        samples = sum(entry.samples for entry in manifest.shards)
        splits = ", ".join(f"{name} {manifest.splits[name].particles}" for name in SPLITS)
        print(f"{path}: {len(manifest.shards)} shards, {samples} samples, {particles} particles ({splits})")


def _delete_damaged(manifest: Manifest, bar: Callable[..., Iterable[ShardEntry]]) -> None:
    """Delete what is damaged; then raise, because the dataset is not whole."""
    from braggworks.datasets.checks import damaged_shards

    damaged = damaged_shards(manifest, bar)
    for entry, error in damaged:
        print(error)
        for name in (entry.file, entry.sidecar):
            manifest.path(name).unlink(missing_ok=True)
    if damaged:
        raise FileError(
            f"{len(damaged)} damaged shards of release {manifest.release!r} are deleted: run `braggworks run` again, "
            "which makes them anew."
        )


def _manifests(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    pattern = Paths(".").manifest("*")
    found = sorted(path.glob(pattern))
    if not found:
        raise FileError(f"{path / pattern} matches no file: give a results folder, or run `braggworks run` first.")
    return found
