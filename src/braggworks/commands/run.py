"""Run a configuration's whole workflow: what it will do, a progress bar, and where the report is.

Only what is missing or out of date is made; a run that was stopped goes on where it was.

example:
    braggworks run config/demo.yaml --cores 2
    braggworks run config/paper.yaml --dry-run
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from braggworks.config import Config, load_config
from braggworks.errors import MissingToolError, UserError
from braggworks.paths import Paths, environment_prefix
from braggworks.planning import JobCounts, estimate_minutes, parse_job_counts
from braggworks.progress import WorkflowProgress
from braggworks.runlock import RunLock, hold_run_lock
from braggworks.targets import compares_engines, first_targets, measured_scan

STAGES = ("workflow", "particles", "relax", "scatter", "learn", "figures")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("config", metavar="CONFIG", help="configuration file, such as config/demo.yaml")
    parser.add_argument("--cores", type=int, default=2, help="processor cores to use (default: 2)")
    parser.add_argument("--profile", default="workflow/profiles/local", help="Snakemake profile (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    parser.add_argument(
        "--snakemake",
        action="append",
        default=[],
        metavar="OPTION",
        help="an option for Snakemake itself, such as --snakemake=--forceall; may be given several times",
    )


def run(args: argparse.Namespace) -> int:
    """Plan, say so, and run."""
    config = load_config(args.config)
    _check_place(args)
    command = [sys.executable, "-m", "snakemake", "--configfile", args.config, "--cores", str(args.cores)]
    command += ["--profile", args.profile, *args.snakemake]
    counts = _plan(command)
    paths = Paths(config.results)
    if not counts:
        print(f"Nothing is to be done: {paths.report} is up to date.")
        return 0
    _announce(config, counts, args.cores)
    if args.dry_run:
        return 0
    started = time.monotonic()
    if first := first_targets(config):
        command += ["--prioritize", *first]
    with hold_run_lock(paths.run_lock) as lock:
        _execute(command, sum(counts.values()), lock, Path(paths.workflow_log))
    print(f"Done in {(time.monotonic() - started) / 60:.1f} minutes.")
    print(f"report:  {Path(paths.report).resolve()}")
    print(f"numbers: {Path(paths.summary).resolve()}")
    return 0


def _check_place(args: argparse.Namespace) -> None:
    if not Path("Snakefile").is_file():
        raise UserError("There is no Snakefile here: change to the project's folder and run the command again.")
    if "local" in Path(args.profile).name and not args.dry_run:
        missing = [stage for stage in STAGES if not (environment_prefix(stage) / "bin" / "braggworks").exists()]
        if missing:
            raise MissingToolError(f"The environments {', '.join(missing)} are missing: run `make envs` first.")


def _environment() -> dict[str, str]:
    """Return the process environment with `module`, where the machine has no Lmod."""
    environment = dict(os.environ)
    environment.setdefault("BRAGGWORKS_ENVS", str(environment_prefix("workflow").parent.resolve()))
    if "BASH_FUNC_module%%" not in environment and "LMOD_CMD" not in environment:
        script = Path("workflow/module.sh").read_text(encoding="utf-8")
        body = script[script.index("module() {") + len("module()") : script.rindex("export -f")]
        environment["BASH_FUNC_module%%"] = f"() {body.strip()}"
    return environment


def _plan(command: list[str]) -> JobCounts:
    result = subprocess.run(
        [*command, "--dry-run", "--quiet", "host"], capture_output=True, text=True, check=False, env=_environment()
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


def _announce(config: Config, counts: JobCounts, cores: int) -> None:
    print(f"{sum(counts.values())} jobs are to be done, into {config.results}:")
    width = max(map(len, counts))
    for rule, number in counts.items():
        print(f"  {rule:<{width}}  {number}")
    if measured_scan(config) is None:
        print(
            f"  The measured scan {config.scan.file} is absent (its folder is the setting BRAGGWORKS_TEST_DATA): "
            "a simulated one stands in, and the report says so."
        )
    if config.comparison.when == "never":
        print("  The comparison with PyNX is off (comparison.when: never).")
    elif not compares_engines(config):
        print("  PyNX is not installed, so it is not compared with the NUFFT (`make pynx` says more).")
    minutes = estimate_minutes(config, counts, cores)
    duration = f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
    print(
        f"About {duration if minutes >= 1.5 else 'a minute'} on {cores} cores like the ones this was measured on.",
        flush=True,
    )


def _execute(command: list[str], jobs: int, lock: RunLock, log: Path) -> None:
    if lock.cut_off:
        # Our own run before this one was killed, so that the lock which it left in Snakemake's folder is stale.
        subprocess.run([*command, "--unlock"], capture_output=True, check=False, env=_environment())
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
