"""Cut one batch's training samples out of measured scans.

A patch holds measured voxels only, as the scan's own mask, its hot pixels and its dark rows and columns tell; synthetic
gaps are drawn over them as for simulated patterns, so that the truth in the gap is known. Each scan counts as one
particle. The same scans and recipe give the same bytes.

example:
    braggworks shard-scan --campaign config/campaigns/small-scan.yaml --batch 0 --input scan.cxi --output shard.h5
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from braggworks.commands._recipes import add_recipe_arguments, read_recipe
from braggworks.config import load_campaign
from braggworks.errors import ConfigError
from braggworks.recipes import ScanShardRecipe

if TYPE_CHECKING:
    from braggworks.datasets.samples import Pattern


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_recipe_arguments(parser, campaign=True)
    parser.add_argument("--batch", type=int, required=True, metavar="N", help="number of the batch, from 0")
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="scans per batch (with --campaign: the campaign's own)"
    )
    parser.add_argument("--input", required=True, nargs="+", metavar="FILE", help="the batch's scans, in order")
    parser.add_argument("--output", required=True, metavar="H5", help="shard to write")
    parser.add_argument("--sidecar", metavar="JSON", help="sidecar to write (default: beside the shard)")


def run(args: argparse.Namespace) -> None:
    """Write the shard and its sidecar."""
    recipe = read_recipe(args, ScanShardRecipe, "shard-scan")
    first = _first_index(args)

    from tqdm import tqdm

    from braggworks.datasets.patterns import sample_tools
    from braggworks.datasets.shards import create_shard
    from braggworks.files import write_json
    from braggworks.provenance import lineage

    output = Path(args.output)
    path = Path(args.sidecar) if args.sidecar else output.with_suffix(".json")
    interval = 0.1 if sys.stderr.isatty() else 5
    indices = range(first, first + len(args.input))
    with create_shard(output, recipe, batch=args.batch, particles=indices, patterns=1, ndim=3) as writer:
        files = tqdm(args.input, f"shard {recipe.campaign}", unit="scan", mininterval=interval)
        for index, file in zip(indices, files, strict=True):
            pattern = _read(file)
            try:
                writer.add(index, [pattern])
            except ConfigError as error:
                raise ConfigError(f"{file}: {error}") from None
    scans = {f"scan {index}": _digest(Path(file)) for index, file in zip(indices, args.input, strict=True)}
    sidecar = writer.sidecar(0, lineage(None, "shard-scan", recipe, {**sample_tools(), **scans}))
    write_json(path, replace(sidecar, file=os.path.relpath(output, path.parent)).to_json())
    print(f"{output}: {sidecar.samples} samples of {len(sidecar.particles)} scans")


def _first_index(args: argparse.Namespace) -> int:
    """Return the particle index of the batch's first scan."""
    size = args.batch_size
    if size is None:
        size = load_campaign(args.campaign).batch_size if args.campaign else len(args.input)
    if args.batch < 0 or len(args.input) != size:
        raise ConfigError(
            f"--batch {args.batch} holds {size} scans and --input names {len(args.input)}: give the batch's own scans, "
            "and count batches from 0."
        )
    return int(args.batch * size)


def _read(file: str) -> Pattern:
    from braggworks.datasets.scan_patterns import scan_pattern
    from braggworks.scans.readers import read_scan

    return scan_pattern(read_scan(file))


def _digest(path: Path) -> str:
    """Return the SHA-256 of a scan's file, or of the hashes of the files of its folder, by name."""
    import hashlib

    from braggworks.files import sha256_of

    if not path.is_dir():
        return sha256_of(path)
    files = sorted(file for file in path.iterdir() if file.is_file())
    return hashlib.sha256("".join(f"{file.name} {sha256_of(file)}\n" for file in files).encode()).hexdigest()
