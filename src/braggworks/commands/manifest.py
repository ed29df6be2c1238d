"""Define a release's dataset from the shards of its campaigns.

Writes JSON that lists the shards with their hashes, and how many samples and particles each split holds. Which split a
particle belongs to follows from its campaign and index, so that added particles move no others.

example:
    braggworks manifest --recipe release.json --sidecars shards/*.json --output manifest.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter, ValidationError

from braggworks.campaigns import Name
from braggworks.commands._recipes import add_recipe_arguments, read_recipe
from braggworks.errors import ConfigError
from braggworks.paths import Paths
from braggworks.recipes import ManifestRecipe

if TYPE_CHECKING:
    from braggworks.datasets.manifests import Manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_recipe_arguments(parser, campaign=False)
    shards = parser.add_mutually_exclusive_group(required=True)
    shards.add_argument("--sidecars", nargs="+", metavar="JSON", help="sidecars of the shards")
    shards.add_argument(
        "--batches", metavar="JSON", help='batches of each campaign in --results, such as {"demo-free": 10}'
    )
    parser.add_argument("--results", metavar="FOLDER", help="results folder that --batches counts in")
    parser.add_argument("--output", required=True, metavar="JSON", help="manifest to write")


def run(args: argparse.Namespace) -> None:
    """Write the manifest."""
    recipe = read_recipe(args, ManifestRecipe)

    from braggworks.datasets.manifests import build_manifest
    from braggworks.files import write_json

    sidecars = args.sidecars or _sidecars(args)
    manifest = build_manifest(recipe.release, recipe.splits, sidecars, Path(args.output).parent)
    _check_splits(manifest)
    write_json(args.output, manifest.to_json())
    print(f"{args.output}: " + ", ".join(f"{size.samples} {name} samples" for name, size in manifest.splits.items()))


def _sidecars(args: argparse.Namespace) -> list[str]:
    """Name the sidecars of thousands of batches, which a command line would not hold."""
    if not args.results:
        raise ConfigError("--batches counts in a results folder: add --results, such as --results results/demo.")
    try:
        batches = TypeAdapter(dict[Name, Annotated[int, Field(ge=0, le=1_000_000)]]).validate_json(args.batches)
    except ValidationError:
        raise ConfigError(f"--batches {args.batches} is no JSON of campaigns and numbers of batches.") from None
    return [Paths(args.results).shard_sidecar(name, n) for name, count in batches.items() for n in range(count)]


def _check_splits(manifest: Manifest) -> None:
    for name, size in manifest.splits.items():
        if manifest.fractions.get(name, 1.0) and not size.particles:
            total = sum(size.particles for size in manifest.splits.values())
            print(
                f"Release {manifest.release!r} has {total} particles and none of them in split {name!r}: to train on "
                f"it, raise a campaign's count or splits.{name if name != 'train' else 'seed'}, or use another "
                "splits.seed."
            )
