"""How many jobs a run has, and about how long they take."""

from __future__ import annotations

import math
import re

from braggworks.config import Config

JobCounts = dict[str, int]

_ROW = re.compile(r"^(\w+)\s+(\d+)$")

# Core-seconds per unit of work, measured with the demo on a 2-core virtual machine; `config/README.md` says how.
SECONDS_PER_JOB = 3.0
SECONDS_PER_RELAXED_ATOM = 4e-4
SECONDS_PER_NUFFT_VOXEL = 6e-7
SECONDS_PER_PYNX_VOXEL_ATOM = 6e-9
SECONDS_PER_PATCH_AT_FULL_WIDTH = 0.55


def parse_job_counts(text: str) -> JobCounts:
    """Return jobs per rule from the table that `snakemake --dry-run` prints, without the target rule and the total."""
    counts = {match[1]: int(match[2]) for line in text.splitlines() if (match := _ROW.match(line.strip()))}
    return {rule: number for rule, number in counts.items() if rule not in {"all", "total"}}


def estimate_minutes(config: Config, counts: JobCounts, cores: int) -> float:
    """Return a rough wall time of the jobs that are to be done.

    Parameters
    ----------
    config
        The run.
    counts
        Jobs per rule that remain.
    cores
        Cores that share the work.

    Returns
    -------
    float
        Minutes; right within a factor of about two on machines like the one it was measured on.
    """
    release = config.release(config.training.release)
    campaigns = [config.campaign(name) for name in release.campaigns]
    batches = sum(campaign.batches for campaign in campaigns)
    relax = scatter = samples = 0.0
    for campaign in campaigns:
        low, high = campaign.crystal.atoms
        atoms = (high - low) / math.log(high / low) if high > low else high
        patterns = campaign.count * campaign.diffraction.patterns_per_particle
        relax += campaign.count * atoms * SECONDS_PER_RELAXED_ATOM
        scatter += patterns * campaign.diffraction.grid**3 * SECONDS_PER_NUFFT_VOXEL
        samples += patterns * campaign.patches.per_pattern
    compared = config.campaign(config.comparison.campaign)
    low, high = compared.crystal.atoms
    pynx_patterns = compared.batch_size * compared.diffraction.patterns_per_particle
    pynx = pynx_patterns * compared.diffraction.grid**3 * (low + high) / 2 * SECONDS_PER_PYNX_VOXEL_ATOM
    training = config.training.epochs * samples * SECONDS_PER_PATCH_AT_FULL_WIDTH * config.training.network.width**1.5
    seconds = {
        "relax_batch": relax / batches,
        "scatter_batch": scatter / batches,
        "scatter_batch_pynx": pynx,
        "train_network": training,
    }
    work: float = sum(number * (SECONDS_PER_JOB + seconds.get(rule, 0.0)) for rule, number in counts.items())
    return work / cores / 60
