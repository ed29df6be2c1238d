"""Starting Snakemake: the plan, and a run with a progress bar that tells why it stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from braggworks.errors import UserError
from braggworks.failures import failure_sentence, planning_error
from braggworks.images import settings as container_settings
from braggworks.paths import environment_prefix
from braggworks.planning import JobCounts, parse_job_counts
from braggworks.progress import WorkflowProgress
from braggworks.records import current_commit
from braggworks.runlock import RunLock


def snakemake_command(
    config: str, cores: int, profile: str, options: Sequence[str] = (), targets: Sequence[str] = ()
) -> list[str]:
    """Return Snakemake's command line, for `plan` and `execute`; without targets it makes the whole run."""
    command = [sys.executable, "-m", "snakemake", "--configfile", config, "--cores", str(cores)]
    return [*command, "--profile", profile, *options, *(["--", *targets] if targets else [])]


def _with(command: list[str], *options: str) -> list[str]:
    """Add options, which must stand before the targets."""
    return [*command[:3], *options, *command[3:]]


def _environment() -> dict[str, str]:
    """Return the process environment with `module`, where the machine has no Lmod, and with Apptainer."""
    environment = container_settings({**os.environ, "BRAGGWORKS_COMMIT": current_commit() or ""})
    environment.setdefault("BRAGGWORKS_ENVS", str(environment_prefix("workflow").parent.resolve()))
    if "BASH_FUNC_module%%" not in environment and "LMOD_CMD" not in environment:
        script = Path("workflow/module.sh").read_text(encoding="utf-8")
        body = script[script.index("module() {") + len("module()") : script.rindex("export -f")]
        environment["BASH_FUNC_module%%"] = f"() {body.strip()}"
    return environment


def plan(command: list[str]) -> JobCounts:
    """Return the jobs per rule that are to be done. Raises `UserError` with Snakemake's reason."""
    result = subprocess.run(
        _with(command, "--dry-run", "--quiet", "host"), capture_output=True, text=True, check=False, env=_environment()
    )
    if result.returncode:
        raise UserError(f"Snakemake cannot plan the run: {planning_error(result.stdout + result.stderr)}")
    return parse_job_counts(result.stdout + result.stderr)


def execute(command: list[str], jobs: int, lock: RunLock, log: Path) -> None:
    """Run Snakemake with a progress bar, its words into `log`. Raises `UserError` with the failed job's sentence."""
    if lock.cut_off:
        # Our own run before this one was killed, so that the lock which it left in Snakemake's folder is stale.
        subprocess.run(_with(command, "--unlock"), capture_output=True, check=False, env=_environment())
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w", encoding="utf-8") as stream,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=_environment(),
            pass_fds=[lock.descriptor],
        ) as process,
        WorkflowProgress(jobs) as progress,
    ):
        for line in process.stdout or ():
            stream.write(line)
            stream.flush()
            progress.read(line)
    if process.returncode:
        raise UserError(failure_sentence(log))
