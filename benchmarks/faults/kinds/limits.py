"""A job that asks for more memory or time than it gets."""

from __future__ import annotations

import contextlib
import random
import resource
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil

from benchmarks.faults.kinds.base import Event, Fault, at_random_job, ended, is_over, missed, unless_unmoved
from benchmarks.faults.processes import jobs_in

if TYPE_CHECKING:
    from benchmarks.faults.site import Site

_MEGABYTE = 1 << 20
_NEARLY = 0.9  # seconds


def _limited(limit: Callable[[psutil.Process, random.Random], None]) -> Callable[..., Event]:
    def inject(site: Site, campaign: str, chance: random.Random) -> Event:
        process = at_random_job(site, campaign, chance)
        jobs = [job for job in jobs_in(site.project.folder) if job.workers]
        if is_over(process) or not jobs:
            return missed(site, process)
        job = chance.choice(jobs)
        for worker in job.workers:
            with contextlib.suppress(psutil.Error):
                limit(worker, chance)
        return unless_unmoved(ended(site, process, (job.rule,)))

    return inject


def _memory(worker: psutil.Process, chance: random.Random) -> None:
    most = worker.memory_info().vms + chance.randrange(0, 4 * _MEGABYTE)
    worker.rlimit(psutil.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _out_of_time(site: Site, campaign: str, chance: random.Random) -> Event:
    """Give a second of processor time to a worker that has nearly used it: most jobs here need hardly more."""
    process = at_random_job(site, campaign, chance)
    while not is_over(process):
        for job in jobs_in(site.project.folder):
            with contextlib.suppress(psutil.Error):
                for worker in job.workers:
                    if sum(worker.cpu_times()[:2]) > _NEARLY:
                        worker.rlimit(psutil.RLIMIT_CPU, (1, resource.RLIM_INFINITY))
                        return unless_unmoved(ended(site, process, (job.rule,)))
        time.sleep(0.05)
    return missed(site, process)


LIMITS = [
    Fault(
        "memory",
        "a job gets hardly more memory than it has (RLIMIT_AS)",
        6,
        _limited(_memory),
        sentence="memory",
        modes=("local", "apptainer"),
    ),
    Fault(
        "time",
        "a job gets one second of processor time (RLIMIT_CPU)",
        6,
        _out_of_time,
        sentence="time",
        modes=("local", "apptainer"),
    ),
]
