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
