import functools
import json
import os
import re

from braggworks.errors import ConfigError
from braggworks.config import load_config
from braggworks.recipes import (
    EvaluateRecipe,
    FigureRecipe,
    ManifestRecipe,
    PhaseRecipe,
    ScanRecipe,
    SweepRecipe,
    TrainRecipe,
    campaign_recipe,
    lineage_digest,
)
from braggworks.paths import conda_file, container_image, run_paths
from braggworks.targets import (
    ATOMS,
    batch_scans,
    compared_patterns,
    default_targets,
    figure_inputs,
    patterns_file,
    release_batches,
    release_shards,
    release_sidecars,
    report_inputs,
    scan_source,
    simulated_particle,
    sweep_inputs,
    warm_start,
)
from braggworks.versions import STAGE_VERSIONS

if config and not workflow.overwrite_configfiles:
    raise ConfigError("--config is not used: write the value into a YAML file and pass that with --configfile.")

# Relative, so that a moved folder is no changed configuration.
CONFIG_FILE = os.path.relpath((workflow.overwrite_configfiles or ["config/demo.yaml"])[0])
CONFIG = load_config(CONFIG_FILE)
PATHS = run_paths(CONFIG)


def names_of(*families):
    """A wildcard's pattern: the campaigns of these families."""
    names = [campaign.name for campaign in CONFIG.campaigns if campaign.family in families]
    return "|".join(map(re.escape, names)) or r"(?!)"


wildcard_constraints:
    campaign=r"[a-z0-9][a-z0-9_-]*",
    release=r"[a-z0-9][a-z0-9_-]*",
    figure=r"[a-z0-9_-]+",
    study=r"[a-z0-9][a-z0-9_-]*",
    sweep=r"[a-z][\w-]*",
    variant=r"[a-z0-9][a-z0-9_-]*",
    batch=r"\d{5}",


localrules:
    all,


def recipe_of(stage):
    """A param function: the JSON of what `stage` uses of its campaign."""

    @functools.cache
    def text(campaign):
        return campaign_recipe(stage, CONFIG.campaign(campaign)).to_json()

    return lambda wildcards: text(wildcards.campaign)


def lineage_of(stage):
    """A param function: the digest of the recipes up to `stage`, for files whose inputs a stopped run may have left out."""

    @functools.cache
    def digest(campaign):
        return lineage_digest(stage, CONFIG.campaign(campaign))

    return lambda wildcards: digest(wildcards.campaign)


def more_each_time(first):
    """A resource that doubles each time a job is tried again: one that ran out of memory or time gets further."""
    return lambda wildcards, attempt: first * 2 ** (attempt - 1)


def batch_size(wildcards):
    return CONFIG.campaign(wildcards.campaign).batch_size


def variant_of(wildcards):
    return CONFIG.variant(wildcards.study, wildcards.variant)


def sweep_recipe(wildcards):
    sweep = CONFIG.sweep(wildcards.sweep)
    scan = CONFIG.scan.without_phasing() if sweep.kind == "skipped" else None
    return SweepRecipe(version=STAGE_VERSIONS["sweep"], sweep=sweep, scan=scan).to_json()


def fixed(recipe):
    """A param function of a recipe without wildcards; as a plain string its braces would be read as wildcards."""
    text = recipe.to_json()
    return lambda wildcards: text


def kept(path):
    """Patterns are far larger than the shards that are cut from them: a run may do without them afterwards."""
    return path if CONFIG.keep_patterns else temp(path)
