"""A run's status and costs as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from braggworks.monitoring.forecast import Range
from braggworks.monitoring.status import JobStatus, RunStatus
from braggworks.reporting.benchmarks import RuleCost

# Jobs that are listed one by one.
_MOST_LISTED = 8

_SAYS = {
    "running": "running",
    "killed": "killed, or ended with its machine; the same command goes on where it was",
    "failed": "stopped, because a job failed",
    "complete": "complete",
    "stopped": "not running; the same command goes on where it was",
    "not started": "not started",
}


def status_text(status: RunStatus) -> str:
    """Return a table by rule and campaign, the jobs at work, the failed ones, and what is left."""
    says = _SAYS[status.state]
    if status.state == "running":
        says += f" for {_duration(status.seconds)}, {_room(status)}"
    what = "datasets alone, " if status.datasets_only else ""
    lines = [f"{status.results}: {says} ({what}{status.config})", "", *_job_table(status), ""]
    lines += _listed("running", status.running, with_time=True)
    lines += _listed("waiting in Slurm", status.waiting, with_time=True)
    lines += _listed("cut off", status.cut_off)
    lines += _left_in_slurm(status.left_in_slurm)
    for job in status.failed[:_MOST_LISTED]:
        lines += [f"{job.name} {job.reason}", f"  its log: {job.log}"]
    lines += [f"{len(status.failed) - _MOST_LISTED} more failed"] if len(status.failed) > _MOST_LISTED else []
    if status.out_of_date:
        rules = ", ".join(f"{number} of {rule}" for rule, number in status.out_of_date.items())
        lines.append(f"out of date, and made anew: {rules}")
    return "\n".join([*lines, *_left(status)])


def _job_table(status: RunStatus) -> list[str]:
    head = ["rule", "campaign or release", "done", "running", "failed", "s per job", "core-hours left"]
    rows = [
        [
            group.rule,
            group.of,
            f"{group.done} of {group.total}",
            _count(group.running),
            _count(group.failed),
            f"{'' if group.pace.measured else '~'}{_short(group.pace.seconds)}",
            _short(group.left.expected),
        ]
        for group in status.groups
    ]
    running, failed, left = len(status.running), len(status.failed), status.core_hours.expected
    last = ["all", "", f"{status.done} of {status.total}", _count(running), _count(failed), ""]
    return render_table(head, [*rows, [*last, _short(left)]], left=2)


def _listed(what: str, jobs: Sequence[JobStatus], *, with_time: bool = False) -> list[str]:
    lines = []
    for job in jobs[:_MOST_LISTED]:
        since = f", for {_duration(job.seconds)}" if with_time else ""
        slurm = f", Slurm job {job.slurm_jobid}" if job.slurm_jobid else ""
        lines.append(f"{what}: {job.name}{since}{slurm} ({job.log})")
    return [*lines, f"{what}: {len(jobs) - _MOST_LISTED} more"] if len(jobs) > _MOST_LISTED else lines


def _left_in_slurm(jobs: list[str] | None) -> list[str]:
    if jobs is None:
        return ["The killed run may have left jobs in Slurm's queue, which does not answer here: see `squeue --me`."]
    if not jobs:
        return []
    named = ", ".join([*jobs[:_MOST_LISTED], *(["..."] if len(jobs) > _MOST_LISTED else [])])
    several = f"{len(jobs)} jobs of the killed run are" if len(jobs) > 1 else "A job of the killed run is"
    return [
        f"{several} still in Slurm's queue ({named}): the same command cancels what is left and goes on; "
        "`scancel` ends it now."
    ]


def _left(status: RunStatus) -> list[str]:
    if not status.core_hours.expected:
        return [f"left: nothing; {status.total} jobs are done"]
    core, wall = status.core_hours, status.wall_hours
    about = "about " if core.expected >= 0.01 else ""
    lines = [
        f"left: {about}{_short(core.expected)} core-hours ({_short(core.low)} to {_short(core.high)}); "
        f"{hours_text(wall)} at {_room(status)}"
    ]
    if any(not group.pace.measured and group.left.expected for group in status.groups):
        lines.append("A time with ~ was not measured in this run yet: it is right within a factor of about two.")
    return lines


def _room(status: RunStatus) -> str:
    return f"{status.slots} {'cores' if status.in_cores else 'jobs at a time'}"


def _short(number: float) -> str:
    """Return a number with two or three digits; nothing for 0."""
    if number < 0.01:
        return "<0.01" if number else ""
    return f"{number:.2g}" if number < 10 else f"{number:.0f}"


def _count(number: int) -> str:
    return str(number) if number else ""


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{_short(seconds / 3600)} h"


def hours_text(hours: Range) -> str:
    """Return hours in a unit that suits them, with their range."""
    low, expected, high = (_duration(value * 3600) for value in (hours.low, hours.expected, hours.high))
    return f"{expected} ({low} to {high})"


def status_values(status: RunStatus) -> dict[str, Any]:
    """Return a status as values for JSON."""
    return {**asdict(status), "total": status.total, "done": status.done}


def costs_text(costs: Sequence[RuleCost]) -> str:
    """Return a table of what each rule's jobs cost by campaign, the dearest first."""
    head = [
        "rule",
        "campaign or release",
        "jobs",
        "wall (h)",
        "s per job",
        "core-hours",
        "CPU (h)",
        "CPU use",
        "memory (MB)",
    ]
    rows = [
        [
            cost.rule,
            cost.campaign,
            str(cost.jobs),
            _short(cost.wall_seconds / 3600),
            _short(cost.wall_seconds / max(cost.jobs, 1)),
            _short(cost.core_seconds / 3600),
            _short(cost.cpu_seconds / 3600),
            "" if cost.efficiency is None else f"{cost.efficiency:.0%}",
            "" if cost.memory_mb is None else f"{cost.memory_mb:.0f}",
        ]
        for cost in costs
    ]
    names = ("wall_seconds", "core_seconds", "cpu_seconds")
    wall, core, cpu = (sum(getattr(cost, name) for cost in costs) / 3600 for name in names)
    memory = max((cost.memory_mb or 0 for cost in costs), default=0)
    last = [
        "all",
        "",
        str(sum(cost.jobs for cost in costs)),
        _short(wall),
        "",
        _short(core),
        _short(cpu),
        "",
        f"{memory:.0f}",
    ]
    return "\n".join(render_table(head, [*rows, last], left=2))


def render_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Return lines of aligned columns, of which the first `left` begin, and the others end, at one place."""
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
