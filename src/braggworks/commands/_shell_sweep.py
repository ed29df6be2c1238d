"""The sweep over the shells on which a network for patches finds phases."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from braggworks.commands._phasing_sweep import SEED, read_patterns
from braggworks.errors import FileError

if TYPE_CHECKING:
    import xarray as xr

    from braggworks.config import ShellSweep


def score_stitched(sweep: ShellSweep, args: argparse.Namespace) -> xr.Dataset:
    """Phase the patterns of a shard patch by patch.

    Raises
    ------
    FileError
        If the shard cannot be read, or the weights are for other patterns.
    """
    import numpy as np
    from tqdm import tqdm

    from braggworks.evaluation.phases import Patterns
    from braggworks.evaluation.shells import score_shells
    from braggworks.networks import PatchPhaseNetwork
    from braggworks.training.checkpoints import load_network

    network, weights = load_network(args.weights, PatchPhaseNetwork)  # type: ignore[type-abstract]
    counts, phases, columns = read_patterns(args.data, sweep.campaign, sweep.patterns)
    if set(counts.shape[1:]) != {weights.patch}:
        raise FileError(
            f"{args.data} holds patterns of {'x'.join(map(str, counts.shape[1:]))} voxels, and {args.weights} was "
            f"trained on {weights.patch} per axis: use patterns of that size."
        )
    values = {name: columns[name] for name in ("particle", "phase_range")}
    values["campaign"] = np.full(len(counts), sweep.campaign, object)
    interval = 0.1 if sys.stderr.isatty() else 5
    with tqdm(total=len(counts), desc="sweep", unit="pattern", mininterval=interval) as bar:
        data = score_shells(network.eval(), Patterns(counts, phases, values), SEED, bar.update)
    return data.assign_attrs(campaign=sweep.campaign)
