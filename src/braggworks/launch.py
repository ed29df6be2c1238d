"""Starting Snakemake: the plan, and a run with a progress bar that tells why it stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TextIO

from braggworks.config import load_config
from braggworks.errors import UserError
from braggworks.failures import failure_sentence, planning_error
from braggworks.images import settings as container_settings
from braggworks.paths import environment_prefix
from braggworks.planning import JobCounts, parse_job_counts
from braggworks.preflight.profiles import read_profile
from braggworks.progress import WorkflowProgress
from braggworks.records import current_commit
from braggworks.runlock import RunLock
from braggworks.site import joined, read_site, site_environment, site_options
from braggworks.slurm import cancel_run, reason_of_failure

# A file is made anew where its recipe, its inputs or a rule's words changed, and not where its job would find the same
# software elsewhere: in an image, a module or an environment.
_RERUN_TRIGGERS = ("code", "input", "mtime", "params")
# Snakemake ends within seconds of an interrupt, unless something hangs.
_SECONDS_TO_STOP = 60
_SECONDS_TO_LOOK = 0.2


def snakemake_command(
    config: str, cores: int | None, profile: str, options: Sequence[str] = (), targets: Sequence[str] = ()
) -> list[str]:
    """Return Snakemake's command line, for `plan` and `execute`; without targets it makes the whole run.

    `cores` limits one machine; on a cluster `None` leaves the limit to the number of jobs.
    """
    command = [sys.executable, "-m", "snakemake", "--configfile", config, "--profile", profile]
    command += ["--rerun-triggers", *_RERUN_TRIGGERS]
    if cores is not None:
        command += ["--cores", str(cores)]
    site = read_site(profile)
    settings = site_options(site, load_config(config)) if site else []
    # A person's own options come last, so that they count.
    return [*command, *joined([*settings, *options]), *(["--", *targets] if targets else [])]


def _with(command: list[str], *options: str) -> list[str]:
    """Add options, which must stand before the targets."""
    return [*command[:3], *options, *command[3:]]


def _environment(command: list[str]) -> dict[str, str]:
    """Return the environment that jobs inherit: modules of the stages, Apptainer, and the site's settings."""
    environment = container_settings({**os.environ, "BRAGGWORKS_COMMIT": current_commit() or ""})
    environment.setdefault("BRAGGWORKS_ENVS", str(environment_prefix("workflow").parent.resolve()))
    if "BASH_FUNC_module%%" in environment or "LMOD_CMD" in environment:
        # A site's own modules of these names come first.
        folders = [environment.get("MODULEPATH", ""), str(Path("workflow/modulefiles").resolve())]
        environment["MODULEPATH"] = ":".join(filter(None, folders))
        if home := environment.get("MODULESHOME"):
            environment.setdefault("BASH_ENV", f"{home}/init/bash")
    else:
        # Every bash reads this first; an exported function would not pass through the plain sh of a Slurm job.
        environment["BASH_ENV"] = str(Path("workflow/module.sh").resolve())
    if site := read_site(_profile(command)):
        environment |= site_environment(site)
    return environment


def plan(command: list[str]) -> JobCounts:
    """Return the jobs per rule that are to be done. Raises `UserError` with Snakemake's reason."""
    return parse_job_counts(read_plan(command))


def read_plan(command: list[str]) -> str:
    """Return what Snakemake says that it would do. Raises `UserError` with its reason where it refuses."""
    # Without a limit, a dry run on a cluster plans for one core.
    limit = [] if "--cores" in command else ["--cores", "100000"]
    result = subprocess.run(
        _with(command, "--dry-run", "--quiet", "host", *limit),
        capture_output=True,
        text=True,
        check=False,
        env=_environment(command),
    )
    if result.returncode:
        raise UserError(f"Snakemake cannot plan the run: {planning_error(result.stdout + result.stderr)}")
    return result.stdout + result.stderr


def execute(command: list[str], jobs: int, lock: RunLock, log: Path) -> None:
    """Run Snakemake with a progress bar, its words into `log`. Raises `UserError` with the failed job's sentence."""
    environment = _environment(command)
    if lock.cut_off:
        _clean_up(command, lock, environment)
    if lock.executor == "slurm":
        command = _for_slurm(command, lock)
    log.parent.mkdir(parents=True, exist_ok=True)
    with _signals_interrupt(), log.open("w", encoding="utf-8") as stream:
        try:
            code = _follow(command, jobs, lock, stream, environment)
        finally:
            _cancel_rest(lock)
    if not code:
        return
    if lock.executor == "slurm" and (reason := reason_of_failure(log.read_text(encoding="utf-8"))):
        raise UserError(f"the workflow stopped. {reason} (everything it said: {log})")
    raise UserError(failure_sentence(log))


def _for_slurm(command: list[str], lock: RunLock) -> list[str]:
    """Let jobs carry the run's name, and keep to squeue where that is chosen."""
    command = _with(command, "--slurm-jobname-prefix", lock.name)
    chosen = read_profile(_profile(command)).values.get("slurm-status-command") == "squeue"
    if chosen and not any(option.startswith("--slurm-status-command") for option in command):
        command[2] = "braggworks.snakemake_slurm"
    return command


def _profile(command: list[str]) -> str:
    return command[command.index("--profile") + 1]


def _follow(command: list[str], jobs: int, lock: RunLock, stream: TextIO, environment: dict[str, str]) -> int:
    """Run Snakemake, and return its exit code."""
    with (
        # Into the file itself: Snakemake hangs when it writes into a pipe whose reader was killed, or met a full disk.
        subprocess.Popen(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=[lock.descriptor],
            process_group=0,
        ) as process,
        Path(stream.name).open(encoding="utf-8", errors="replace") as said,
        WorkflowProgress(jobs) as progress,
    ):
        try:
            for line in _lines(said, process):
                progress.read(line)
            code = process.wait()
        except KeyboardInterrupt:
            code = _stop(process)
            raise
        finally:
            if process.returncode is None or process.returncode < 0:
                # Killed, it could not open its own lock.
                lock.leave()
    return code


def _lines(said: TextIO, process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield the lines of a file that a process writes, until it has ended."""
    begun = ""
    while True:
        ended = process.poll() is not None
        while text := said.readline():
            begun += text
            if begun.endswith("\n"):
                yield begun
                begun = ""
        if ended:
            return
        time.sleep(_SECONDS_TO_LOOK)


def _stop(process: subprocess.Popen[bytes]) -> int:
    """Interrupt Snakemake and its jobs; it ends them and tidies up."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(_SECONDS_TO_STOP)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _clean_up(command: list[str], lock: RunLock, environment: dict[str, str]) -> None:
    """End what is left of a run that was killed: its jobs on the cluster, and its lock in Snakemake's folder."""
    if lock.former and lock.former[1] == "slurm" and (number := cancel_run(lock.former[0])):
        sys.stderr.write(f"{number} jobs of the run that was cut off are cancelled.\n")
    subprocess.run(_with(command, "--unlock"), capture_output=True, check=False, env=environment)
    lock.sign()


def _cancel_rest(lock: RunLock) -> None:
    """Cancel jobs that Snakemake left on the cluster."""
    if lock.executor != "slurm":
        return
    try:
        cancel_run(lock.name)
    except UserError:
        lock.leave()
    except KeyboardInterrupt:
        lock.leave()
        raise


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let a request to end, as of a batch system or a closed terminal, do what Ctrl-C does."""

    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def interrupt(number: int, frame: FrameType | None) -> None:
        # What was started with `nohup` or in the background of a script goes on, though its children can be stopped.
        if former[signal.Signals(number)] is not signal.SIG_IGN:
            raise KeyboardInterrupt

    for number in former:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
