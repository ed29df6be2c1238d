"""Finding a run's processes: the workflow, its jobs with their rules, and the workers inside a job."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

_RULE = re.compile(r"results/logs/([a-z_]+)[/.]\S*")
_WORKFLOW = ("braggworks run ", "-m snakemake ")


@dataclass(frozen=True)
class Job:
    """A running job.

    Parameters
    ----------
    rule
        Snakemake's name of it.
    processes
        Its shell and everything below, the shell first.
    """

    rule: str
    processes: tuple[psutil.Process, ...]

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes that compute: Python without the shell, and without what only watches."""
        return [p for p in self.processes if "braggworks" in _line(p) and "bash" not in _name(p)] + [
            p for p in self.processes if "spawn_main" in _line(p)
        ]


def processes_in(folder: Path) -> list[psutil.Process]:
    """Return every process that works in a project's folder, whoever started it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(folder) and process.pid != os.getpid():
                found.append(process)
    return found


def jobs_in(folder: Path) -> list[Job]:
    """Return the jobs that run in a project's folder, in any deployment."""
    shells = {p.pid: (p, match[1]) for p in processes_in(folder) if (match := _RULE.search(_shell_line(p)))}
    jobs = []
    for shell, rule in shells.values():
        with contextlib.suppress(psutil.Error):
            if shell.ppid() not in shells:  # a shell's own fork, or the shell inside a container
                jobs.append(Job(rule, (shell, *shell.children(recursive=True))))
    return jobs


def rules_in(folder: Path) -> tuple[str, ...]:
    """Return the rules that run now; ``planning`` where there is none."""
    return tuple(sorted({job.rule for job in jobs_in(folder)})) or ("planning",)


def kill(processes: Iterable[psutil.Process], number: int = signal.SIGKILL) -> int:
    """Send a signal to processes; return how many were still there."""
    hit = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
            hit += 1
    return hit


def tree_of(pid: int) -> list[psutil.Process]:
    """Return a process and everything below it."""
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def wait_until_quiet(folder: Path, seconds: float = 120) -> None:
    """Wait until nothing works in the folder any more. Raises `TimeoutError`."""
    end = time.monotonic() + seconds
    while left := processes_in(folder):
        if time.monotonic() > end:
            raise TimeoutError(f"still at work in {folder}: {[_line(process)[:200] for process in left]}")
        time.sleep(0.1)


def is_workflow(process: psutil.Process) -> bool:
    """Return whether a process starts jobs, or is what the person started."""
    return any(part in _line(process) + " " for part in _WORKFLOW)


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def _shell_line(process: psutil.Process) -> str:
    return _line(process) if _name(process) in {"bash", "sh"} else ""
