"""Wall time, CPU time and memory of a run's jobs, from the tables that Snakemake writes."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from braggworks.planning import threads_of

Row = dict[str, str]


@dataclass(frozen=True)
class RuleCost:
    """What one rule's jobs cost together.

    Parameters
    ----------
    rule
        The rule.
    jobs
        Number of its jobs.
    wall_seconds, cpu_seconds
        Sums over the jobs.
    memory_mb
        Largest resident memory of any of them, in MB; None where jobs were too short to be sampled.
    campaign
        Campaign or release of the jobs; empty for jobs of neither, and where those of all are taken together.
    efficiency
        CPU time over wall time and threads, of the jobs that were long enough to be sampled; None without one.
    """

    rule: str
    jobs: int
    wall_seconds: float
    cpu_seconds: float
    memory_mb: float | None
    campaign: str = ""
    efficiency: float | None = None

    @property
    def core_seconds(self) -> float:
        """Wall time times the cores that the rule's jobs hold."""
        return self.wall_seconds * threads_of(self.rule)


def read_costs(folder: str | Path, *, by_campaign: bool = False) -> list[RuleCost]:
    """Return the cost of each rule below a folder of benchmark tables, the dearest first.

    Parameters
    ----------
    folder
        `braggworks.paths.Paths.benchmarks`.
    by_campaign
        Whether a rule's jobs are told apart by campaign or release; those of figures never are.
    """
    root = Path(folder)
    rows: dict[tuple[str, str], list[Row]] = {}
    for table in sorted(root.rglob("*.tsv")):
        rule, *of = table.relative_to(root).with_suffix("").parts
        is_figure = rule == "draw_figure"
        campaign = of[0] if by_campaign and of and not is_figure else ""
        rows.setdefault((rule, campaign), []).extend(read_table(table))
    costs = [_cost(rule, campaign, jobs) for (rule, campaign), jobs in rows.items()]
    return sorted(costs, key=lambda cost: -cost.wall_seconds)


def read_table(table: Path) -> list[Row]:
    """Return the rows of one benchmark table; none where it is absent, or was cut off."""
    try:
        with table.open(newline="", encoding="utf-8", errors="replace") as stream:
            return list(csv.DictReader(stream, delimiter="\t"))
    except (OSError, csv.Error):
        return []


def numbers(rows: Iterable[Row], column: str) -> list[float]:
    """Return the numbers of one column, without the rows that hold none."""
    found = (_number(row, column) for row in rows)
    return [value for value in found if value is not None]


def _cost(rule: str, campaign: str, jobs: Sequence[Row]) -> RuleCost:
    sampled = [(wall, cpu) for row in jobs if (wall := _number(row, "s")) and (cpu := _number(row, "cpu_time"))]
    available = threads_of(rule) * sum(wall for wall, _ in sampled)
    return RuleCost(
        rule=rule,
        jobs=len(jobs),
        wall_seconds=sum(numbers(jobs, "s")),
        cpu_seconds=sum(numbers(jobs, "cpu_time")),
        memory_mb=max(numbers(jobs, "max_rss"), default=None),
        campaign=campaign,
        efficiency=sum(cpu for _, cpu in sampled) / available if sampled else None,
    )


def _number(row: Row, column: str) -> float | None:
    try:
        value = float(row[column])
    except (KeyError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
