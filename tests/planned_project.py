"""A project folder in which runs are planned, and files that a run would leave in it."""

from __future__ import annotations

import shutil
from pathlib import Path

from workflow_project import ROOT

from braggworks.config import Config
from braggworks.monitoring.graph import JobGraph
from braggworks.paths import run_paths


def copy_project(folder: Path) -> None:
    for name in ("config", "workflow", "envs"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder)


def touch(files: list[str]) -> None:
    for file in files:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()


def outputs(config: Config) -> list[str]:
    return [file for job in JobGraph(config).jobs for file in job.outputs]


def write_table(config: Config, rule: str, *of: str, seconds: float, cpu: str = "1.0") -> None:
    path = Path(run_paths(config).benchmark(rule, *of))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:01\t120.5\t{cpu}\n")
