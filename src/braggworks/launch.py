"""Starting Snakemake: what must be there, the plan, and a run with a progress bar that tells why it stopped."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from braggworks.config import Config
from braggworks.datasets.splits import split_of
from braggworks.errors import MissingToolError, UserError
from braggworks.paths import environment_prefix
from braggworks.planning import JobCounts, parse_job_counts
from braggworks.progress import WorkflowProgress
from braggworks.runlock import RunLock
from braggworks.targets import missing_scans

STAGES = ("workflow", "particles", "relax", "scatter", "learn", "figures")


def snakemake_command(
    config: str, cores: int, profile: str, options: Sequence[str] = (), targets: Sequence[str] = ()
) -> list[str]:
    """Return Snakemake's command line, for `plan` and `execute`; without targets it makes the whole run."""
    command = [sys.executable, "-m", "snakemake", "--configfile", config, "--cores", str(cores)]
    return [*command, "--profile", profile, *options, *(["--", *targets] if targets else [])]


def _with(command: list[str], *options: str) -> list[str]:
    """Add options, which must stand before the targets."""
    return [*command[:3], *options, *command[3:]]


def check_place(profile: str, dry_run: bool) -> None:
    """Raise `UserError` where the workflow or, for the local profile, an environment is missing."""
    if not Path("Snakefile").is_file():
        raise UserError("There is no Snakefile here: change to the project's folder and run the command again.")
    if "local" in Path(profile).name and not dry_run:
        missing = [stage for stage in STAGES if not (environment_prefix(stage) / "bin" / "braggworks").exists()]
        if missing:
            raise MissingToolError(f"The environments {', '.join(missing)} are missing: run `make envs` first.")


def check_scans(config: Config) -> None:
    """Raise `UserError` where a scan that a campaign is cut from is absent."""
    missing = missing_scans(config)
    if missing:
        raise UserError(
            f"The scan {missing[0]}, which a campaign is cut from, is absent: set BRAGGWORKS_TEST_DATA to its folder, "
            "write its absolute path into the campaign, or leave the campaign out."
        )


def check_splits(config: Config) -> None:
    """Raise `UserError` where training would find a split without particles."""
    if config.training is None:
        return
    release = config.release(config.training.release)
    found = {
        split_of(name, index, config.splits, release.held_out)
        for name in release.campaigns
        for index in range(min(config.campaign(name).count, 10_000))
    }
    wanted = {"train": 1.0, "validation": config.splits.validation, "test": config.splits.test}
    for name in (name for name, share in wanted.items() if share and name not in found):
        raise UserError(
            f"Release {release.name!r} has no particle in split {name!r}: raise a campaign's count or "
            f"splits.{name if name != 'train' else 'seed'}, or use another splits.seed."
        )


def _environment() -> dict[str, str]:
    """Return the process environment with `module`, where the machine has no Lmod."""
    environment = dict(os.environ)
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
        raise UserError(f"Snakemake cannot plan the run: {_reason(result.stdout + result.stderr)}")
    return parse_job_counts(result.stdout + result.stderr)


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any("LockException" in line for line in lines):
        return (
            "the folder is locked by another Snakemake: wait for it, or, if it was killed, "
            "run `.envs/workflow/bin/snakemake --unlock`."
        )
    starts = [i for i, line in enumerate(lines) if "Error" in line or "Exception" in line]
    return " ".join(lines[starts[0] :] if starts else lines[-5:])


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
        raise UserError(_failure(log))


def _failure(log: Path) -> str:
    lines = log.read_text(encoding="utf-8").splitlines()
    told = [line.strip() for line in lines if line.strip().startswith("braggworks ")]
    said = [line for line in told if re.match(r"braggworks [a-z-]+: ", line)]
    detail = said[-1] if said else _reason("\n".join(lines[-60:]))
    return f"the workflow stopped. {detail} (everything it said: {log})"
