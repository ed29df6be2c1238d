"""Talking to Slurm: what jobs a run has, and how they are cancelled."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

from braggworks.errors import MissingToolError, UserError

# Slurm kills what ignores its first signal after KillWait, which is 30 seconds unless a site sets it.
_SECONDS_TO_END = 180.0
_SECONDS_PER_QUESTION = 60.0


def ask(*command: str) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's commands.

    Raises
    ------
    MissingToolError
        If the command is not there, or has no answer within a minute.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS_PER_QUESTION)
    except FileNotFoundError:
        raise MissingToolError(
            f"There is no {command[0]} on the PATH: run this where Slurm's commands are, such as the login node."
        ) from None
    except subprocess.TimeoutExpired:
        raise MissingToolError(f"Slurm's {command[0]} does not answer: try again when the cluster does.") from None


def jobs_of(run: str) -> list[str]:
    """Return the numbers of a run's jobs that wait, run or are ending.

    Parameters
    ----------
    run
        The run's name, which its jobs' names begin with.

    Raises
    ------
    UserError
        If the controller does not answer.
    """
    result = ask("squeue", "--me", "--noheader", "--format=%i|%j")
    if result.returncode:
        raise UserError(
            f"Slurm does not say which jobs run (squeue: {_first(result.stderr)}): "
            "try again when its controller answers."
        )
    pairs = [line.split("|", 1) for line in result.stdout.splitlines() if "|" in line]
    return [number for number, name in pairs if name.strip().startswith(f"{run}_")]


def cancel_run(run: str, seconds: float = _SECONDS_TO_END) -> int:
    """Cancel a run's jobs, wait until they are gone, and return how many there were.

    Raises
    ------
    UserError
        If the controller does not answer, or jobs do not end.
    """
    jobs = jobs_of(run)
    number, deadline = len(jobs), time.monotonic() + seconds
    if jobs:
        _cancel(jobs)
    while jobs:
        if time.monotonic() > deadline:
            raise UserError(
                f"Slurm's jobs {', '.join(jobs[:10])} of the run before do not end: see `squeue --me`, "
                "and run the same command again when they are gone."
            )
        time.sleep(0.5)
        jobs = jobs_of(run)
    return number


def _cancel(jobs: Sequence[str]) -> None:
    for start in range(0, len(jobs), 500):
        result = ask("scancel", "--quiet", *jobs[start : start + 500])
        if result.returncode:
            raise UserError(f"Slurm does not cancel the jobs of the run before (scancel: {_first(result.stderr)}).")


def _first(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "no reason given"
