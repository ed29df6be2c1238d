"""Say what a run has done, does, failed in and has left, from its files: while it runs, after a kill, or at its end.

The time that is left is predicted from the jobs that the run has finished. Jobs whose files exist count as done, even
where a setting has changed since: `braggworks run CONFIG --dry-run` tells what is out of date.

example:
    braggworks status config/demo.yaml
    braggworks status results/demo --watch 5
    braggworks status config/demo.yaml --costs
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from braggworks.errors import UserError

if TYPE_CHECKING:
    from braggworks.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("run_of", metavar="CONFIG", help="configuration of the run, or its results folder")
    parser.add_argument("--costs", action="store_true", help="wall time, CPU time and memory by rule and campaign")
    parser.add_argument("--datasets", action="store_true", help="count the datasets alone: no training, no report")
    parser.add_argument("--cores", type=int, metavar="N", help="predict for N cores (default: those of the run)")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line with --watch")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="say it again so often, until the run ends")


def run(args: argparse.Namespace) -> None:
    """Print the status once, or until the run ends."""
    if args.cores is not None and args.cores < 1:
        raise UserError(f"--cores {args.cores} can do no work: use 1 or more.")
    if args.watch is not None and not 0.5 <= args.watch <= 86_400:
        raise UserError(f"--watch {args.watch:g} is out of range: use 0.5 to 86400 seconds.")
    config, source, folder = _find_run(args.run_of)
    with contextlib.chdir(folder):
        _take_profile(config)
        try:
            _say(args, config, source)
        except BrokenPipeError:
            # Whoever read has had enough, as `head` has; Python must not find out again when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(args: argparse.Namespace, config: Config, source: str) -> None:
    while True:
        is_on, text = _costs(args, config) if args.costs else _status(args, config, source)
        if args.watch and not args.json and sys.stdout.isatty():
            text = f"\x1b[2J\x1b[H{text}"
        print(text, flush=True)
        if not args.watch or not is_on:
            return
        time.sleep(args.watch)


def _take_profile(config: Config) -> None:
    """Look for optional software where the run's jobs do."""
    from braggworks.monitoring.workflow_log import read_workflow_log
    from braggworks.paths import run_paths
    from braggworks.preflight import read_profile

    profile = read_workflow_log(run_paths(config).workflow_log).profile
    if profile and Path(profile).is_dir():
        os.environ["BRAGGWORKS_DEPLOYMENT"] = ",".join(read_profile(profile).deployment)


def _status(args: argparse.Namespace, config: Config, source: str) -> tuple[bool, str]:
    from braggworks.monitoring.render import status_text, status_values
    from braggworks.monitoring.status import read_status

    status = read_status(config, source, cores=args.cores, datasets_only=args.datasets)
    values = status_values(status)
    return status.state == "running", _dump(values, args) if args.json else status_text(status)


def _costs(args: argparse.Namespace, config: Config) -> tuple[bool, str]:
    from braggworks.monitoring.render import costs_text
    from braggworks.monitoring.status import is_running
    from braggworks.paths import run_paths
    from braggworks.reporting.benchmarks import read_costs

    folder = run_paths(config).benchmarks
    costs = read_costs(folder, by_campaign=True)
    if not costs and not args.json:
        raise UserError(f"{folder} holds no benchmark tables: no job of this run has ended yet.")
    return is_running(config), _dump([asdict(cost) for cost in costs], args) if args.json else costs_text(costs)


def _dump(value: object, args: argparse.Namespace) -> str:
    return json.dumps(value, indent=None if args.watch else 2, allow_nan=False)


def _find_run(name: str) -> tuple[Config, str, Path]:
    """Return a run's configuration, its file, and the folder from which its paths hold.

    Raises
    ------
    UserError
        If `name` is a folder whose log does not lead to a configuration that still is there.
    """
    from braggworks.config import load_config
    from braggworks.monitoring.workflow_log import read_workflow_log
    from braggworks.paths import Paths

    path = Path(name)
    if not path.is_dir():
        return load_config(path), name, Path.cwd()
    results = path.resolve()
    log = read_workflow_log(Paths(str(results)).workflow_log)
    # The folder may have been moved, or be seen under another name from this machine.
    for folder in [*results.parents, Path(log.folder)] if log.config else []:
        if (folder / log.config).is_file():
            config = load_config(folder / log.config)
            if (folder / config.results).resolve() == results:
                return config, log.config, folder
    raise UserError(
        f"Nothing in {name} leads to the run's configuration: give its file instead, as in config/demo.yaml."
    )
