"""Define a release's dataset from the shards of its campaigns.

Writes JSON that lists the shards with their hashes, and how many samples and particles each split holds. Which split a
particle belongs to follows from its campaign and index, so that added particles move no others.

example:
    braggworks manifest --recipe release.json --sidecars shards/*.json --output manifest.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from braggworks.commands._recipes import add_recipe_arguments, read_recipe
from braggworks.errors import ConfigError
from braggworks.recipes import ManifestRecipe

if TYPE_CHECKING:
    from braggworks.datasets.manifests import Manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_recipe_arguments(parser, campaign=False)
    parser.add_argument("--sidecars", required=True, nargs="+", metavar="JSON", help="sidecars of the shards")
    parser.add_argument("--output", required=True, metavar="JSON", help="manifest to write")


def run(args: argparse.Namespace) -> None:
    """Write the manifest."""
    recipe = read_recipe(args, ManifestRecipe)

    from braggworks.datasets.manifests import build_manifest
    from braggworks.files import write_json

    manifest = build_manifest(recipe.release, recipe.splits, args.sidecars, Path(args.output).parent)
    _check_splits(manifest)
    write_json(args.output, manifest.to_json())
    print(f"{args.output}: " + ", ".join(f"{size.samples} {name} samples" for name, size in manifest.splits.items()))


def _check_splits(manifest: Manifest) -> None:
    wanted = {"train": 1.0, **manifest.fractions}
    for name, size in manifest.splits.items():
        if wanted[name] and not size.particles:
            total = sum(size.particles for size in manifest.splits.values())
            raise ConfigError(
                f"Release {manifest.release!r} has {total} particles and none of them in split {name!r}: "
                f"raise a campaign's count or splits.{name if name != 'train' else 'seed'}, or use another splits.seed."
            )
