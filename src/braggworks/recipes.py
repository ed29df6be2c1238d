"""Recipes: what a stage is told of the configuration. Only the part that it uses, and never a count."""

from __future__ import annotations

import json
from typing import TypeVar

from pydantic import Field, ValidationError

from braggworks.config import (
    Campaign,
    CrystalConfig,
    DetectorConfig,
    DiffractionConfig,
    EvaluationConfig,
    FigureConfig,
    Model,
    Name,
    PatchConfig,
    RelaxationConfig,
    Release,
    ScanConfig,
    SplitConfig,
    TrainingConfig,
    mistake_sentence,
)
from braggworks.errors import ConfigError
from braggworks.versions import STAGE_VERSIONS


class Recipe(Model):
    """Identity of a stage's work; the workflow reruns a job when its recipe's JSON changes."""

    version: int = Field(description="Version of the stage (braggworks.versions).")

    def to_json(self) -> str:
        """Return compact JSON with sorted keys."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


RecipeT = TypeVar("RecipeT", bound=Recipe)


class CampaignRecipe(Recipe):
    """A recipe that belongs to a campaign."""

    campaign: Name
    seed: int


class CrystalsRecipe(CampaignRecipe):
    """What `braggworks crystals` needs."""

    crystal: CrystalConfig


class RelaxRecipe(CampaignRecipe):
    """What `braggworks relax` needs."""

    relaxation: RelaxationConfig


class ScatterRecipe(CampaignRecipe):
    """What `braggworks scatter` needs."""

    diffraction: DiffractionConfig


class ShardRecipe(CampaignRecipe):
    """What `braggworks shard` needs."""

    detector: DetectorConfig
    patches: PatchConfig


class ManifestRecipe(Recipe):
    """What `braggworks manifest` needs."""

    release: Release
    splits: SplitConfig


class TrainRecipe(Recipe):
    """What `braggworks train` needs."""

    training: TrainingConfig


class EvaluateRecipe(Recipe):
    """What `braggworks evaluate` needs."""

    evaluation: EvaluationConfig


class ScanRecipe(Recipe):
    """What preparing and inpainting the scan need."""

    scan: ScanConfig


class FigureRecipe(Recipe):
    """What the figures need."""

    figures: FigureConfig


def campaign_recipe(stage: str, campaign: Campaign) -> CampaignRecipe:
    """Return what one of the stages crystals, relax, scatter and shard needs of a campaign."""
    models: dict[str, type[CampaignRecipe]] = {
        "crystals": CrystalsRecipe,
        "relax": RelaxRecipe,
        "scatter": ScatterRecipe,
        "shard": ShardRecipe,
    }
    model = models[stage]
    parts = {name: getattr(campaign, name) for name in model.model_fields if name not in {"version", "campaign"}}
    return model(version=STAGE_VERSIONS[stage], campaign=campaign.name, **parts)


def parse_recipe(model: type[RecipeT], text: str) -> RecipeT:
    """Build a recipe from JSON text. Raises `ConfigError`."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(mistake_sentence(error, "--recipe", model)) from None
