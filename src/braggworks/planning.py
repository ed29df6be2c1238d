"""How many jobs a run has, and about how long they take."""

from __future__ import annotations

import math
import re

from braggworks.campaigns import (
    AtomisticCampaign,
    AutophasennCampaign,
    Campaign,
    Polygon2dCampaign,
    ScanCampaign,
    Shape3dCampaign,
    StoppedStrain,
)
from braggworks.config import Config, MaskingSweep, PhasingSweep, TrainingConfig

JobCounts = dict[str, int]

_ROW = re.compile(r"^(\w+)\s+(\d+)$")

# Core-seconds per unit of work, from benchmark tables on a 2-core virtual machine (AMD EPYC).
SECONDS_PER_JOB = 2.0
SECONDS_PER_RELAXATION = 1e-5  # x atoms^1.25: larger particles need more steps
SECONDS_PER_ATOM_AND_STEP = 1e-6  # where the minimisation stops early
SECONDS_PER_NUFFT_VOXEL = 2e-7
SECONDS_PER_PYNX_VOXEL_ATOM = 1.5e-9
SECONDS_PER_SIMULATED_VOXEL = 1.5e-7
SECONDS_PER_SAMPLE = 2e-3
SECONDS_PER_SHARDED_VOXEL = 4e-8  # noise and hashes of a whole pattern
SECONDS_PER_CUT_ATOM = 3e-6
SECONDS_PER_GRIDDED_ATOM = 1e-6
SECONDS_PER_PATCH_AT_FULL_WIDTH = 0.09
SECONDS_PER_SLAB = 0.037  # of 64 x 64 pixels, by the plane network at full width
SECONDS_PER_PHASED_VOXEL = 2e-8  # and cycle of one start
_MASKING_STRATEGIES = 6
_TRAINING_SPEEDUP = 1.33  # of two cores over one
TRAINING = ("train_network", "train_variant")
# Cores of a job where its rule takes more than one.
THREADS = dict.fromkeys(
    (
        "train_network",
        "evaluate_network",
        "train_variant",
        "evaluate_variant",
        "sweep_network",
        "inpaint_scan",
        "phase_scan",
    ),
    2,
)
# Atoms per cubic angstrom in gold, of which a clipped cube keeps about a third of its volume.
_CUBE_ATOMS = 0.33 * 0.059


def parse_job_counts(text: str) -> JobCounts:
    """Return jobs per rule from the table that `snakemake --dry-run` prints, without the target rule and the total."""
    counts = {match[1]: int(match[2]) for line in text.splitlines() if (match := _ROW.match(line.strip()))}
    return {rule: number for rule, number in counts.items() if rule not in {"all", "total"}}


def expected_seconds(config: Config, rule: str, of: str) -> float:
    """Return a rough wall time of one job that was never measured, in seconds.

    Parameters
    ----------
    config
        The run.
    rule
        The job's rule.
    of
        Its campaign, release or sweep, or ``study/variant``; empty where it has none.
    """
    if rule in TRAINING and config.training:
        training = config.training if rule == "train_network" else config.variant(*of.split("/"))
        return SECONDS_PER_JOB + _training_seconds(config, training) / _TRAINING_SPEEDUP
    if rule == "sweep_network":
        return SECONDS_PER_JOB + _sweep_seconds(config, of)
    campaign = next((campaign for campaign in config.campaigns if campaign.name == of), None)
    return SECONDS_PER_JOB + (_batch_seconds(campaign).get(rule, 0.0) if campaign else 0.0)


def training_rules(config: Config) -> list[str]:
    """Return the rules of a run that train networks."""
    return list(TRAINING if config.studies else TRAINING[:1]) if config.training else []


def threads_of(rule: str) -> int:
    """Return the cores that a job of a rule takes."""
    return THREADS.get(rule, 1)


def _batch_seconds(campaign: Campaign) -> dict[str, float]:
    """Return core-seconds of one batch by rule."""
    size, cut = campaign.batch_size, campaign.patches.per_pattern
    match campaign:
        case ScanCampaign():
            return {"cut_scan_shard": size * cut * SECONDS_PER_SAMPLE}
        case Shape3dCampaign() | Polygon2dCampaign():
            patterns = size * campaign.sampling.patterns_per_particle
            voxels = campaign.sampling.grid ** (3 if campaign.family == "shape3d" else 2)
            return {"simulate_batch": patterns * (voxels * SECONDS_PER_SIMULATED_VOXEL + cut * SECONDS_PER_SAMPLE)}
        case AtomisticCampaign():
            atoms = campaign.crystal.atoms
        case AutophasennCampaign():
            atoms = (round(campaign.crystal.edge**3 * _CUBE_ATOMS),) * 2
    patterns = size * campaign.diffraction.patterns_per_particle
    voxels, mean_atoms = campaign.diffraction.grid**3, _mean_power(atoms, 1.0)
    return {
        "cut_crystals": size * mean_atoms * SECONDS_PER_CUT_ATOM,
        "relax_batch": size * _relaxation_seconds(campaign, atoms),
        "scatter_batch": patterns * voxels * SECONDS_PER_NUFFT_VOXEL,
        "scatter_batch_pynx": patterns * voxels * mean_atoms * SECONDS_PER_PYNX_VOXEL_ATOM,
        "grid_batch": patterns * mean_atoms * SECONDS_PER_GRIDDED_ATOM,
        "cut_shard": patterns * (voxels * SECONDS_PER_SHARDED_VOXEL + cut * SECONDS_PER_SAMPLE),
    }


def _relaxation_seconds(campaign: AtomisticCampaign | AutophasennCampaign, atoms: tuple[int, int]) -> float:
    full = _mean_power(atoms, 1.25) * SECONDS_PER_RELAXATION
    strain = campaign.relaxation.strain
    if not isinstance(strain, StoppedStrain):
        return full
    return min(full, _mean_power(atoms, 1.0) * _mean_power(strain.steps, 1.0) * SECONDS_PER_ATOM_AND_STEP)


def _training_seconds(config: Config, training: TrainingConfig) -> float:
    campaigns = map(config.campaign, config.release(training.release).campaigns)
    samples = sum(each.count * _patterns_per_particle(each) * each.patches.per_pattern for each in campaigns)
    each = SECONDS_PER_PATCH_AT_FULL_WIDTH if training.slabs is None else SECONDS_PER_SLAB
    return training.epochs * (training.simulate or samples) * each * training.network.width


def _sweep_seconds(config: Config, name: str) -> float:
    """Return core-seconds of the sweeps that phase, which take hours; others take minutes."""
    match sweep := config.sweep(name):
        case PhasingSweep(phasing=recipe):
            # The network's views are refined twice: with and without HIO.
            cycles = recipe.starts * (recipe.hio + recipe.detwin + recipe.raar + 3 * recipe.er)
        case MaskingSweep():
            cycles = _MASKING_STRATEGIES * sweep.starts * (sweep.hio + sweep.raar + sweep.er)
        case _:
            return 0.0
    campaign = config.campaign(sweep.campaign)
    patterns = min(sweep.patterns, campaign.batch_size * _patterns_per_particle(campaign))
    return patterns * cycles * _voxels(campaign) * SECONDS_PER_PHASED_VOXEL


def _patterns_per_particle(campaign: Campaign) -> int:
    match campaign:
        case AtomisticCampaign() | AutophasennCampaign():
            return campaign.diffraction.patterns_per_particle
        case Shape3dCampaign() | Polygon2dCampaign():
            return campaign.sampling.patterns_per_particle
        case ScanCampaign():
            return 1


def _voxels(campaign: Campaign) -> int:
    match campaign:
        case AtomisticCampaign() | AutophasennCampaign():
            return int(campaign.diffraction.grid**campaign.ndim)
        case Shape3dCampaign() | Polygon2dCampaign():
            return int(campaign.sampling.grid**campaign.ndim)
        case ScanCampaign():
            return 0  # no sweep takes measured scans


def _mean_power(bounds: tuple[int, int], power: float) -> float:
    """Return the mean of x^power for x log-uniform between two bounds."""
    low, high = bounds
    if low == high:
        return float(low**power)
    return float((high**power - low**power) / (power * math.log(high / low)))
