"""The refined network against iterative phasing over phase ranges: the sweeps of config/phases.yaml, shipped weights.

Hours: what is done is kept in results/benchmarks/phasing_ranges, and a stopped measurement goes on. BRAGGWORKS_WEIGHTS
names other weights, BRAGGWORKS_KINDS fewer kinds of phases.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import xarray as xr

from benchmarks._sweeps import shard_of, swept
from benchmarks.phasing_network import weights
from braggworks.config import PhasingSweep, load_config
from braggworks.evaluation.phasing_methods import GAINS
from braggworks.records import Record
from braggworks.reporting.gather_phases import phasing_records

FOLDER = Path("results/benchmarks/phasing_ranges")
NAMES = {"gaussians": "two_gaussians", "cosines": "two_cosines", "random-field": "random_field"}
# One particle and one start for each range; Masto's thesis, Fig. 4.47 to 4.49.
PUBLISHED = {"two_gaussians": "above 0 up to 12 rad", "two_cosines": "helps", "random_field": "above 0 up to 10 rad"}


def measure() -> Iterator[Record]:
    """Yield accuracies, success rates and gains of every kind of phase."""
    config = load_config("config/phases.yaml")
    wanted = os.environ.get("BRAGGWORKS_KINDS", " ".join(NAMES)).split()
    for sweep in (each for each in config.sweeps if isinstance(each, PhasingSweep)):
        kind = sweep.campaign.removeprefix("ranges-")
        if kind in wanted:
            yield from _records(kind, _swept(sweep))


def _swept(sweep: PhasingSweep) -> xr.Dataset:
    output = FOLDER / f"{sweep.campaign}.nc"
    return swept(sweep, shard_of(sweep.campaign, FOLDER), weights(), output, output.with_suffix(".json"))


def _records(kind: str, data: xr.Dataset) -> Iterator[Record]:
    name = NAMES[kind]
    for which in GAINS:
        yield from _gain(f"phase.{which}.{name}", f"phase.{which.replace('gain', 'range')}.{name}", data, which)
    yield from phasing_records(data)


def _gain(gain: str, span: str, data: xr.Dataset, which: str) -> Iterator[Record]:
    """Yield the smallest lower bound, the largest range up to which it is above 0, and the mean."""
    gains, low, high, at = (data[name].values for name in (which, f"{which}_low", f"{which}_high", "range_mean"))
    n = int(data.attrs["n"]) // len(at)
    published = PUBLISHED[gain.rsplit(".", 1)[-1]]
    holds = [f"{middle:.1f}" for middle, bound in zip(at, low, strict=True) if bound > 0]
    better, worse = GAINS[which]
    about = (
        f"{better} minus {worse} of {data.attrs['starts']}, accuracy; above 0 with its 95 % interval at mean phase "
        f"ranges of {', '.join(holds) or 'no group'} (rad), of {', '.join(f'{middle:.1f}' for middle in at)}"
    )
    worst = int(low.argmin())
    bounds = {"low": float(low[worst]), "high": float(high[worst])}
    yield Record(gain, float(low[worst]), "%", n=n, published=published, source=about, **bounds)
    reached = 0.0
    for middle, bound in zip(at, low, strict=True):
        if bound <= 0:
            break
        reached = float(middle)
    yield Record(span, reached, "rad", n=n, published=published, source=f"largest range up to which it holds; {about}")
    yield Record(f"{gain}.mean", float(gains.mean()), "%", n=int(data.attrs["n"]), source=about)
