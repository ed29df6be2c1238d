"""Signals: to the workflow, to what the person started alone, to a job, to a worker."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING

from benchmarks.faults.kinds.base import (
    Event,
    Fault,
    at_random_job,
    at_random_moment,
    ended,
    is_over,
    missed,
    running_rules,
)
from benchmarks.faults.processes import jobs_in, kill, tree_of

if TYPE_CHECKING:
    from benchmarks.faults.site import Site


def _kill_workflow(site: Site, campaign: str, chance: random.Random) -> Event:
    process = at_random_moment(site, campaign, chance)
    rules = running_rules(site)
    if is_over(process) or not kill(tree_of(process.pid)):
        return missed(site, process)
    if site.mode.name == "slurm":
        return Event(rules, site.project.said(process))  # its jobs live on, and the next run meets them
    return ended(site, process, rules)


def _kill_runner(site: Site, campaign: str, chance: random.Random) -> Event:
    process = at_random_moment(site, campaign, chance)
    rules = running_rules(site)
    if is_over(process) or not kill(tree_of(process.pid)[:1]):
        return missed(site, process)
    return Event(rules, site.project.said(process))  # Snakemake lives on, and the person's next command meets it


def _signal_runner(number: int, *, group: bool) -> object:
    def inject(site: Site, campaign: str, chance: random.Random) -> Event:
        process = at_random_moment(site, campaign, chance)
        if is_over(process):
            return missed(site, process)
        rules = running_rules(site)
        if group:
            os.killpg(process.pid, number)
        else:
            kill(tree_of(process.pid)[:1], number)
        return ended(site, process, rules)

    return inject


def _kill_job(site: Site, campaign: str, chance: random.Random) -> Event:
    process = at_random_job(site, campaign, chance)
    jobs = jobs_in(site.project.folder)
    if not jobs:
        return missed(site, process)
    job = chance.choice(jobs)
    if not kill(reversed(job.processes)):
        return missed(site, process)
    return ended(site, process, (job.rule,))


def _kill_worker(site: Site, campaign: str, chance: random.Random) -> Event:
    process = at_random_job(site, campaign, chance)
    jobs = [job for job in jobs_in(site.project.folder) if job.workers]
    if not jobs:
        return missed(site, process)
    job = chance.choice(jobs)
    if not kill(job.workers[-1:]):
        return missed(site, process)
    return ended(site, process, (job.rule,))


KILLS = [
    Fault("kill_workflow", "SIGKILL to every process of the run", 10, _kill_workflow),
    Fault("kill_runner", "SIGKILL to `braggworks run` alone, so that Snakemake and its jobs live on", 4, _kill_runner),
    Fault("kill_job", "SIGKILL to every process of one job", 9, _kill_job, sentence="run the same command again"),
    Fault("kill_worker", "SIGKILL to the process that computes in a job", 9, _kill_worker, sentence="was killed"),
    Fault(
        "terminate",
        "SIGTERM to `braggworks run`, as a batch system or `kill` sends it",
        6,
        _signal_runner(signal.SIGTERM, group=False),  # type: ignore[arg-type]
        sentence="run the same command again",
    ),
    Fault(
        "interrupt",
        "SIGINT to the run's process group, as Ctrl-C sends it",
        4,
        _signal_runner(signal.SIGINT, group=True),  # type: ignore[arg-type]
        sentence="run the same command again",
    ),
]
