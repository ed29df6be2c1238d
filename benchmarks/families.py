"""Patterns per second and core of every family at its published settings, and where the time goes, stage by stage.

The first particles of the full-size campaign of each family go through its stages as the workflow calls them, one after
the other, one thread each, files written to disk. A stage's time is the wall time of its command, the interpreter's
start-up included.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import h5py

from braggworks.campaigns import Campaign, ScanCampaign
from braggworks.config import load_campaign
from braggworks.datasets.counts import Counts
from braggworks.recipes import STAGES, campaign_recipe
from braggworks.records import Record
from braggworks.targets import find_scan

# Campaign and particles of each family; the relaxed ones hold up to some 100 000 atoms each.
CASES = {
    "polygon2d": ("polygon2d-inpaint", 1000),
    "shape3d": ("shape3d-train", 1000),
    "atomistic": ("atomistic-phase", 2),
    "autophasenn": ("autophasenn-train", 1),
    "scan": ("aps-scan", 1),
}
REPEATS = 3
_FOLDERS = {"crystals": "crystals.h5", "relax": "relaxed.h5", "scatter": "patterns.h5"}
_LAST = {"shard": "shard.h5", "simulate": "shard.h5", "shard-scan": "shard.h5"}


def measure(cases: dict[str, tuple[str, int]] = CASES) -> Iterator[Record]:
    """Yield rates and shares; the family scan is left out where its scan is absent."""
    for family, (name, particles) in cases.items():
        campaign = load_campaign(Path("config/campaigns") / f"{name}.yaml")
        if isinstance(campaign, ScanCampaign) and find_scan(campaign.scans[0]) is None:
            print(f"  {family}: its scan is absent (BRAGGWORKS_TEST_DATA)", flush=True)
            continue
        runs = [_go(campaign, particles) for _ in range(REPEATS)]
        patterns, size, samples = runs[0][1]
        rates = sorted(patterns / sum(seconds.values()) for seconds, _ in runs)
        spread = f"{rates[0]:.3g} to {rates[-1]:.3g} in {REPEATS} runs"
        about = f"{name}, first {particles} particles, start-up included; median; {spread}"
        unit = "patches per second and core" if family == "scan" else "patterns per second and core"
        n, seed = patterns, campaign.seed
        yield Record(f"dataset.rate.{family}", median(rates), unit, source=about, n=n, seed=seed)
        yield Record(f"dataset.bytes_per_sample.{family}", size / samples, "bytes", n=samples, seed=seed)
        for stage in STAGES[campaign.family]:
            share = median(seconds[stage] / sum(seconds.values()) for seconds, _ in runs)
            yield Record(f"dataset.share.{family}.{stage}", share, "1", n=n, seed=seed)


def _go(campaign: Campaign, particles: int) -> tuple[dict[str, float], tuple[int, int, int]]:
    """Return the seconds of every stage, and what `_made` returns of the shard."""
    with tempfile.TemporaryDirectory(dir=".", prefix=".families-") as folder:
        seconds = {stage: _run(campaign, stage, particles, Path(folder)) for stage in STAGES[campaign.family]}
        return seconds, _made(Path(folder) / "shard.h5", campaign)


def _run(campaign: Campaign, stage: str, particles: int, folder: Path) -> float:
    """Return the wall time of one stage's command."""
    output = folder / (_FOLDERS | _LAST)[stage]
    command = [".envs/develop/bin/braggworks", stage, "--recipe", campaign_recipe(stage, campaign).to_json()]
    command += ["--output", str(output)]
    if stage in {"crystals", "simulate", "shard-scan"}:
        command += ["--batch", "0", "--batch-size", str(particles)]
    if stage in {"relax", "scatter", "shard"}:
        before = {"relax": "crystals.h5", "scatter": "relaxed.h5", "shard": "patterns.h5"}[stage]
        command += ["--input", str(folder / before)]
    if isinstance(campaign, ScanCampaign):
        command += ["--input", *(str(find_scan(scan)) for scan in campaign.scans)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return time.perf_counter() - start


def _made(shard: Path, campaign: Campaign) -> tuple[int, int, int]:
    """Return patterns (patches for scans), bytes and samples of a shard."""
    with h5py.File(shard, "r") as file:
        samples = len(Counts(file))
    patterns = samples if isinstance(campaign, ScanCampaign) else samples // campaign.patches.per_pattern
    return patterns, shard.stat().st_size, samples
