"""The sweep over phase ranges, which takes hours: what is done of it is kept pattern by pattern."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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


def compare(sweep: PhasingSweep, args: argparse.Namespace) -> xr.Dataset | None:
    """Phase the patterns of a shard by every method, or go on with it; None as long as some part is not done.

    Raises
    ------
    FileError
        If the shard cannot be read, or its patterns are not of the network's size.
    """
    from tqdm import tqdm

    from braggworks.evaluation.phasing_methods import Trial, joined, methods_dataset
    from braggworks.phasing.recipes import schedule_of

    counts, phases, columns = read_patterns(args.data, sweep.campaign, sweep.patterns)
    phaser = phaser_for(counts, args)
    state = State(args.state, _identities(sweep, args))
    config = sweep.phasing
    cycles = schedule_of(config).cycles
    costs = {"iterative": config.starts * (cycles + config.er), "network": config.starts * 2 * config.er}
    done = sum(min(len(state.scores[part]), len(counts)) * cost for part, cost in costs.items())
    interval = 0.1 if sys.stderr.isatty() else 5
    total = len(counts) * sum(costs.values())
    with tqdm(total=total, initial=done, desc="sweep", unit="cycle", mininterval=interval) as bar:

        def scored(part: str, number: int) -> Score:
            how = {"progress": bar.update, "device": args.device}
            trial = Trial(counts[number], phases[number], config, seed=SEED + number, **how)
            return trial.iterative() if part == "iterative" else trial.network(phaser)

        for part in [args.part] if args.part else costs:
            left = range(len(state.scores[part]), len(counts))
            for score in _in_threads(partial(scored, part), left, args.threads):
                state.add(part, score)
    if any(len(scores) < len(counts) for scores in state.scores.values()):
        return None
    scores = [joined(state.scores["network"][k], state.scores["iterative"][k]) for k in range(len(counts))]
    data = methods_dataset(scores, columns["phase_range"], columns["particle"], sweep.groups, SEED)
    return data.assign_attrs(campaign=sweep.campaign, starts=config.starts, cycles=cycles)


def _in_threads(work: Callable[[int], Score], numbers: Iterable[int], threads: int) -> Iterator[Score]:
    """Yield the results in order; a pattern fits into a core's cache, so that each thread has its own."""
    import torch

    before = torch.get_num_threads()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            yield from pool.map(work, numbers)
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(before)


class State:
    """Scores that are done, in a file that a kill leaves whole: those of the network, and those that need none.

    Parameters
    ----------
    path
        JSON file; None to keep nothing.
    identities
        What the scores of each part belong to; those of something else are not used.
    """

    def __init__(self, path: str | None, identities: dict[str, str]) -> None:
        from braggworks.evaluation.phasing_methods import Score
        from braggworks.files import read_json

        self._path, self._identities = path, identities
        self.scores: dict[str, list[Score]] = {part: [] for part in identities}
        found = read_json(path) if path and Path(path).exists() else {}
        for part, identity in identities.items():
            kept = found.get(part, {})
            if kept.get("identity") == identity:
                self.scores[part] = [Score(*map(tuple, each)) for each in kept["scores"]]
                print(f"Continuing after {len(self.scores[part])} patterns ({part}).", flush=True)

    def add(self, part: str, score: Score) -> None:
        """Keep one more."""
        from braggworks.files import write_json

        self.scores[part].append(score)
        if self._path:
            parts = self._identities.items()
            write_json(self._path, {each: {"identity": name, "scores": self.scores[each]} for each, name in parts})


def _identities(sweep: PhasingSweep, args: argparse.Namespace) -> dict[str, str]:
    from braggworks.evaluation.phasing_methods import ITERATIVE_METHODS, NETWORK_METHODS
    from braggworks.files import sha256_of

    # More patterns, or other groups of them, change no pattern's score.
    what = f"{sweep.model_dump_json(exclude={'patterns', 'groups'})} patterns {sha256_of(args.data)}"
    network, iterative = (", ".join(methods) for methods in (NETWORK_METHODS, ITERATIVE_METHODS))
    return {
        "iterative": f"{what} by {iterative}",
        "network": f"{what} weights {sha256_of(args.weights)} by {network}",
    }


def phaser_for(counts: NDArray[Any], args: argparse.Namespace) -> Phaser:
    """Return the network that phases patterns. Raises `FileError` if they are not of its size."""
    from braggworks.phasing.rsp import load_phaser

    phaser = load_phaser(args.weights, args.device)
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
