"""The sweep over phase ranges, which takes hours: what is done of it is kept pattern by pattern."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braggworks.config import PhasingSweep
from braggworks.errors import FileError

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from braggworks.evaluation.phasing_methods import Score
    from braggworks.phasing.rsp import Phaser

# Seed of the starts and of the bootstrap, kept in the file.
SEED = 0


def compare(sweep: PhasingSweep, args: argparse.Namespace) -> xr.Dataset:
    """Phase the patterns of a shard by every method, or go on with it.

    Raises
    ------
    FileError
        If the shard cannot be read, or its patterns are not of the network's size.
    """
    from tqdm import tqdm

    from braggworks.evaluation.phasing_methods import compare_methods, methods_dataset
    from braggworks.phasing.recipes import schedule_of

    counts, phases, columns = read_patterns(args.data, sweep.campaign, sweep.patterns)
    phaser = phaser_for(counts, args)
    state = State(args.state, _identity(sweep, args))
    config = sweep.phasing
    each = config.starts * (schedule_of(config).cycles + 2 * config.er)
    interval = 0.1 if sys.stderr.isatty() else 5
    total = len(counts) * each
    with tqdm(total=total, initial=len(state.scores) * each, desc="sweep", unit="cycle", mininterval=interval) as bar:
        for number in range(len(state.scores), len(counts)):
            seed = SEED + number
            score = compare_methods(
                counts[number], phases[number], phaser, config, seed=seed, progress=bar.update, threads=args.threads
            )
            state.add(score)
    ranges, particles = columns["phase_range"], columns["particle"]
    data = methods_dataset(state.scores[: len(counts)], ranges, particles, sweep.groups, SEED)
    return data.assign_attrs(campaign=sweep.campaign, starts=config.starts, cycles=schedule_of(config).cycles)


class State:
    """Scores that are done, in a file that a kill leaves whole.

    Parameters
    ----------
    path
        JSON file; None to keep nothing.
    identity
        What the scores belong to; those of something else are not used.
    """

    def __init__(self, path: str | None, identity: str) -> None:
        from braggworks.evaluation.phasing_methods import Score
        from braggworks.files import read_json

        self._path, self._identity = path, identity
        self.scores: list[Score] = []
        if path and Path(path).exists():
            found = read_json(path)
            if found.get("identity") == identity:
                self.scores = [Score(*map(tuple, each)) for each in found["scores"]]
                print(f"Continuing after {len(self.scores)} patterns.", flush=True)

    def add(self, score: Score) -> None:
        """Keep one more."""
        from braggworks.files import write_json

        self.scores.append(score)
        if self._path:
            write_json(self._path, {"identity": self._identity, "scores": self.scores})


def _identity(sweep: PhasingSweep, args: argparse.Namespace) -> str:
    from braggworks.files import sha256_of

    # More patterns, or other groups of them, change no pattern's score.
    what = sweep.model_dump_json(exclude={"patterns", "groups"})
    return f"{what} patterns {sha256_of(args.data)} weights {sha256_of(args.weights)}"


def phaser_for(counts: NDArray[Any], args: argparse.Namespace) -> Phaser:
    """Return the network that phases patterns. Raises `FileError` if they are not of its size."""
    from braggworks.phasing.rsp import load_phaser

    phaser = load_phaser(args.weights)
    if counts.shape[1:] != phaser.shape:
        raise FileError(
            f"{args.data} holds patterns of {'x'.join(map(str, counts.shape[1:]))} voxels, and {args.weights} finds "
            f"phases of {'x'.join(map(str, phaser.shape))}: use patterns of that size."
        )
    return phaser


def read_patterns(
    path: str, campaign: str, most: int
) -> tuple[NDArray[Any], NDArray[np.float32], dict[str, NDArray[Any]]]:
    """Return counts, phases, and the columns of the first patterns of a shard. Raises `FileError`."""
    import numpy as np

    from braggworks.datasets.shards import ShardFiles, read_columns

    columns = read_columns(path, campaign)
    number = min(most, len(columns["particle"]))
    counts, phases = ShardFiles([Path(path)]).read(0, slice(0, number), ("counts", "phase"))
    return counts.astype(np.float32), phases.astype(np.float32), {k: v[:number] for k, v in columns.items()}
