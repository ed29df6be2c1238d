"""The network's phases of particles whose phase grows in steps: the sweeps of config/phases.yaml, shipped weights.

After M. Masto's thesis, Fig. 4.46: 20 particles of each kind of phase, ten steps. BRAGGWORKS_WEIGHTS names others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks._sweeps import shard_of, swept
from benchmarks.phasing_network import weights
from braggworks.config import StepSweep, load_config
from braggworks.records import Record
from braggworks.reporting.gather_phases import step_records

FOLDER = Path("results/benchmarks/phasing_steps")


def measure() -> Iterator[Record]:
    """Yield accuracy and loss by kind of phase and step."""
    config = load_config("config/phases.yaml")
    for sweep in (each for each in config.sweeps if isinstance(each, StepSweep)):
        if config.campaign(sweep.campaign).count == 1:
            continue
        found = swept(sweep, shard_of(sweep.campaign, FOLDER), weights(), FOLDER / f"{sweep.campaign}.nc")
        for record in step_records(found):
            yield replace(record, name=record.name.replace("sweep.steps.steps-", "phase.steps."), source="mean")
