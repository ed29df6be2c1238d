"""How long the rest of a run takes, from the benchmark tables of its finished jobs."""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from braggworks.config import Config
from braggworks.monitoring.graph import Job, JobGraph
from braggworks.paths import run_paths
from braggworks.planning import expected_seconds, threads_of
from braggworks.reporting.benchmarks import numbers, read_table

Group = tuple[str, str]

# Tables that are read per rule and campaign: the mean of fifty is known well enough.
_MOST_TABLES = 50
# How far an expectation may be off, as a factor: one that was never measured, and one corrected by another campaign.
_UNMEASURED, _CORRECTED = 2.0, 1.6
# Jobs that run later meet other loads of the machine than those measured.
_LEAST_SPREAD = 0.05


@dataclass(frozen=True)
class Range:
    """A prediction: 95 of 100 times the truth should lie between `low` and `high`."""

    expected: float = 0.0
    low: float = 0.0
    high: float = 0.0

    def times(self, factor: float) -> Range:
        """Return the range of a multiple."""
        return Range(self.expected * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Pace:
    """How long one job takes.

    Parameters
    ----------
    seconds
        Mean wall time.
    deviation
        Standard deviation between jobs, in seconds.
    measured
        Number of jobs that it was measured on; 0 where it is an expectation.
    factor
        How far an expectation may be off.
    """

    seconds: float
    deviation: float = 0.0
    measured: int = 0
    factor: float = _UNMEASURED

    def of_jobs(self, seconds: float) -> Range:
        """Return the range of what jobs take together whose sum is expected to be `seconds`."""
        if not seconds:
            return Range()
        factor = self.factor
        if self.measured:
            number = max(1.0, seconds / self.seconds)
            relative = self.deviation / self.seconds * math.sqrt(1 / number + 1 / self.measured)
            factor = min(1 + 2 * max(relative, _LEAST_SPREAD), _UNMEASURED)
        return Range(seconds, seconds / factor, seconds * factor)


def measure_paces(config: Config, groups: Iterable[Group]) -> dict[Group, Pace]:
    """Return how long a job takes, by rule and campaign or release.

    Where none was measured, it is what `braggworks.planning` expects, corrected by how far that is off for the same
    rule in other campaigns.

    Parameters
    ----------
    config
        The run.
    groups
        `braggworks.monitoring.graph.Job.group` of its jobs.
    """
    tables = {group: _measured_seconds(config, group) for group in groups}
    expected = {(rule, of): expected_seconds(config, rule, of) for rule, of in tables}
    off: dict[str, list[float]] = {}
    for (rule, of), seconds in tables.items():
        if seconds:
            off.setdefault(rule, []).append(sum(seconds) / len(seconds) / expected[rule, of])
    return {group: _pace(seconds, expected[group], off.get(group[0], [])) for group, seconds in tables.items()}


def _pace(seconds: list[float], expected: float, off: list[float]) -> Pace:
    if not seconds and off:
        return Pace(expected * math.exp(sum(map(math.log, off)) / len(off)), factor=_CORRECTED)
    if not seconds:
        return Pace(expected)
    mean = sum(seconds) / len(seconds)
    # Of a single job nobody knows by how much the next one differs.
    squares = (
        sum((value - mean) ** 2 for value in seconds) / (len(seconds) - 1) if len(seconds) > 1 else (mean / 2) ** 2
    )
    return Pace(mean, math.sqrt(squares), len(seconds))


def _measured_seconds(config: Config, group: Group) -> list[float]:
    rule, of = group
    table = Path(run_paths(config).benchmark(rule, *([of] if of else [])))
    try:
        found = sorted(table.with_suffix("").iterdir())
    except OSError:
        found = [table]
    step = max(1, math.ceil(len(found) / _MOST_TABLES))
    return [seconds for path in found[::step] for seconds in numbers(read_table(path), "s") if seconds > 0]


def plan_forecast(
    config: Config, counts: Mapping[str, int], slots: int, *, in_cores: bool, datasets_only: bool
) -> tuple[Range, Range]:
    """Return the core-hours and the wall hours of a run that has not begun.

    Parameters
    ----------
    config
        The run.
    counts
        Jobs by rule that Snakemake plans.
    slots, in_cores
        Room for so many cores, or jobs.
    datasets_only
        Whether training, figures and report are left out.
    """
    graph = JobGraph(config, datasets_only=datasets_only)
    to_do = graph.to_do()
    paces = measure_paces(config, dict.fromkeys(job.group for job in graph.jobs))
    seconds = {job: paces[job.group].seconds for job in graph.jobs if job in to_do}
    return hours_left(graph, seconds, paces, more_than_missing(counts, to_do), slots, in_cores=in_cores)


def more_than_missing(planned: Mapping[str, int], to_do: Collection[Job]) -> dict[str, int]:
    """Return how many jobs by rule are planned beyond those whose files are missing: something changed for them."""
    missing = Counter(job.rule for job in to_do)
    more = {rule: number - missing[rule] for rule, number in planned.items() if rule != "all"}
    return {rule: number for rule, number in more.items() if number > 0}


def work_by_group(seconds: Mapping[Job, float], paces: Mapping[Group, Pace]) -> dict[Group, Range]:
    """Return the core-hours of jobs by rule and campaign or release."""
    work = dict.fromkeys(paces, 0.0)
    for job, value in seconds.items():
        work[job.group] += value
    return {group: paces[group].of_jobs(value).times(threads_of(group[0]) / 3600) for group, value in work.items()}


def hours_left(
    graph: JobGraph,
    seconds: Mapping[Job, float],
    paces: Mapping[Group, Pace],
    again: Mapping[str, int],
    slots: int,
    *,
    in_cores: bool,
    overhead: float = 0.0,
) -> tuple[Range, Range]:
    """Return the core-hours and the wall hours that are left.

    Parameters
    ----------
    graph
        The run's jobs.
    seconds
        Those that are to be done, with the time of each.
    paces
        How long one takes.
    again
        Jobs by rule that are made anew although their files exist.
    slots, in_cores
        Room for so many cores, or jobs.
    overhead
        What a cluster adds to each job from its submission to its end, in seconds.
    """
    parts = [(left, paces[group].measured > 0) for group, left in work_by_group(seconds, paces).items()]
    delayed = {job: value + overhead for job, value in seconds.items()}
    wall = wall_seconds(graph, delayed, slots, in_cores=in_cores) / 3600
    for rule, number in again.items():
        same = [paces[job.group].seconds for job in graph.jobs if job.rule == rule] or [0.0]
        each = sum(same) / len(same)
        more = Pace(each).of_jobs(number * each).times(threads_of(rule) / 3600)
        parts.append((more, False))
        wall += (more.expected + number * overhead / 3600) / slots
    work = sum_ranges(parts)
    return work, work.times(wall / work.expected) if work.expected else Range()


def sum_ranges(parts: Iterable[tuple[Range, bool]]) -> Range:
    """Return the range of a sum.

    Parameters
    ----------
    parts
        Each with whether it was measured; the errors of what was are independent, those of expectations go together.
    """
    expected, squares, linear = 0.0, [0.0, 0.0], [0.0, 0.0]
    for part, is_measured in parts:
        expected += part.expected
        for side, distance in enumerate((part.expected - part.low, part.high - part.expected)):
            if is_measured:
                squares[side] += distance**2
            else:
                linear[side] += distance
    below, above = (math.sqrt(square) + sum_ for square, sum_ in zip(squares, linear, strict=True))
    return Range(expected, max(0.0, expected - below), expected + above)


def wall_seconds(graph: JobGraph, seconds: Mapping[Job, float], slots: int, *, in_cores: bool) -> float:
    """Return how long jobs take side by side, each as soon as what it reads is made and there is room.

    Parameters
    ----------
    graph
        The run's jobs.
    seconds
        Those that are to be done, with the time of each; the ones that run already come first.
    slots
        Room for so many cores, or jobs.
    in_cores
        Whether room is counted in cores.
    """
    width = {job: min(slots, threads_of(job.rule)) if in_cores else 1 for job in seconds}
    waits_for = {job: sum(maker in seconds for maker in graph.makers(job)) for job in seconds}
    ready = deque(job for job in seconds if not waits_for[job])
    busy: list[tuple[float, int, Job]] = []
    now, room, number = 0.0, slots, 0
    while ready or busy:
        waiting = deque[Job]()
        while ready and room:
            job = ready.popleft()
            if width[job] > room:
                waiting.append(job)
                continue
            room -= width[job]
            number += 1
            heapq.heappush(busy, (now + seconds[job], number, job))
        ready.extendleft(reversed(waiting))
        now, _, job = heapq.heappop(busy)
        room += width[job]
        for user in graph.users(job):
            if user in waits_for:
                waits_for[user] -= 1
                if not waits_for[user]:
                    ready.append(user)
    return now
