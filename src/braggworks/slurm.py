"""Talking to Slurm: what jobs a run has, and how they are cancelled."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from braggworks.errors import MissingToolError, UserError

# Slurm kills what ignores its first signal after KillWait, which is 30 seconds unless a site sets it.
_SECONDS_TO_END = 180.0
_SECONDS_PER_QUESTION = 60.0
_LOG_BYTES = 100_000

_RULE = re.compile(r"^(?:local)?rule (\w+):$")
_THREADS = re.compile(r"^    threads: (\d+)$")
_RESOURCES = re.compile(r"^    resources: (.*)$")
_REFUSED = re.compile(
    r"^Error in rule (?P<rule>\w+):\n    message: SLURM sbatch failed\. The error message was '(?P<why>[^']*)",
    re.MULTILINE,
)
_ENDED = re.compile(
    r"^Error in rule (?P<rule>\w+):\n    message: SLURM-job '(?P<job>\d+)' failed, SLURM status is: '(?P<state>\w+)'",
    re.MULTILINE,
)
_OUT_OF_MEMORY = re.compile(r"OUT_OF_MEMORY|exceeded (?:job )?memory limit|oom[-_ ]kill", re.IGNORECASE)
_OUT_OF_TIME = re.compile(r"^TIMEOUT$|^DEADLINE$|DUE TO TIME LIMIT", re.MULTILINE)


@dataclass(frozen=True)
class Request:
    """What a rule's jobs ask Slurm for: cores, megabytes, minutes, GPUs, where, and a site's further options."""

    rule: str
    cores: int
    memory: int
    minutes: int
    gpus: int = 0
    partitions: tuple[str, ...] = ()
    account: str = ""
    qos: str = ""
    constraint: str = ""
    extra: str = ""

    def options(self) -> list[str]:
        """Return the same as options of sbatch."""
        values = {
            "partition": ",".join(self.partitions),
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "cpus-per-task": self.cores,
            "mem": self.memory,
            "time": self.minutes,
            "gpus": self.gpus,
        }
        return [*(f"--{key}={value}" for key, value in values.items() if value), *shlex.split(self.extra)]


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
            f"Slurm does not say which jobs run (squeue: {first_line(result.stderr)}): "
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
            raise UserError(f"Slurm does not cancel the jobs of the run before (scancel: {first_line(result.stderr)}).")


def first_line(text: str) -> str:
    """Return what a command said first."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "no reason given"


def planned_requests(plan: str) -> list[Request]:
    """Return what the jobs of a plan ask for, each combination once.

    Parameters
    ----------
    plan
        What Snakemake's dry run prints.
    """
    found: dict[Request, None] = {}
    rule, threads = "", 1
    for line in plan.splitlines():
        if match := _RULE.match(line):
            rule, threads = match[1], 1
        elif match := _THREADS.match(line):
            threads = int(match[1])
        elif rule and (match := _RESOURCES.match(line)):
            values = dict(pair.split("=", 1) for pair in match[1].split(", ") if "=" in pair)
            found[_request(rule, threads, values)] = None
            rule = ""
    return list(found)


def _request(rule: str, threads: int, values: dict[str, str]) -> Request:
    def number(key: str) -> int:
        return int(values[key]) if values.get(key, "").isdigit() else 0

    return Request(
        rule=rule,
        cores=threads,
        memory=number("mem_mb"),
        minutes=number("runtime"),
        gpus=number("gpu"),
        partitions=tuple(filter(None, values.get("slurm_partition", "").split(","))),
        account=values.get("slurm_account", ""),
        qos=values.get("qos", ""),
        constraint=values.get("constraint", ""),
        extra=values.get("slurm_extra", ""),
    )


def reason_of_failure(log: str) -> str | None:
    """Return a sentence on why Slurm ended a job, where the job could not say so itself.

    Parameters
    ----------
    log
        What Snakemake printed; it quotes the logs of failed jobs, unless one of them was never written.
    """
    refused = list(_REFUSED.finditer(log))
    ended = list(_ENDED.finditer(log))
    if refused and (not ended or refused[-1].start() > ended[-1].start()):
        return f"Slurm did not take a job of rule {refused[-1]['rule']} ({first_line(refused[-1]['why'])})."
    if not ended:
        return None
    rule, job, state = ended[-1].group("rule", "job", "state")
    quoted = log[ended[-1].end() :] + _own_log(job, log)
    for resource, what, sign in (("mem_mb", "memory", _OUT_OF_MEMORY), ("runtime", "time", _OUT_OF_TIME)):
        if sign.search(f"{state}\n{quoted}"):
            return (
                f"Slurm ended job {job} of rule {rule}, because it needed more {what} than it asked for, in its last "
                f"attempt too: ask for more with --snakemake=--set-resources={rule}:{resource}=NUMBER."
            )
    if state == "FAILED":
        return None
    return f"Slurm job {job} of rule {rule} ended as {state}: run the same command again to go on."


def _own_log(job: str, log: str) -> str:
    """Return the end of what Slurm wrote of a job."""
    submitted = re.search(rf"SLURM jobid {job} \(log: ([^\n]+)\)\.$", log, re.MULTILINE)
    try:
        return Path(submitted[1]).read_bytes()[-_LOG_BYTES:].decode("utf-8", "replace") if submitted else ""
    except OSError:
        return ""
