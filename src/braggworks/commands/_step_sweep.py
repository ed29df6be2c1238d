"""The sweep over particles whose phase grows in steps."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from braggworks.commands._phasing_sweep import SEED, phaser_for, read_patterns

if TYPE_CHECKING:
    import xarray as xr

    from braggworks.config import StepSweep

_ALL = 100_000


def score_steps(sweep: StepSweep, args: argparse.Namespace) -> xr.Dataset:
    """Score the network's phases of a shard's patterns, by particle and step.

    Returns
    -------
    xarray.Dataset
        ``phase_range``, ``wca`` and ``accuracy`` by (particle, step); mean, low and high of both scores over particles;
        and ``counts``, ``phase`` and the ``network``'s phase of the first particle, (step, z, y, x).

    Raises
    ------
    FileError
        If the shard cannot be read, or the weights are for other patterns.
    """
    import numpy as np
    import xarray as xr
    from tqdm import tqdm

    from braggworks.evaluation.metrics import cluster_bootstrap
    from braggworks.evaluation.phases import Patterns, score_phases

    counts, phases, columns = read_patterns(args.data, sweep.campaign, _ALL)
    phaser = phaser_for(counts, args)
    particle = columns["particle"]
    steps = int((particle == particle[0]).sum())
    values = {"particle": particle, "campaign": np.full(len(counts), sweep.campaign, object)}
    interval = 0.1 if sys.stderr.isatty() else 5
    with tqdm(total=len(counts), desc="sweep", unit="pattern", mininterval=interval) as bar:
        scores = score_phases(Patterns(counts, phases, values), {"network": phaser.phases}, bar.update)
    data = xr.Dataset(
        {"phase_range": (("particle", "step"), columns["phase_range"].reshape(-1, steps), {"units": "rad"})},
        {"particle": particle[::steps], "step": np.arange(steps)},
    )
    for score in ("wca", "accuracy"):
        found = scores[score].values[0].reshape(-1, steps)
        data[score] = (("particle", "step"), found, {"units": scores[score].units})
        each = [cluster_bootstrap(column, data["particle"].values, SEED) for column in found.T]
        for part in ("mean", "low", "high"):
            data[f"{score}_{part}"] = ("step", [getattr(one, part) for one in each])
    kept = {"counts": counts[:steps], "phase": phases[:steps], "network": phaser.phases(counts[:steps])}
    for name, array in kept.items():
        data[name] = (("step", "z", "y", "x")[: array.ndim], array.astype(np.float32))
    return data.assign_attrs(kind="steps", campaign=sweep.campaign, seed=SEED)
