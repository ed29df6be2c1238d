"""Recipes: what a stage is told of the configuration. Only the part that it uses, and never a count."""

from __future__ import annotations

import hashlib
import json
from typing import TypeVar

from pydantic import Field, ValidationError

from braggworks.campaigns import (
    Campaign,
    ClippedCubeConfig,
    CrystalConfig,
    DetectorConfig,
    DiffractionConfig,
    Family,
    GapConfig,
    GriddingConfig,
    Model,
    Name,
    PatchConfig,
    PolygonConfig,
    PolyhedronConfig,
    RelaxationConfig,
    SamplingConfig,
    Task,
)
from braggworks.config import (
    AnySweep,
    EvaluationConfig,
    FigureConfig,
    PhasingConfig,
    Release,
    ScanConfig,
    SplitConfig,
    TrainingConfig,
)
from braggworks.errors import ConfigError
from braggworks.mistakes import mistake_sentence
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
    family: Family
    seed: int


class CrystalsRecipe(CampaignRecipe):
    """What `braggworks crystals` needs."""

    crystal: CrystalConfig | ClippedCubeConfig


class RelaxRecipe(CampaignRecipe):
    """What `braggworks relax` needs."""

    relaxation: RelaxationConfig


class ScatterRecipe(CampaignRecipe):
    """What `braggworks scatter` needs."""

    diffraction: DiffractionConfig | GriddingConfig


class SamplesRecipe(CampaignRecipe):
    """What every stage that writes shards needs."""

    task: Task
    patches: PatchConfig
    gaps: GapConfig | None = Field(None, description="None where the task is phase.")


class ShardRecipe(SamplesRecipe):
    """What `braggworks shard` needs."""

    detector: DetectorConfig


class SimulateRecipe(ShardRecipe):
    """What `braggworks simulate` needs."""

    body: PolyhedronConfig | PolygonConfig
    sampling: SamplingConfig
    device: str


class ScanShardRecipe(SamplesRecipe):
    """What `braggworks shard-scan` needs; the file is an input, not a part of the recipe."""


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


class SweepRecipe(Recipe):
    """What `braggworks sweep` needs."""

    sweep: AnySweep
    scan: ScanConfig | None = Field(None, description="The gap that is filled, where the sweep is over skipped pixels.")


class ScanRecipe(Recipe):
    """What preparing and inpainting the scan need."""

    scan: ScanConfig


class PhaseRecipe(Recipe):
    """What `braggworks phase` needs."""

    phasing: PhasingConfig


class FigureRecipe(Recipe):
    """What the figures need."""

    figures: FigureConfig


_MODELS: dict[str, type[CampaignRecipe]] = {
    "crystals": CrystalsRecipe,
    "relax": RelaxRecipe,
    "scatter": ScatterRecipe,
    "shard": ShardRecipe,
    "simulate": SimulateRecipe,
    "shard-scan": ScanShardRecipe,
}
#: The stages of each family, in order; the last one writes the shards.
STAGES: dict[Family, tuple[str, ...]] = {
    "atomistic": ("crystals", "relax", "scatter", "shard"),
    "autophasenn": ("crystals", "relax", "scatter", "shard"),
    "shape3d": ("simulate",),
    "polygon2d": ("simulate",),
    "scan": ("shard-scan",),
}


def campaign_recipe(stage: str, campaign: Campaign) -> CampaignRecipe:
    """Return what one stage of the campaign's family needs. Raises `ConfigError` for a stage of other families."""
    if stage not in STAGES[campaign.family]:
        raise ConfigError(
            f"Campaign {campaign.name!r} is of the family {campaign.family}, whose stages are "
            f"{', '.join(STAGES[campaign.family])}: {stage} is not among them."
        )
    model = _MODELS[stage]
    parts = {name: getattr(campaign, name) for name in model.model_fields if name not in {"version", "campaign"}}
    if campaign.task == "phase" and "gaps" in parts:
        parts["gaps"] = None
    return model(version=STAGE_VERSIONS[stage], campaign=campaign.name, **parts)


def campaign_digest(campaign: Campaign) -> str:
    """Return the SHA-256 of what defines a campaign's samples, without its count: its recipes, in order."""
    return lineage_digest(STAGES[campaign.family][-1], campaign)


def lineage_digest(stage: str, campaign: Campaign) -> str:
    """Return the SHA-256 of the recipes up to a stage. Raises `ConfigError` as `campaign_recipe`."""
    stages = STAGES[campaign.family]
    own = campaign_recipe(stage, campaign).to_json()
    before = [campaign_recipe(each, campaign).to_json() for each in stages[: stages.index(stage)]]
    return hashlib.sha256("\n".join([*before, own]).encode()).hexdigest()


def parse_recipe(model: type[RecipeT], text: str) -> RecipeT:
    """Build a recipe from JSON text. Raises `ConfigError`."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(mistake_sentence(error, "--recipe", model)) from None
