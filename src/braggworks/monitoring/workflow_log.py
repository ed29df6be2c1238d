"""What Snakemake said of each job of a run, from the run's workflow log."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

State = Literal["started", "finished", "failed"]

_RULE = re.compile(r"(?:local)?(?:rule|checkpoint) (\w+):$")
_ITEM = re.compile(r"    ([a-z_]+): (.*)$")
_FINISHED = re.compile(r"Finished jobid: (\d+)")
_RESTARTED = re.compile(r"Trying to restart job (\d+)\.")
_SUBMITTED = re.compile(r"Job (\d+) has been submitted with SLURM jobid (\d+)")
_COUNTS = re.compile(r"\d+ of \d+ steps|\w+ +\d+$")
_PLANNED = re.compile(r"(\w+) +(\d+)$")
_SLOTS = re.compile(r"Provided (cores|remote nodes): (\d+)")
_EXIT = re.compile(r"(?:returned non-zero exit status (\d+)|died with <Signals\.\w+: (\d+)>)\.$")
_LOG_FILE = re.compile(r"[^\s'\"]+\.log")
_CONFIG = re.compile(r" --configfile (\S+)")
_PROFILE = re.compile(r" --profile (\S+)")


@dataclass
class LoggedJob:
    """One job of a run, as Snakemake told it.

    Parameters
    ----------
    rule
        Its rule.
    state
        Whether it was started, and has ended since.
    began, ended
        When it was started and when it was finished, as Snakemake wrote it.
    items
        What Snakemake said of it by name: ``jobid``, ``output``, ``log``, ``wildcards``, ``resources``, ``message``.
    slurm_jobid
        Number of its Slurm job; empty where it ran without Slurm.
    exit_code
        Of its command, as a shell counts: 128 more than a signal that ended it. None where it was not told.
    """

    rule: str
    state: State = "started"
    began: str = ""
    ended: str = ""
    items: dict[str, str] = field(default_factory=dict)
    slurm_jobid: str = ""
    exit_code: int | None = None

    @property
    def wildcards(self) -> dict[str, str]:
        """Its campaign and batch, its release, or its figure."""
        return _pairs(self.items.get("wildcards", ""))

    @property
    def resources(self) -> dict[str, str]:
        """What it asked for: ``mem_mb``, ``runtime`` and others."""
        return _pairs(self.items.get("resources", ""))

    @property
    def outputs(self) -> list[str]:
        """Files that it makes."""
        return _files(self.items.get("output", ""))

    @property
    def logs(self) -> list[str]:
        """Its own log, and then Slurm's where there is one."""
        return _files(self.items.get("log", "").removesuffix(" (check log file(s) for error details)"))

    @property
    def name(self) -> str:
        """The rule, and of what: ``relax_batch of campaign demo-free, batch 00003``."""
        parts = [f"{key} {value}" for key, value in self.wildcards.items()]
        return f"{self.rule} of {', '.join(parts)}" if parts else self.rule

    @property
    def seconds(self) -> float | None:
        """How long it took from its start, on a cluster its submission, to its end; None where that is unknown."""
        began, ended = seconds_of(self.began), seconds_of(self.ended)
        return None if began is None or ended is None else max(0.0, ended - began)

    def seconds_since(self, now: float) -> float:
        """Return how long ago it was started; 0 where that is unknown."""
        return max(0.0, now - (seconds_of(self.began) or now))


@dataclass
class WorkflowLog:
    """A whole log.

    Parameters
    ----------
    jobs
        By Snakemake's number.
    failed
        Numbers of the jobs that failed and were not started again, in the order in which they failed.
    planned
        Jobs by rule that were to be done when the run began, the target rule included.
    slots
        What was shared out: cores, or Slurm jobs at a time.
    on_slurm
        Whether slots are jobs.
    config, profile, folder
        Configuration file, profile, and the folder in which the run began; empty where the log does not say.
    began
        When the run began, as Snakemake wrote it.
    stray
        The last lines that Snakemake does not write by itself.
    """

    jobs: dict[int, LoggedJob] = field(default_factory=dict)
    failed: list[int] = field(default_factory=list)
    planned: dict[str, int] = field(default_factory=dict)
    slots: int | None = None
    on_slurm: bool = False
    config: str = ""
    profile: str = ""
    folder: str = ""
    began: str = ""
    stray: list[str] = field(default_factory=list)

    def in_state(self, state: State) -> list[LoggedJob]:
        """Return the jobs in one state; failed ones in the order in which they failed."""
        if state == "failed":
            return [self.jobs[number] for number in self.failed]
        return [job for job in self.jobs.values() if job.state == state]


def seconds_of(stamp: str) -> float | None:
    """Return the seconds since 1970 of a time as Snakemake writes it."""
    for form in ("%a %b %d %H:%M:%S %Y", "%Y-%m-%d %H:%M:%S"):
        try:
            return time.mktime(time.strptime(stamp, form))
        except (ValueError, OverflowError):
            continue
    return None


def read_workflow_log(path: str | Path) -> WorkflowLog:
    """Read a log, which may be growing; one that is absent is empty."""
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as stream:
            return parse_workflow_log(stream)
    except OSError:
        return WorkflowLog()


def parse_workflow_log(lines: Iterable[str]) -> WorkflowLog:
    """Return what the lines of a log say."""
    return _Parser().parse(lines)


class _Parser:
    """Reads a log line by line; what it says of one job comes in blocks of indented lines."""

    def __init__(self) -> None:
        self.log = WorkflowLog()
        self.stamp = ""
        self.block: LoggedJob | None = None
        self.codes: dict[str, int] = {}

    def parse(self, lines: Iterable[str]) -> WorkflowLog:
        for line in _without_quoted_logs(line.rstrip("\n") for line in lines):
            if line.startswith("    "):
                self._read_item(line)
            elif line.startswith("["):
                self.stamp = line.strip("[]")
            elif line:
                self.block = None
                self._read_line(line)
        return self.log

    def _read_item(self, line: str) -> None:
        match = _ITEM.match(line)
        if match is None or self.block is None:
            return
        key, value = match[1], match[2]
        if key == "jobid":
            self._identify(int(value) if value.isdigit() else -1)
        elif key == "external_jobid":
            self.block.slurm_jobid = value
        elif key in {"output", "log", "wildcards", "resources", "message"}:
            self.block.items[key] = value
            if key == "log":
                own = self.block.logs[0] if self.block.logs else ""
                self.block.exit_code = self.codes.pop(own, self.block.exit_code)

    def _identify(self, number: int) -> None:
        """Take the block of a job's start or failure as that of job `number`."""
        block = self.block
        assert block is not None  # noqa: S101
        if block.state == "failed":
            known = self.log.jobs.setdefault(number, block)
            known.state = "failed"
            known.items |= block.items
            self.block = known
            self._forget_failure(number)
            self.log.failed.append(number)
        else:
            self._forget_failure(number)
            self.log.jobs[number] = block

    def _forget_failure(self, number: int) -> None:
        if number in self.log.failed:
            self.log.failed.remove(number)

    def _read_line(self, line: str) -> None:
        log = self.log
        if match := _RULE.match(line):
            self.block = LoggedJob(match[1], began=self.stamp)
        elif line.startswith("Error in rule "):
            self.block = LoggedJob(line.removeprefix("Error in rule ").rstrip(":"), "failed", self.stamp)
        elif match := _FINISHED.match(line):
            if job := log.jobs.get(int(match[1])):
                job.state, job.ended = "finished", self.stamp
                self._forget_failure(int(match[1]))
        elif match := _RESTARTED.match(line):
            self._forget_failure(int(match[1]))
        elif match := _SUBMITTED.match(line):
            if job := log.jobs.get(int(match[1])):
                job.slurm_jobid = match[2]
        elif not log.jobs and self._read_head(line):
            pass
        elif line.startswith("Command '") and (match := _EXIT.search(line)):
            if files := _LOG_FILE.findall(line):
                self.codes[files[-1]] = int(match[1]) if match[1] else 128 + int(match[2])
        elif not line.startswith(_OWN) and not _COUNTS.match(line):
            log.stray = [*log.stray[-9:], plain(line)]

    def _read_head(self, line: str) -> bool:
        """Read a line that comes before the first job, and return whether it was one of interest."""
        log = self.log
        if line.startswith("  "):
            key, _, value = line.strip().partition(": ")
            if key == "Date":
                log.began = value
            elif key == "Run directory":
                log.folder = value
            elif key == "Command":
                log.config, log.profile = (
                    found[1] if (found := each.search(value)) else "" for each in (_CONFIG, _PROFILE)
                )
        elif match := _PLANNED.match(line):
            log.planned |= {match[1]: int(match[2])} if match[1] != "total" else {}
        elif match := _SLOTS.match(line):
            log.slots, log.on_slurm = int(match[2]), match[1] != "cores"
        else:
            return False
        return True


# How the lines begin that Snakemake itself writes between jobs.
_OWN = (
    *("Select jobs", "Execute ", "Shell command:", "Activating ", "Shutting down", "Exiting because", "Complete log"),
    *(
        "Elapsed time",
        "WorkflowError",
        "At least one job",
        "RuleException",
        "CalledProcessError",
        "Removing ",
        "Logfile",
    ),
    *("Using ", "Assuming ", "Building DAG", "Provided ", "Rules claiming", "Conda env", "Singularity", "Job stats"),
    *(
        "job  ",
        "-----",
        "SNAKEMAKE",
        "=====",
        "Will exit",
        "Storing ",
        "Cleaning up",
        "SLURM run ID",
        "  ",
        "Subsampling",
        "Touching",
        "Waiting ",
    ),
)


def _without_quoted_logs(lines: Iterator[str]) -> Iterator[str]:
    """Leave out the logs of failed jobs, which Snakemake repeats between two lines of equal signs; read its head."""
    for line in lines:
        yield line
        if line.startswith("Logfile ") and line.endswith(":"):
            fence = next(lines, "")
            for quoted in lines:
                if quoted == fence:
                    break


def plain(line: str) -> str:
    """Return a line without colours and other characters that would move a terminal's cursor."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]", "", line).rstrip()


def _pairs(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(", ") if "=" in part)


def _files(text: str) -> list[str]:
    return [part for part in text.split(", ") if part]
