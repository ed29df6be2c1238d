"""How many jobs a run has, and about how long they take."""

from __future__ import annotations

import math
import re

from braggworks.config import Config

JobCounts = dict[str, int]

_ROW = re.compile(r"^(\w+)\s+(\d+)$")

# Core-seconds per unit of work, from the benchmark tables of the demo on a 2-core virtual machine (AMD EPYC).
SECONDS_PER_JOB = 2.0
SECONDS_PER_RELAXATION = 2.8e-6  # x atoms^1.5: larger particles need more steps
SECONDS_PER_NUFFT_VOXEL = 2e-7
SECONDS_PER_PYNX_VOXEL_ATOM = 1.5e-9
SECONDS_PER_PATCH_AT_FULL_WIDTH = 0.09


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
        patterns = campaign.count * campaign.diffraction.patterns_per_particle
        relax += campaign.count * _mean_power(campaign.crystal.atoms, 1.5) * SECONDS_PER_RELAXATION
        scatter += patterns * campaign.diffraction.grid**3 * SECONDS_PER_NUFFT_VOXEL
        samples += patterns * campaign.patches.per_pattern
    compared = config.campaign(config.comparison.campaign)
    voxels = compared.batch_size * compared.diffraction.patterns_per_particle * compared.diffraction.grid**3
    training = config.training.epochs * samples * SECONDS_PER_PATCH_AT_FULL_WIDTH * config.training.network.width
    seconds = {
        "relax_batch": relax / batches,
        "scatter_batch": scatter / batches,
        "scatter_batch_pynx": voxels * _mean_power(compared.crystal.atoms, 1.0) * SECONDS_PER_PYNX_VOXEL_ATOM,
        "train_network": training,
    }
    work: float = sum(number * (SECONDS_PER_JOB + seconds.get(rule, 0.0)) for rule, number in counts.items())
    return work / cores / 60


def _mean_power(bounds: tuple[int, int], power: float) -> float:
    """Return the mean of x^power for x log-uniform between two bounds."""
    low, high = bounds
    if low == high:
        return float(low**power)
    return float((high**power - low**power) / (power * math.log(high / low)))
