"""Cut one batch's training samples out of its diffraction patterns.

Adds Poisson noise, cuts patches, draws detector gaps, and writes an HDF5 file of kind "shard" with a JSON sidecar
that says what it must hold. The same patterns and recipe give the same bytes.

example:
    braggworks shard --campaign config/campaigns/demo-free.yaml --input patterns.h5 --output shard.h5
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from braggworks.commands._recipes import add_held_batch_argument, add_recipe_arguments, read_recipe
from braggworks.recipes import ShardRecipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_recipe_arguments(parser, campaign=True)
    parser.add_argument("--input", required=True, metavar="H5", help="patterns, as `braggworks scatter` writes them")
    add_held_batch_argument(parser)
    parser.add_argument("--output", required=True, metavar="H5", help="shard to write")
    parser.add_argument("--sidecar", metavar="JSON", help="sidecar to write (default: beside the shard)")


def run(args: argparse.Namespace) -> None:
    """Write the shard and its sidecar."""
    recipe = read_recipe(args, ShardRecipe, "shard")

    from tqdm import tqdm

    from braggworks.datasets.patterns import write_shard
    from braggworks.files import write_json

    output = Path(args.output)
    path = Path(args.sidecar) if args.sidecar else output.with_suffix(".json")
    interval = 0.1 if sys.stderr.isatty() else 5
    sidecar = write_shard(
        args.input,
        output,
        recipe,
        args.batch,
        lambda particles: tqdm(particles, f"shard {recipe.campaign}", unit="particle", mininterval=interval),
    )
    write_json(path, replace(sidecar, file=os.path.relpath(output, path.parent)).to_json())
    print(f"{output}: {sidecar.samples} samples of {len(sidecar.particles)} particles")
