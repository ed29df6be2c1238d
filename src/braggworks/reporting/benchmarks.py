"""Wall time and memory of a run's jobs, from the tables that Snakemake writes."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


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
    """

    rule: str
    jobs: int
    wall_seconds: float
    cpu_seconds: float
    memory_mb: float | None


def read_costs(folder: str | Path) -> list[RuleCost]:
    """Return the cost of each rule below a folder of benchmark tables, the dearest first."""
    root = Path(folder)
    rows: dict[str, list[dict[str, str]]] = {}
    for table in sorted(root.rglob("*.tsv")):
        rule = table.relative_to(root).parts[0].removesuffix(".tsv")
        with table.open(newline="", encoding="utf-8") as stream:
            rows.setdefault(rule, []).extend(csv.DictReader(stream, delimiter="\t"))
    costs = [
        RuleCost(
            rule=rule,
            jobs=len(jobs),
            wall_seconds=sum(_numbers(jobs, "s")),
            cpu_seconds=sum(_numbers(jobs, "cpu_time")),
            memory_mb=max(_numbers(jobs, "max_rss"), default=None),
        )
        for rule, jobs in rows.items()
    ]
    return sorted(costs, key=lambda cost: -cost.wall_seconds)


def _numbers(rows: Iterable[dict[str, str]], column: str) -> list[float]:
    values = []
    for row in rows:
        try:
            values.append(float(row[column]))
        except (KeyError, ValueError):
            continue
    return values
