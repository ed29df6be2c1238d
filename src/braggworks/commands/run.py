"""Run a configuration's whole workflow: what it will do, a progress bar, and where the report is.

Only what is missing or out of date is made; a run that was stopped goes on where it was.

example:
    braggworks run config/demo.yaml --cores 2
    braggworks run config/families.yaml --datasets
    braggworks run config/paper.yaml --dry-run
    braggworks run config/demo.yaml --profile workflow/profiles/slurm
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from braggworks.config import Config, load_config
from braggworks.errors import UserError
from braggworks.launch import execute, read_plan, snakemake_command
from braggworks.monitoring.forecast import plan_forecast
from braggworks.monitoring.render import hours_text
from braggworks.paths import run_paths
from braggworks.planning import JobCounts, parse_job_counts
from braggworks.preflight import (
    Profile,
    check_before_plan,
    check_before_run,
    check_requests,
    check_results,
    empty_splits,
    read_profile,
)
from braggworks.preflight.results import folder_identity, watch_results
from braggworks.runlock import hold_run_lock
from braggworks.site import with_site
from braggworks.slurm import planned_requests
from braggworks.targets import compares_engines, dataset_targets, first_targets, measured_scan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("config", metavar="CONFIG", help="configuration file, such as config/demo.yaml")
    parser.add_argument(
        "--cores", type=int, help="processor cores to use (default: 2; on a cluster, what its jobs get)"
    )
    parser.add_argument("--profile", default="workflow/profiles/local", help="Snakemake profile (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    parser.add_argument("--datasets", action="store_true", help="make the datasets alone: no training, no report")
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
    check_before_plan(config)
    profile = with_site(read_profile(args.profile))
    if args.cores is not None and args.cores < 1:
        raise UserError(f"--cores {args.cores} can do no work: use 1 or more.")
    cores = args.cores or (2 if profile.executor == "local" else None)
    # Read where the plan depends on it, here and by the job that draws the plan.
    os.environ["BRAGGWORKS_DEPLOYMENT"] = ",".join(profile.deployment)
    refusal = ""
    try:
        check_before_run(config, profile)
    except UserError as error:
        if not args.dry_run:
            raise
        refusal = f"Without --dry-run, this would be refused as things are: {error}"
    there = folder_identity(config.results)
    targets = dataset_targets(config) if args.datasets else []
    options = list(args.snakemake)
    if (first := first_targets(config)) and not args.datasets:
        options += ["--prioritize", *first]
    command = snakemake_command(args.config, cores, args.profile, options, targets)
    planned = read_plan(command)
    counts = parse_job_counts(planned)
    paths = run_paths(config)
    if not counts:
        print(f"Nothing is to be done: {paths.results if args.datasets else paths.report} is up to date.")
        return 0
    shown = config.model_copy(update={"scan": None, "comparison": None}) if args.datasets else config
    _announce(shown, profile, counts)
    print(_duration(config, counts, cores, datasets_only=args.datasets), flush=True)
    if args.dry_run:
        print(refusal, end="\n" if refusal else "")
        return 0
    check_requests(profile, planned_requests(planned))
    check_results(config)
    started = time.monotonic()
    with hold_run_lock(paths.run_lock, profile.executor) as lock, watch_results(paths.run_lock, lock.descriptor, there):
        execute(command, sum(counts.values()), lock, Path(paths.workflow_log))
    print(f"Done in {(time.monotonic() - started) / 60:.1f} minutes.")
    if args.datasets:
        print("\n".join(f"dataset: {Path(paths.manifest(release.name)).resolve()}" for release in config.releases))
        return 0
    print(f"report:  {Path(paths.report).resolve()}")
    print(f"numbers: {Path(paths.summary).resolve()}")
    return 0


def _announce(config: Config, profile: Profile, counts: JobCounts) -> None:
    print(f"{sum(counts.values())} jobs are to be done, into {config.results}:")
    width = max(map(len, counts))
    for rule, number in counts.items():
        print(f"  {rule:<{width}}  {number}")
    if config.scan and measured_scan(config) is None:
        print(
            f"  The measured scan {config.scan.file} is absent (its folder is the setting BRAGGWORKS_TEST_DATA): "
            "a simulated one stands in, and the report says so."
        )
    if config.comparison and config.comparison.when == "never":
        print("  The comparison with PyNX is off (comparison.when: never).")
    elif config.comparison and not compares_engines(config):
        print(f"  PyNX is not installed, so it is not compared with the NUFFT (`{_pynx_command(profile)}` says more).")
    for name, split in empty_splits(config):
        print(f"  Release {name!r} gets no particle in split {split!r}: its campaigns are too small for that share.")


def _pynx_command(profile: Profile) -> str:
    return "make containers" if "apptainer" in profile.deployment else "make pynx"


def _duration(config: Config, counts: JobCounts, cores: int | None, *, datasets_only: bool) -> str:
    work, wall = plan_forecast(config, counts, cores or 1, in_cores=cores is not None, datasets_only=datasets_only)
    if cores is None:
        return (
            f"About {work.expected:.2g} core-hours ({work.low:.2g} to {work.high:.2g}), shared by the cluster's jobs."
        )
    return f"About {hours_text(wall)} on {cores} cores."
