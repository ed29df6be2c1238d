"""What a run's datasets cost, from a pilot: a few particles of each campaign, made as the run would make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from braggworks.campaigns import Campaign, ScanCampaign
from braggworks.config import Config
from braggworks.errors import FileError
from braggworks.paths import Paths
from braggworks.reporting.benchmarks import RuleCost, read_costs
from braggworks.targets import patterns_file, release_sidecars

_GB = 1e9
# Start-up of a job's interpreter and libraries, in seconds, as `python -m benchmarks scale` measures it.
STARTUP = {"simulate_batch": 3.9, "cut_scan_shard": 3.9, "cut_crystals": 1.9, "relax_batch": 1.5}
OTHER_STARTUP = 0.7
# Particles on a grid take milliseconds, so that a pilot of few would measure start-up alone.
_CHEAP = {"shape3d": 200, "polygon2d": 500}


@dataclass(frozen=True)
class CampaignCost:
    """What one campaign costs.

    Parameters
    ----------
    campaign, family
        Its name and family.
    particles, samples, jobs
        How many it makes, and in how many jobs.
    core_hours
        By stage.
    shards_gb, others_gb
        Disk for the shards, and for crystals, relaxed crystals and patterns, in GB.
    memory_mb
        Largest resident memory of any of the pilot's jobs, in MB; None where they were too short to be sampled.
    pilot
        Particles of the pilot.
    """

    campaign: str
    family: str
    particles: int
    samples: int
    jobs: int
    core_hours: dict[str, float]
    shards_gb: float
    others_gb: float
    memory_mb: float | None
    pilot: int


def pilot_config(config: Config, source: Path, particles: int) -> Path:
    """Write the pilot's configuration below the run's results, and return its path.

    Parameters
    ----------
    config
        The run.
    source
        Its file, for the comment.
    particles
        Particles of each campaign; those on a grid take a few hundred times as many.
    """
    folder = Path(config.results) / "pilot"
    (folder / "campaigns").mkdir(parents=True, exist_ok=True)
    for campaign in config.campaigns:
        values: dict[str, Any] = campaign.model_dump(mode="json", exclude={"name"})
        count = min(particles * _CHEAP.get(campaign.family, 1), campaign.count)
        values |= {"count": count, "batch_size": count}
        if isinstance(campaign, ScanCampaign):
            values["scans"] = campaign.scans[:count]
        (folder / "campaigns" / f"{campaign.name}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    run = {
        "results": str(folder / f"particles-{particles}"),
        "campaigns": [campaign.name for campaign in config.campaigns],
        "releases": [release.model_dump(exclude={"warm_start"}) for release in config.releases],
    }
    path = folder / "pilot.yaml"
    path.write_text(f"# Made by `braggworks cost` from {source}.\n{yaml.safe_dump(run)}", encoding="utf-8")
    return path


def pilot_targets(pilot: Config) -> list[str]:
    """Return the files that the pilot makes."""
    return [sidecar for release in pilot.releases for sidecar in release_sidecars(pilot, release.name)]


def measure_costs(config: Config, pilot: Config) -> list[CampaignCost]:
    """Return what each campaign of the run costs, from the files and benchmark tables of a finished pilot.

    Raises
    ------
    FileError
        If the pilot has left no benchmark table for a campaign.
    """
    return [_measure(campaign, pilot.campaign(campaign.name), pilot) for campaign in config.campaigns]


def _measure(campaign: Campaign, small: Campaign, pilot: Config) -> CampaignCost:
    paths, factor = Paths(pilot.results), campaign.count / small.count
    tables = Path(paths.benchmarks)
    rules: list[RuleCost] = [
        replace(cost, rule=folder.name)
        for folder in sorted(tables.iterdir() if tables.exists() else [])
        for cost in read_costs(folder / campaign.name)
    ]
    if not rules:
        raise FileError(f"{tables} holds no times of campaign {campaign.name!r}: delete the folder and run again.")
    hours = {}
    for cost in rules:
        startup = startup_seconds(cost.rule)
        work = max(cost.wall_seconds - startup, 0.1 * cost.wall_seconds)
        hours[cost.rule] = (work * factor + startup * campaign.batches) / 3600
    shard = Path(paths.batch_file("shards", campaign.name, 0))
    stages = [paths.batch_file(stage, campaign.name, 0) for stage in ("crystals", "relaxed")]
    others = [Path(path) for path in [*stages, patterns_file(pilot, campaign.name, 0)] if Path(path).exists()]
    return CampaignCost(
        campaign=campaign.name,
        family=campaign.family,
        particles=campaign.count,
        samples=_samples(shard) * campaign.count // small.count,
        jobs=campaign.batches * len(rules),
        core_hours=hours,
        shards_gb=shard.stat().st_size * factor / _GB,
        others_gb=sum(path.stat().st_size for path in others) * factor / _GB,
        memory_mb=max((cost.memory_mb for cost in rules if cost.memory_mb is not None), default=None),
        pilot=small.count,
    )


def _samples(shard: Path) -> int:
    from braggworks.files import read_json

    return int(read_json(shard.with_suffix(".json"))["samples"])


def startup_seconds(rule: str) -> float:
    """Return what `measure_costs` counts once per job of a rule, in seconds."""
    return STARTUP.get(rule, OTHER_STARTUP)


def render_costs(costs: Sequence[CampaignCost]) -> str:
    """Return the table as Markdown, with the sum in its last row."""
    head = ["campaign", "particles", "samples", "jobs", "core-hours", "shards (GB)", "other files (GB)", "memory (MB)"]
    rows = [
        [
            cost.campaign,
            f"{cost.particles}",
            f"{cost.samples}",
            f"{cost.jobs}",
            f"{sum(cost.core_hours.values()):.3g}",
            f"{cost.shards_gb:.3g}",
            f"{cost.others_gb:.3g}",
            "" if cost.memory_mb is None else f"{cost.memory_mb:.0f}",
        ]
        for cost in costs
    ]
    rows.append(
        [
            "all",
            f"{sum(cost.particles for cost in costs)}",
            f"{sum(cost.samples for cost in costs)}",
            f"{sum(cost.jobs for cost in costs)}",
            f"{sum(sum(cost.core_hours.values()) for cost in costs):.3g}",
            f"{sum(cost.shards_gb for cost in costs):.3g}",
            f"{sum(cost.others_gb for cost in costs):.3g}",
            f"{max((cost.memory_mb or 0 for cost in costs), default=0):.0f}",
        ]
    )
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
