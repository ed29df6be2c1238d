"""What a run has done, does, failed in and has left, from its files alone."""

from __future__ import annotations

import fcntl
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from braggworks.config import Config
from braggworks.errors import UserError
from braggworks.failures import INTERRUPTED, failure_reason
from braggworks.monitoring.forecast import (
    Group,
    Pace,
    Range,
    hours_left,
    measure_paces,
    more_than_missing,
    work_by_group,
)
from braggworks.monitoring.graph import Job, JobGraph
from braggworks.monitoring.workflow_log import LoggedJob, WorkflowLog, read_workflow_log, seconds_of
from braggworks.paths import run_paths
from braggworks.runlock import left_run
from braggworks.slurm import jobs_of

RunState = Literal["running", "killed", "failed", "complete", "stopped", "not started"]

_DEFAULT_SLOTS = 2


@dataclass(frozen=True)
class GroupStatus:
    """The jobs of one rule and one campaign or release.

    Parameters
    ----------
    rule, of
        The rule, and the campaign or release; empty where it has none.
    total, done, running, waiting, failed
        Numbers of jobs; `waiting` are submitted to Slurm and not begun.
    pace
        How long one takes.
    left
        What is left of them, in core-hours.
    """

    rule: str
    of: str
    total: int
    done: int
    running: int
    waiting: int
    failed: int
    pace: Pace
    left: Range


@dataclass(frozen=True)
class JobStatus:
    """A job that runs, was cut off, or failed.

    Parameters
    ----------
    name, rule, of, batch
        Which job; `batch` is None where it is of no batch.
    log
        Its log.
    slurm_jobid
        Number of its Slurm job; empty without Slurm.
    seconds
        Since it was started.
    reason
        What became of it, where it failed.
    """

    name: str
    rule: str
    of: str
    batch: int | None
    log: str
    slurm_jobid: str
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class RunStatus:
    """A whole run.

    Parameters
    ----------
    config, results
        Its configuration and its folder.
    state
        ``running``; ``killed``: it ended without saying so; ``failed``: a job failed, and it stopped; ``complete``;
        ``stopped``: it ended with work left; ``not started``.
    datasets_only
        Whether training, figures and report are left out.
    seconds
        Since it began, while it runs; else 0.
    slots, in_cores
        How many cores it shares out, or jobs at a time.
    groups, running, waiting, failed
        Its jobs.
    cut_off
        Jobs that were begun and not ended when the run was killed or interrupted.
    left_in_slurm
        Numbers of the Slurm jobs that a killed run left waiting or running; None where Slurm does not say.
    out_of_date
        Jobs by rule that it makes anew although their files exist, because something that they depend on changed.
    core_hours, wall_hours
        What is left.
    """

    config: str
    results: str
    state: RunState
    datasets_only: bool
    seconds: float
    slots: int
    in_cores: bool
    groups: list[GroupStatus]
    running: list[JobStatus]
    waiting: list[JobStatus]
    failed: list[JobStatus]
    cut_off: list[JobStatus]
    left_in_slurm: list[str] | None
    out_of_date: dict[str, int]
    core_hours: Range
    wall_hours: Range

    @property
    def total(self) -> int:
        """Number of all jobs."""
        return sum(group.total for group in self.groups)

    @property
    def done(self) -> int:
        """Number of jobs that are done."""
        return sum(group.done for group in self.groups)


def read_status(config: Config, source: str, *, cores: int | None = None, datasets_only: bool = False) -> RunStatus:
    """Return the status of a run whose paths hold from the present folder.

    Parameters
    ----------
    config, source
        The run, and the file of its configuration.
    cores
        To predict for, instead of those that the run has.
    datasets_only
        Whether training, figures and report are left out; a run that makes datasets alone is taken so in any case.
    """
    paths = run_paths(config)
    log = read_workflow_log(paths.workflow_log)
    lock = _lock_state(Path(paths.run_lock))
    is_on = lock == "held"
    datasets_only = datasets_only or (is_on and bool(log.planned) and "all" not in log.planned)
    graph = JobGraph(config, datasets_only=datasets_only)
    started = _match(graph, log.in_state("started"))
    to_do = graph.to_do(started)
    ended_badly = {job: said for job, said in _match(graph, log.in_state("failed")).items() if job in to_do}
    reasons = {job: failure_reason(said, log) for job, said in ended_badly.items()}
    failed = {job: said for job, said in ended_badly.items() if not INTERRUPTED.search(reasons[job])}
    interrupted = {job: said for job, said in ended_badly.items() if job not in failed}
    running = {job: said for job, said in started.items() if is_on and _has_begun(said)}
    waiting = {job: said for job, said in started.items() if is_on and job not in running}
    paces = measure_paces(config, dict.fromkeys(job.group for job in graph.jobs))
    slots = cores or log.slots or _DEFAULT_SLOTS
    in_cores = bool(cores) or not log.on_slurm
    seconds = _seconds_left(graph, to_do, running, paces)
    groups = _groups(graph, seconds, paces, (running, waiting, failed))
    out_of_date = more_than_missing(_planned_still(log), to_do) if is_on else {}
    overhead = 0.0 if in_cores else _overhead(graph, log, paces)
    core_hours, wall_hours = hours_left(graph, seconds, paces, out_of_date, slots, in_cores=in_cores, overhead=overhead)
    return RunStatus(
        config=source,
        results=config.results,
        state=_state(lock, bool(to_do), bool(failed), len(to_do) < len(graph.jobs) or bool(log.jobs)),
        datasets_only=datasets_only,
        seconds=max(0.0, time.time() - (seconds_of(log.began) or time.time())) if is_on else 0.0,
        slots=slots,
        in_cores=in_cores,
        groups=groups,
        running=[_job_status(job, said) for job, said in running.items()],
        waiting=[_job_status(job, said) for job, said in waiting.items()],
        failed=[_job_status(job, said, reasons[job]) for job, said in failed.items()],
        cut_off=[] if is_on else [_job_status(job, said) for job, said in (started | interrupted).items()],
        left_in_slurm=_left_in_slurm(Path(paths.run_lock)) if lock == "left" else [],
        out_of_date=out_of_date,
        core_hours=core_hours,
        wall_hours=wall_hours,
    )


def is_running(config: Config) -> bool:
    """Return whether a run is on."""
    return _lock_state(Path(run_paths(config).run_lock)) == "held"


def _lock_state(path: Path) -> Literal["free", "held", "left"]:
    """Return whether a run holds its lock, or left text in it when it was killed."""
    try:
        with path.open() as stream:
            if not stream.read(1):
                return "free"
            # With text in the file, a lock that can be had belongs to a run that was killed.
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return "left"
    except BlockingIOError:
        return "held"
    except OSError:
        return "free"


def _left_in_slurm(lock: Path) -> list[str] | None:
    """Return the Slurm jobs that a killed run left behind; None where Slurm does not say."""
    run = left_run(lock)
    if run is None or run[1] != "slurm":
        return []
    try:
        return jobs_of(run[0])
    except UserError:
        return None


def _state(lock: str, is_left: bool, has_failed: bool, has_begun: bool) -> RunState:
    if lock == "held":
        return "running"
    if not is_left:
        return "complete"
    if lock == "left":
        return "killed"
    if has_failed:
        return "failed"
    return "stopped" if has_begun else "not started"


def _match(graph: JobGraph, logged: list[LoggedJob]) -> dict[Job, LoggedJob]:
    found = ((next((job for file in said.outputs if (job := graph.of_output(file))), None), said) for said in logged)
    return {job: said for job, said in found if job}


def _has_begun(said: LoggedJob) -> bool:
    """Return whether a job works already: Snakemake removes its log first, and its command begins with a new one."""
    return not said.slurm_jobid or any(Path(log).exists() for log in said.logs[:1])


def _seconds_left(
    graph: JobGraph, to_do: Collection[Job], running: Mapping[Job, LoggedJob], paces: Mapping[Group, Pace]
) -> dict[Job, float]:
    """Return the time of each job that is to be done; what runs comes first, and has part of its time behind it."""
    now = time.time()
    seconds = {}
    for job in (*running, *(job for job in graph.jobs if job in to_do and job not in running)):
        pace = paces[job.group].seconds
        seconds[job] = max(pace - running[job].seconds_since(now), 0.1 * pace) if job in running else pace
    return seconds


def _groups(
    graph: JobGraph,
    seconds: Mapping[Job, float],
    paces: Mapping[Group, Pace],
    states: tuple[Collection[Job], Collection[Job], Collection[Job]],
) -> list[GroupStatus]:
    total = Counter(job.group for job in graph.jobs)
    left = Counter(job.group for job in seconds)
    running, waiting, failed = (Counter(job.group for job in jobs) for jobs in states)
    work = work_by_group(seconds, paces)
    # By campaign, and then what is of none; within one, as the work goes.
    place = {job.group: graph.campaigns.index(job.of) for job in graph.jobs if job.batch is not None}
    order = sorted(total, key=lambda group: place.get(group, len(graph.campaigns)))
    return [
        GroupStatus(
            *group,
            total=total[group],
            done=total[group] - left[group],
            running=running[group],
            waiting=waiting[group],
            failed=failed[group],
            pace=paces[group],
            left=work[group],
        )
        for group in order
    ]


def _planned_still(log: WorkflowLog) -> dict[str, int]:
    """Return the jobs by rule that a run planned and has not ended."""
    ended = Counter(said.rule for said in log.in_state("finished"))
    return {rule: number - ended[rule] for rule, number in log.planned.items()}


def _overhead(graph: JobGraph, log: WorkflowLog, paces: Mapping[Group, Pace]) -> float:
    """Return what the cluster added to a job from its submission to its end, in seconds, as a mean of this run's."""
    ended = _match(graph, [said for said in log.in_state("finished") if said.slurm_jobid])
    added = [said.seconds - paces[job.group].seconds for job, said in ended.items() if said.seconds is not None]
    return max(0.0, sum(added) / len(added)) if added else 0.0


def _job_status(job: Job, said: LoggedJob, reason: str = "") -> JobStatus:
    seconds = said.seconds_since(time.time())
    log = said.logs[0] if said.logs else ""
    return JobStatus(said.name, job.rule, job.of, job.batch, log, said.slurm_jobid, seconds, reason)
