"""The published campaigns on one machine: the plan, and the share of core time that is no stage work.

A job's core time is its start-up (shell, interpreter, libraries), its stage work, and the gap until Snakemake has the
next job running. Start-up is measured with two particles in two jobs and in one: T(0) + T(1) - T(0 and 1), work
cancelling out. The gap is measured on one core in a plan of as many jobs as the published campaigns have. The work per
particle is that of the pilot in benchmarks/results/cost.json, and all is then projected to the published batch sizes.
"""

from __future__ import annotations

import csv
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks import planning
from braggworks.files import read_json
from braggworks.pilot import startup_seconds
from braggworks.records import Record

CONFIG = "config/paper.yaml"
COST = Path("benchmarks/results/cost.json")
REPEATS = 3
JOBS_WATCHED = 12
# One small campaign for each chain of stages.
CAMPAIGNS: dict[str, dict[str, Any]] = {
    "atoms": {
        "family": "atomistic",
        "crystal": {"shapes": ["wulff"], "atoms": [1500, 1501]},
        "diffraction": {"grid": 64, "patterns_per_particle": 1},
        "patches": {"per_pattern": 2},
    },
    "cubes": {
        "family": "autophasenn",
        "crystal": {"edge": 40.0},
        "relaxation": {"strain": {"protocol": "stopped", "prestrain": 0.01, "steps": [5, 5]}},
        "diffraction": {"bin_size": 4.0, "object_grid": 32, "grid": 64, "patterns_per_particle": 1},
        "task": "phase",
        "patches": {"size": 64, "per_pattern": 1},
    },
    "flat": {"family": "polygon2d", "task": "phase", "patches": {"size": 64, "per_pattern": 1}},
}


def measure() -> Iterator[Record]:
    """Yield the plan's records, start-up by rule, the gap between jobs, and the share that is no stage work."""
    plan = list(planning.measure())
    yield from plan
    seconds, jobs = (next(r.value for r in plan if r.name == f"plan.{name}.100k") for name in ("seconds", "jobs"))
    with tempfile.TemporaryDirectory(dir=".", prefix=".scale-") as folder:
        startups = _startups(Path(folder))
        gap = _gap(Path(folder), int(jobs))
    for rule, values in startups.items():
        spread = {"low": min(values), "high": max(values)}
        about = "median and range, one core"
        yield Record(f"scale.startup.{rule}", statistics.median(values), "s", n=len(values), source=about, **spread)
    yield Record("scale.gap", gap, "s", n=JOBS_WATCHED, source=f"between jobs, one core, a plan of {jobs:.0f} jobs")
    yield from _projection({rule: statistics.median(values) for rule, values in startups.items()}, gap, seconds)


def _projection(startups: dict[str, float], gap: float, planned: float) -> Iterator[Record]:
    """Yield the share for each campaign and for all of them."""
    cost = read_json(COST)
    about = f"batch sizes of {CONFIG}, one core, local profile; work of {cost['command']!r} at {cost['commit']}"
    works, others = [], [planned]
    for campaign in cost["campaigns"]:
        batches = campaign["jobs"] // len(campaign["core_hours"])
        work = sum(3600 * hours - batches * startup_seconds(rule) for rule, hours in campaign["core_hours"].items())
        other = batches * sum(startups[_alike(rule)] + gap for rule in campaign["core_hours"])
        works.append(work)
        others.append(other)
        yield Record(f"scale.overhead.{campaign['campaign']}", other / (work + other), "1", n=1, source=about)
    share = sum(others) / (sum(works) + sum(others))
    yield Record("scale.overhead", share, "1", n=len(works), source=f"{about}; all campaigns together")


def _alike(rule: str) -> str:
    """Return the measured rule that starts as another does."""
    return rule if rule != "cut_scan_shard" else "cut_shard"


def _startups(folder: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for repeat in range(REPEATS):
        single = _job_seconds(folder / f"single-{repeat}", batch_size=1)
        double = _job_seconds(folder / f"double-{repeat}", batch_size=2)
        for rule, batches in double.items():
            if len(single[rule]) == len(batches):  # a manifest: one in each run, so that nothing cancels out
                continue
            found.setdefault(rule.partition("/")[0], []).append(sum(single[rule]) - sum(batches))
    return dict(sorted(found.items()))


def _job_seconds(folder: Path, batch_size: int) -> dict[str, list[float]]:
    """Return wall seconds of each rule's jobs, by rule and campaign, of a run of two particles per campaign."""
    config = _write(folder, {name: {**c, "count": 2, "batch_size": batch_size} for name, c in CAMPAIGNS.items()})
    command = [".envs/workflow/bin/braggworks", "run", str(config), "--cores", "1", "--datasets"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    tables: dict[str, list[float]] = {}
    root = folder / "results/benchmarks"
    for table in root.rglob("*.tsv"):
        rule = table.relative_to(root).parts[0].removesuffix(".tsv")
        if len(table.relative_to(root).parts) > 1:
            tables.setdefault(f"{rule}/{table.parent.name}", []).append(_seconds(table))
    return tables


def _seconds(table: Path) -> float:
    with table.open(newline="", encoding="utf-8") as stream:
        return float(next(csv.DictReader(stream, delimiter="\t"))["s"])


def _gap(folder: Path, jobs: int) -> float:
    """Return the seconds between jobs, of a plan of many jobs that is stopped after a few of them."""
    config = _write(folder / "many", {"many": {**CAMPAIGNS["flat"], "count": jobs, "batch_size": 1}})
    command = [".envs/workflow/bin/braggworks", "run", str(config), "--cores", "1", "--datasets"]
    tables = folder / "many/results/benchmarks"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as run:
        first = None
        while run.poll() is None:
            finished = list(tables.rglob("*.tsv"))
            # The first job starts at an unknown moment, so that the clock starts at its end.
            first = first or (time.monotonic() if finished else None)
            if first and len(finished) > JOBS_WATCHED:
                break
            time.sleep(0.02)
        elapsed = time.monotonic() - (first or 0.0)
        run.send_signal(signal.SIGTERM)
    ends = sorted(finished, key=lambda table: table.stat().st_mtime)
    return (elapsed - sum(map(_seconds, ends[1:]))) / (len(ends) - 1)


def _write(folder: Path, campaigns: dict[str, dict[str, Any]]) -> Path:
    (folder / "campaigns").mkdir(parents=True)
    for name, values in campaigns.items():
        (folder / "campaigns" / f"{name}.yaml").write_text(yaml.safe_dump({"seed": 0, **values}))
    releases = [{"name": name, "campaigns": [name]} for name in campaigns]
    run = {"results": os.path.relpath(folder / "results"), "campaigns": list(campaigns), "releases": releases}
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**run, "splits": {"validation": 0.0, "test": 0.0}}))
    return path
