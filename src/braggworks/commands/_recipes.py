"""How a verb is told its recipe: as JSON by a rule, or as a configuration and a campaign's name by a person."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

from braggworks.config import load_campaign
from braggworks.errors import ConfigError
from braggworks.recipes import RecipeT, campaign_recipe, parse_recipe


def add_recipe_arguments(parser: argparse.ArgumentParser, *, campaign: bool) -> None:
    """Add ``--recipe``, and ``--campaign`` for the stages that work on a campaign's batches."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--recipe", metavar="JSON", help="what to do, as JSON text or the path of a JSON file")
    if campaign:
        group.add_argument("--campaign", metavar="YAML", help="what to do, as a campaign file")


def read_recipe(args: argparse.Namespace, model: type[RecipeT], stage: str = "") -> RecipeT:
    """Return the recipe that the arguments of `add_recipe_arguments` give. Raises `ConfigError`."""
    if getattr(args, "campaign", None):
        return cast(RecipeT, campaign_recipe(stage, load_campaign(args.campaign)))
    text = args.recipe
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"--recipe {args.recipe} is neither JSON text nor a readable JSON file.") from None
    return parse_recipe(model, text)


def add_batch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--batch`` and ``--batch-size`` for the stages that start a campaign's batches."""
    parser.add_argument("--batch", type=int, required=True, metavar="N", help="number of the batch, from 0")
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="particles per batch (with --campaign: the campaign's own)"
    )


def batch_indices(args: argparse.Namespace) -> range:
    """Return the particles of the batch that the arguments of `add_batch_arguments` name. Raises `ConfigError`."""
    size = args.batch_size
    if size is None and args.campaign:
        size = load_campaign(args.campaign).batch_size
    if size is None:
        raise ConfigError("--recipe does not say how many particles a batch holds: add --batch-size, such as 4.")
    if size < 1 or args.batch < 0:
        raise ConfigError(
            f"--batch {args.batch} with --batch-size {size} holds no particle: count batches from 0, and sizes from 1."
        )
    return range(args.batch * size, (args.batch + 1) * size)


def add_held_batch_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--batch`` for the stages that go on from a batch's file."""
    parser.add_argument(
        "--batch", type=int, metavar="N", help="number of the batch that the input must hold (default: any)"
    )


def thread_count(text: str) -> int:
    """Return a number of threads that a person wrote; for the option ``--threads``."""
    if not text.isdigit() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of threads: use 1 to 1024")
    return int(text)
