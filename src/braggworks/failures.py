"""From what Snakemake and its jobs left behind to why a run stopped, and what to do next."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from braggworks.monitoring.workflow_log import LoggedJob, WorkflowLog, plain, read_workflow_log

# Bounds of what is quoted from a log.
_QUOTED_LINES = 10
_QUOTED_BYTES = 2_000
_NAMED_JOBS = 5
_SLURM_LINE = 300

_TOLD = re.compile(r"braggworks [a-z-]+: \S")
_RAISED = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit|Warning)(: |$)")
# In the words of Python, of C and C++ libraries and of torch.
_NO_MEMORY = re.compile(
    r"MemoryError|[Mm]emory allocation|[Cc]annot allocate memory|bad_alloc|out of memory|not enough memory"
    r"|failed to map segment|can't start new thread"
)
_REFUSED = re.compile(r"SLURM sbatch failed\. The error message was '([^']{0,300})")
_SLURM = re.compile(r"SLURM status is: '([A-Z_]+)")
INTERRUPTED = re.compile(r"interrupted; run the same command again|topped after \d+ steps with the state saved")
"""What a job says that someone ended, and that did not fail by itself."""

_AGAIN = "run the same command again"


def planning_error(text: str) -> str:
    """Return why Snakemake refused, from what it printed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any("LockException" in line for line in lines):
        return (
            "the folder is locked by another Snakemake: wait for it, or, if it was killed, "
            "run `.envs/workflow/bin/snakemake --unlock --configfile CONFIG` with your configuration."
        )
    starts = [i for i, line in enumerate(lines) if "Error" in line or "Exception" in line]
    return " ".join(lines[starts[0] :] if starts else lines[-5:])


def failure_sentence(log: Path) -> str:
    """Return why a run stopped: one sentence, and below it the end of the first failed job's log and the other jobs.

    Parameters
    ----------
    log
        The run's workflow log; the logs of its jobs are looked for where it names them.
    """
    said = read_workflow_log(log)
    failed = said.in_state("failed")
    where = f"(everything it said: {log})"
    if not failed:
        with log.open(encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
        told = [line.strip() for line in lines if _TOLD.match(line.strip())]
        return f"the workflow stopped. {told[-1] if told else planning_error(chr(10).join(lines[-60:]))} {where}"
    first, *others = failed
    sentence = f"the workflow stopped, because {first.name} {failure_reason(first, said)} {where}"
    return "\n".join([sentence, *_quote(first), *_others(others)])


def failure_reason(job: LoggedJob, log: WorkflowLog | None = None) -> str:
    """Return what became of a failed job, to be read after its name: ``failed: braggworks relax: ...``.

    Parameters
    ----------
    job
        The job.
    log
        The run's log, of use where the job failed before it wrote to its own.
    """
    _, lines = _last_words(job)
    code = _exit_code(job)
    if told := [line for line in lines if _TOLD.match(line)]:
        return f"failed: {told[-1]}"
    if killed := _killed(job, code) or _without_memory(job, lines):
        return killed
    if raised := [line for line in lines if _RAISED.match(line)]:
        return f"failed with {raised[-1].rstrip('.')}, which it did not expect."
    if lines:
        return f"failed: {lines[-1].rstrip('.')}."
    if code is not None:
        stray = f": {log.stray[-1].rstrip('.')}" if log and log.stray else ""
        return f"failed with exit code {code} before it wrote to its log{stray}."
    return _out_of_something(job, "left an empty log, as a job does that is killed or runs out of memory or time")


def _last_words(job: LoggedJob) -> tuple[str | None, list[str]]:
    """Return the last lines of a job's own log, or of Slurm's where that is empty, and which log it is."""
    for number, path in enumerate(job.logs):
        lines = log_tail(path)
        if number:
            # Slurm's log is that of a Snakemake, which repeats the command at length.
            stray = [line[:_SLURM_LINE] for line in read_workflow_log(path).stray]
            lines = [line for line in stray if not line.startswith("srun: ")] or stray
        if lines:
            return path, lines
    return None, []


def _exit_code(job: LoggedJob) -> int | None:
    """Return the exit code of a job's command, which on Slurm stands in Slurm's log."""
    inner = (said for path in job.logs[1:] for said in read_workflow_log(path).in_state("failed"))
    return next((said.exit_code for said in (job, *inner) if said.exit_code is not None), None)


def log_tail(path: str | None) -> list[str]:
    """Return the last lines of a log that hold something, as a terminal would show them; none where it is absent."""
    try:
        with Path(path or os.devnull).open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 4 * _QUOTED_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return []
    # Of a progress bar, which goes back to the line's start, the last state is shown.
    states = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return [line for line in map(plain, states) if line]


def _quote(job: LoggedJob) -> list[str]:
    """Return the end of a job's log, within bounds, and where the whole is."""
    log, lines = _last_words(job)
    if log is None or (len(lines) == 1 and _TOLD.match(lines[0])):
        return [f"Its log: {path}" for path in job.logs[:1]]
    room, quoted = _QUOTED_BYTES, list[str]()
    for line in reversed(lines[-_QUOTED_LINES:]):
        cut = line.encode()[:room].decode("utf-8", "ignore")
        room -= len(cut.encode()) + 1
        quoted.insert(0, f"  | {cut}" + ("..." if cut != line else ""))
        if room <= 0:
            break
    return [f"The end of its log, {log}:", *quoted]


def _others(jobs: list[LoggedJob]) -> list[str]:
    named = [f"{job.name} ({job.logs[0]})" if job.logs else job.name for job in jobs[:_NAMED_JOBS]]
    if len(jobs) > _NAMED_JOBS:
        named.append(f"and {len(jobs) - _NAMED_JOBS} more")
    return ["Failed, too:", *(f"  {name}" for name in named)] if named else []


def _killed(job: LoggedJob, code: int | None) -> str | None:
    """Return how a job was ended from outside; None where it ended by itself, or nobody knows."""
    in_slurm = f" in Slurm job {job.slurm_jobid}" if job.slurm_jobid else ""
    if ended := _ended_by_slurm(job, in_slurm):
        return ended
    if code is None or code <= 128:
        return None
    number = code - 128
    if number == signal.SIGKILL:
        return _out_of_something(job, f"was killed{in_slurm}, most likely because memory ran out")
    if number == signal.SIGXCPU:
        return f"reached its limit of processor time{in_slurm} (SIGXCPU): raise the limit, and {_AGAIN}."
    if number in {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
        return f"was ended from outside by {signal.Signals(number).name}{in_slurm}: {_AGAIN}."
    known = {item.value: item.name for item in signal.Signals}
    return (
        f"crashed ({known.get(number, f'signal {number}')}){in_slurm}: {_AGAIN}; if it crashes there again, report it."
    )


def _without_memory(job: LoggedJob, lines: list[str]) -> str | None:
    """Return what to do where the last words are a library's complaint about memory."""
    return _out_of_something(job, "ran out of memory") if any(_NO_MEMORY.search(line) for line in lines) else None


def _ended_by_slurm(job: LoggedJob, in_slurm: str) -> str | None:
    """Return how Slurm ended a job, from its status or from what Slurm wrote at the end of its own log."""
    if refused := _REFUSED.search(job.items.get("message", "")):
        return f"was not taken by Slurm ({refused[1].strip()}): correct what it names, and {_AGAIN}."
    found = _SLURM.search(job.items.get("message", ""))
    status = found[1] if found else ""
    said = "\n".join(line for log in job.logs[1:] for line in log_tail(log))
    if status == "OUT_OF_MEMORY" or re.search(r"oom[_-]kill", said):
        return _out_of_something(job, f"ran out of memory{in_slurm}")
    if status in {"TIMEOUT", "DEADLINE"} or "DUE TO TIME LIMIT" in said:
        return _out_of_something(job, f"ran out of time{in_slurm}")
    if status in {"NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED"}:
        return f"lost its node{in_slurm}, {status}: {_AGAIN}."
    return f"was cancelled{in_slurm}: {_AGAIN}." if status == "CANCELLED" else None


def _out_of_something(job: LoggedJob, what: str) -> str:
    """Return what to do about a job that asked for too little, or shared a machine with too many others."""
    if not job.slurm_jobid:
        return f"{what}: use fewer --cores or free some memory, and {_AGAIN}."
    asked = {"mem_mb": "MB of memory", "runtime": "minutes"}
    had = " and ".join(f"{job.resources[key]} {unit}" for key, unit in asked.items() if key in job.resources)
    return (
        f"{what}{f' (it asked for {had})' if had else ''}: give it more with "
        f"--snakemake=--set-resources={job.rule}:mem_mb=N, or :runtime=N for minutes, and {_AGAIN}."
    )
