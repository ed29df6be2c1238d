"""A job that asks for more memory or time than it gets."""

from __future__ import annotations

import contextlib
import random
import resource
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil

from benchmarks.faults.kinds.base import Event, Fault, at_random_job, ended
from benchmarks.faults.processes import Job, jobs_in

if TYPE_CHECKING:
    from benchmarks.faults.site import Site

_MEGABYTE = 1 << 20


def _limited(limit: Callable[[psutil.Process, random.Random], None]) -> Callable[..., Event | None]:
    def inject(site: Site, campaign: str, chance: random.Random) -> Event | None:
        process = at_random_job(site, campaign, chance)
        jobs = [job for job in jobs_in(site.project.folder) if job.workers]
        if process is None:
            return None
        job = chance.choice(jobs) if jobs else Job("", ())
        for worker in job.workers:
            with contextlib.suppress(psutil.Error):
                limit(worker, chance)
        event = ended(site, process, (job.rule,))
        return None if event.said is None or event.said.code == 0 else event

    return inject


def _memory(worker: psutil.Process, chance: random.Random) -> None:
    most = worker.memory_info().vms + chance.randrange(0, 4 * _MEGABYTE)
    worker.rlimit(psutil.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _time(worker: psutil.Process, chance: random.Random) -> None:
    worker.rlimit(psutil.RLIMIT_CPU, (1, resource.RLIM_INFINITY))


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
        _limited(_time),
        sentence="time",
        modes=("local", "apptainer"),
    ),
]
