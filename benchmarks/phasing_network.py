"""The network for phases that comes with the package: its loss on strongly strained particles, and what it saves.

The loss is that of held-out patterns of config/phases.yaml, one campaign for each kind of phase, of those whose phase
spans 2 pi or more; all are oversampled more than twice. Beside it stands that of the first stage of a cascade, and how
far surfaces of equal phase are spheres, which networks prefer (thesis, Fig. 4.50). The time is that of one pattern of
64^3: the network, its object, and 300 cycles of ER, with the weights read from the disk, against 60 random starts of
the published 400 HIO, 1000 RAAR and 300 ER, with the package's rule of the support, on one thread. BRAGGWORKS_WEIGHTS
names other weights.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

from braggworks.config import PhasingConfig, load_campaign
from braggworks.datasets.shards import ShardFiles, read_columns
from braggworks.evaluation.metrics import cluster_bootstrap
from braggworks.evaluation.phases import Patterns, Phases, score_object, score_phases
from braggworks.evaluation.phasing_methods import network_start
from braggworks.networks import RspCascade3D
from braggworks.phasing import iterative
from braggworks.phasing.likelihood import free_voxels
from braggworks.phasing.objects import object_of
from braggworks.phasing.recipes import schedule_of
from braggworks.phasing.rsp import SHIPPED, Phaser, load_phaser
from braggworks.phasing.schedule import Pattern
from braggworks.phasing.starts import draw_start
from braggworks.records import Record
from braggworks.reporting.published import RSP_WCA
from braggworks.seeds import generator

SEED = 0
KINDS = ("gaussians", "cosines", "random-field")
LEAST_RANGE = 2 * np.pi
STARTS = 60


def measure(what: str) -> Iterator[Record]:
    """Yield losses by kind of phase, or the time against iterative phasing."""
    kinds = KINDS if what == "losses" else KINDS[:1]
    with tempfile.TemporaryDirectory() as name:
        strained = {kind: _strained(simulated(f"phases-{kind}", Path(name))) for kind in kinds}
    yield from _losses(strained) if what == "losses" else _speedup(strained[kinds[0]])


def weights() -> Path:
    """Return the weights that are measured."""
    return Path(os.environ.get("BRAGGWORKS_WEIGHTS", str(SHIPPED)))


def simulated(campaign: str, folder: Path) -> Patterns:
    """Return the patterns of a campaign's first batch, made anew."""
    path, shard = Path("config/campaigns") / f"{campaign}.yaml", folder / f"{campaign}.h5"
    command = [sys.executable, "-m", "braggworks", "simulate", "--campaign", str(path), "--batch", "0"]
    subprocess.run([*command, "--output", str(shard)], check=True, stdout=subprocess.DEVNULL)
    columns = read_columns(shard, load_campaign(path).name)
    counts, phase = ShardFiles([shard]).read(0, slice(None), ("counts", "phase"))
    values = {name: columns[name] for name in ("particle", "phase_range")}
    return Patterns(counts, phase, {**values, "campaign": np.full(len(counts), campaign)})


def _strained(patterns: Patterns) -> Patterns:
    kept = patterns.values["phase_range"] >= LEAST_RANGE
    return Patterns(patterns.counts[kept], patterns.phase[kept], {k: v[kept] for k, v in patterns.values.items()})


def _losses(campaigns: dict[str, Patterns]) -> Iterator[Record]:
    phaser = load_phaser(weights())
    methods: dict[str, Phases] = {"network": phaser.phases, "flat": lambda counts: np.zeros(counts.shape, np.float32)}
    if isinstance(phaser.network, RspCascade3D):
        methods["first_stage"] = Phaser(phaser.network.first, phaser.size).phases
    total = sum(len(patterns.counts) for patterns in campaigns.values())
    cores = len(os.sched_getaffinity(0))
    with (
        tqdm(total=total, desc="losses", mininterval=10) as bar,
        ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        scored = partial(score_phases, methods=methods, progress=bar.update)
        scores = dict(zip(campaigns, pool.map(scored, campaigns.values()), strict=True))
    for score, tail in (("wca", ""), ("wca_log_intensity", ".log_intensity"), ("accuracy", ".accuracy")):
        found = {kind: data[score].sel({"method": "network"}).values for kind, data in scores.items()}
        flat = np.concatenate([data[score].sel({"method": "flat"}).values for data in scores.values()])
        unit = "%" if score == "accuracy" else "1"
        about = f"mean over all three kinds, phases of 2 pi to 5 pi; a phase of 0 has {flat.mean():.3f}"
        published = {"published": RSP_WCA.value, "source": f"{about}; published: {RSP_WCA.source}, {RSP_WCA.caution}"}
        beside: dict[str, Any] = published if score == "wca" else {"source": about}
        yield _mean(f"phase.wca.high_strain{tail}", np.concatenate(list(found.values())), unit, **beside)
        for kind, values in found.items():
            yield _mean(f"phase.wca.high_strain{tail}.{kind.replace('-', '_')}", values, unit)
    yield from _symmetry(xr.concat(scores.values(), "pattern"))


def _symmetry(scores: xr.Dataset) -> Iterator[Record]:
    """Yield how far surfaces of equal phase are spheres, true and found ones, and the loss of the first stage."""
    about = scores["isotropy"].attrs["long_name"]
    yield _mean("phase.isotropy.truth", scores["true_isotropy"].values, "1", source=about)
    for method in (name for name in scores["method"].values if name != "flat"):
        yield _mean(f"phase.isotropy.{method}", scores["isotropy"].sel({"method": method}).values, "1", source=about)
    if "first_stage" in scores["method"]:
        yield _mean("phase.wca.high_strain.first_stage", scores["wca"].sel({"method": "first_stage"}).values, "1")


def _mean(name: str, values: NDArray[np.float64], unit: str, **beside: Any) -> Record:
    found = cluster_bootstrap(values, np.arange(len(values)), SEED)
    return Record(name, found.mean, unit, low=found.low, high=found.high, n=found.n, seed=SEED, **beside)


def _speedup(patterns: Patterns) -> Iterator[Record]:
    counts, mask = patterns.counts[0].astype(np.float32), np.zeros(patterns.counts.shape[1:], bool)
    pattern = Pattern(counts, mask, free_voxels(mask.shape, mask, generator("speedup", SEED)))
    truth = object_of(counts, patterns.phase[0])
    published = PhasingConfig(coherence=False, detwin=0, starts=STARTS)
    begun = time.perf_counter()
    polish = schedule_of(published.model_copy(update={"method": "rsp+er"}))
    refined = iterative.phase(pattern, polish, [network_start(pattern, load_phaser(weights()), 0, polish)])[0]
    fast = time.perf_counter() - begun
    schedule = schedule_of(published)
    with tqdm(total=STARTS * schedule.cycles, desc="60 starts", mininterval=10) as bar:
        begun = time.perf_counter()
        starts = [draw_start(pattern, schedule, SEED, index) for index in range(STARTS)]
        runs = iterative.phase(pattern, schedule, starts, bar.update)
        slow = time.perf_counter() - begun
    best = min((run for run in runs if not run.why_diverged), key=lambda run: run.free_llk)
    after = [score_object(run.found, truth).accuracy for run in (refined, best)]
    singles = [score_object(run.found, truth).accuracy for run in runs if not run.why_diverged]
    reached = sum(single >= after[0] for single in singles)
    share = max(1, reached) / STARTS
    about = f"one pattern of 64^3, one thread, weights read; accuracies {after[0]:.0f} % and {after[1]:.0f} %"
    note = f"starts until one is as accurate as the network's {after[0]:.1f} %; {reached} of {STARTS} are"
    note += "" if reached else ": no less than this"
    yield Record(
        "phase.speedup.network_er.equal_accuracy", slow / STARTS / share / fast, "1", n=1, seed=SEED, source=note
    )
    yield Record(
        "phase.speedup.network_er", slow / fast, "1", n=1, seed=SEED, published="40 to 48, on a GPU", source=about
    )
    yield Record("phase.seconds.network_er", fast, "s", n=1, seed=SEED, published=4.73, source=about)
    yield Record(f"phase.seconds.iterative.{STARTS}", slow, "s", n=1, seed=SEED, published=227.41, source=about)
