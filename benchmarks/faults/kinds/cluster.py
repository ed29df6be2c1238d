"""What happens on a Slurm cluster alone: cancelled jobs, a controller that restarts, and Slurm's own limits."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.faults.kinds.base import (
    Event,
    Fault,
    at_random_job,
    ended,
    is_over,
    missed,
    running_rules,
    unless_unmoved,
)
from benchmarks.faults.modes import SlurmMode
from benchmarks.faults.processes import jobs_in, kill

if TYPE_CHECKING:
    from benchmarks.faults.site import Site

# The shortest limit that Slurm knows, in minutes; and memory that is too small for any job, in MB.
_MINUTES = 1
_MEGABYTES = 10
_OUTAGE = (1.0, 15.0)


def _slurm(site: Site) -> SlurmMode:
    if not isinstance(site.mode, SlurmMode):
        raise TypeError(f"mode {site.mode.name} has no Slurm")
    return site.mode


def _cancel(site: Site, campaign: str, chance: random.Random) -> Event | None:
    process = at_random_job(site, campaign, chance)
    rules, jobs = running_rules(site), _slurm(site).jobs()
    if is_over(process) or not jobs:
        return missed(site, process)
    job = chance.choice(jobs)
    subprocess.run(["scancel", job], check=True)
    event = ended(site, process, rules)
    event.hit = _slurm(site).was_cancelled(job)
    return event


def _restart_controller(site: Site, campaign: str, chance: random.Random) -> Event | None:
    process = at_random_job(site, campaign, chance)
    if is_over(process):
        return missed(site, process)
    rules = running_rules(site)
    _slurm(site).stop_controller()
    time.sleep(chance.uniform(*_OUTAGE))
    _slurm(site).start()
    return ended(site, process, rules)


def _limited(limit: str, disturb: Callable[[Site], None]) -> Callable[..., Event | None]:
    """Let one rule ask for too little, and give it no second try with more."""

    def inject(site: Site, campaign: str, chance: random.Random) -> Event | None:
        rule = chance.choice(["cut_crystals", "relax_batch", "scatter_batch", "simulate_batch"])
        name = "fault-shapes" if rule == "simulate_batch" else "fault-atoms"
        if name not in site.project.names:
            return None
        site.project.remove(name)
        options = [f"--snakemake=--set-resources={rule}:{limit}", "--snakemake=--restart-times=0"]
        process = site.project.start(*options)
        while process.poll() is None:
            if any(job.rule == rule for job in jobs_in(site.project.folder)):
                disturb(site)
                break
            time.sleep(0.05)
        return unless_unmoved(ended(site, process, (rule,)))

    return inject


def _stop_workers(site: Site) -> None:
    """Stop what computes, so that its time runs out."""
    time.sleep(0.5)
    for job in jobs_in(site.project.folder):
        kill(job.workers, signal.SIGSTOP)


CLUSTER = [
    Fault("cancelled", "scancel of a running job", 6, _cancel, modes=("slurm",)),
    Fault("controller", "slurmctld stops for up to 15 s and starts again", 4, _restart_controller, modes=("slurm",)),
    Fault(
        "slurm_memory",
        "a job holds more memory than Slurm gives it",
        4,
        _limited(f"mem_mb={_MEGABYTES}", lambda site: None),
        sentence="memory",
        modes=("slurm",),
    ),
    Fault(
        "slurm_time",
        "a job takes longer than Slurm lets it",
        2,
        _limited(f"runtime={_MINUTES}", _stop_workers),
        sentence="time",
        modes=("slurm",),
    ),
]
