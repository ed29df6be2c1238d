"""Phase a pattern that has a gap with PyNX, once for each way to treat the gap.

Of several random starts, the same for all, the one with the best free log-likelihood is kept.

example:
    braggworks phase-strategies strategies.h5 --recipe recipe.json --output phased.h5
"""

from __future__ import annotations

import argparse
import sys

from braggworks.commands._recipes import add_recipe_arguments
from braggworks.commands.mask_strategies import masking_sweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("strategies", metavar="H5", help="file that `braggworks mask-strategies` wrote")
    add_recipe_arguments(parser, campaign=False)
    parser.add_argument("--output", required=True, metavar="H5", help="objects to write")


def run(args: argparse.Namespace) -> None:
    """Write one object for each strategy, and what they are judged by."""
    sweep = masking_sweep(args)

    from tqdm import tqdm

    from braggworks.files import create_h5, open_h5
    from braggworks.phasing.pynx_cdi import Schedule, phase

    schedule = Schedule(sweep.hio, sweep.raar, sweep.er, sweep.support_threshold, sweep.support_period)
    with open_h5(args.strategies, "strategies") as source, create_h5(args.output, "phased") as file:
        for name in ("amplitude", "gap"):
            source.copy(name, file)
        for name, value in source.attrs.items():
            if name != "kind":
                file.attrs[name] = value
        total, interval = len(source["strategies"]) * sweep.runs, 0.1 if sys.stderr.isatty() else 5
        with tqdm(total=total, desc="phase", unit="run", mininterval=interval) as bar:
            for name, strategy in source["strategies"].items():
                counts, mask, runs = strategy["counts"][()], strategy["mask"][()], []
                for seed in range(sweep.runs):
                    runs.append(phase(counts, mask, schedule, seed))
                    bar.update(1)
                best = min(runs, key=lambda run: run.free_llk)
                file[f"objects/{name}"] = best.found
                file[f"objects/{name}"].attrs["free_llk"] = [run.free_llk for run in runs]
