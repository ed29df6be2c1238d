"""Predict what a run's datasets cost: core-hours, disk and memory, from a pilot of a few particles of each campaign.

The pilot makes the first particles of every campaign, the same that the run itself makes, in a folder of its own. Times
are then scaled by the number of particles, and each job's start-up is counted once per job.

example:
    braggworks cost config/families.yaml --particles 2
    braggworks cost config/paper.yaml --dry-run
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from braggworks.config import load_config
from braggworks.errors import UserError
from braggworks.launch import execute, plan, snakemake_command
from braggworks.paths import Paths
from braggworks.pilot import CampaignCost, measure_costs, pilot_config, pilot_targets, render_costs
from braggworks.preflight import check_before_plan, check_before_run, check_results, read_profile
from braggworks.runlock import hold_run_lock
from braggworks.site import with_site

if TYPE_CHECKING:
    from braggworks.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("config", metavar="CONFIG", help="configuration file, such as config/paper.yaml")
    parser.add_argument("--particles", type=int, default=1, metavar="N", help="relaxed particles of the pilot (1)")
    parser.add_argument("--cores", type=int, metavar="N", help="processor cores to use (default: 2 on one machine)")
    parser.add_argument("--profile", default="workflow/profiles/local", help="Snakemake profile (%(default)s)")
    parser.add_argument("--output", metavar="JSON", help="write the table as JSON, too")
    parser.add_argument("--dry-run", action="store_true", help="say what the pilot would do, and stop")


def run(args: argparse.Namespace) -> None:
    """Run the pilot, and print the table as Markdown."""
    if args.particles < 1:
        raise UserError(f"--particles {args.particles} leaves nothing to measure: use 1 or more.")
    config = load_config(args.config)
    check_before_plan(config)
    profile = with_site(read_profile(args.profile))
    with _no_trace(Path(config.results)):
        path = pilot_config(config, Path(args.config), args.particles)
        pilot = load_config(path)
        if not args.dry_run:
            # The pilot must fit on this machine; the whole run need not.
            check_before_run(pilot, profile)
            check_results(pilot)
    cores = args.cores or (2 if profile.executor == "local" else None)
    command = snakemake_command(str(path), cores, args.profile, targets=pilot_targets(pilot))
    counts = plan(command)
    if args.dry_run:
        print(f"The pilot would run {sum(counts.values())} jobs, into {pilot.results}:")
        print("\n".join(f"  {rule}  {number}" for rule, number in counts.items()))
        return
    if counts:
        paths = Paths(pilot.results)
        with hold_run_lock(paths.run_lock, profile.executor) as lock:
            execute(command, sum(counts.values()), lock, Path(paths.workflow_log))
    _report(measure_costs(config, pilot), config, args)


@contextlib.contextmanager
def _no_trace(results: Path) -> Iterator[None]:
    """Remove what a refused pilot wrote, unless one was there before."""
    made = next((folder for folder in (results, results / "pilot") if not folder.exists()), None)
    try:
        yield
    except UserError:
        if made:
            shutil.rmtree(made, ignore_errors=True)
        raise


def _report(costs: list[CampaignCost], config: Config, args: argparse.Namespace) -> None:
    from dataclasses import asdict

    from braggworks.files import write_text
    from braggworks.records import current_commit, machine_description

    print(render_costs(costs))
    if args.output:
        value = {
            "command": f"braggworks cost {args.config} --particles {args.particles}",
            "commit": current_commit(),
            "machine": machine_description(),
            "campaigns": [asdict(cost) for cost in costs],
        }
        write_text(args.output, json.dumps(value, indent=2) + "\n")
