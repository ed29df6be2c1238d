"""A network alone, refined by ER, and iterative phase retrieval on the same patterns: how near each comes.

After M. Masto's thesis, 4.10, Fig. 4.47 to 4.49, there of one particle and one start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import binomtest

from braggworks.config import PhasingConfig
from braggworks.evaluation.metrics import cluster_bootstrap
from braggworks.evaluation.phases import SUCCESS, score_object
from braggworks.phasing import iterative
from braggworks.phasing.likelihood import free_voxels
from braggworks.phasing.objects import object_of
from braggworks.phasing.recipes import schedule_of
from braggworks.phasing.rsp import Phaser, filled, support_of
from braggworks.phasing.schedule import Pattern, Phased, Schedule, Start
from braggworks.phasing.starts import draw_start, scaled
from braggworks.seeds import generator

Progress = Callable[[int], object]

NETWORK_METHODS = (
    "network",
    "network + ER",
    "network + ER, best view",
    "network + HIO + ER, best view",
    "network + ER or HIO + ER, best view",
)
ITERATIVE_METHODS = ("iterative, one start", "iterative, best start", "iterative + ER, best start")

METHODS = NETWORK_METHODS + ITERATIVE_METHODS
"""Best is that of the lowest free log-likelihood, which is all that a person with a scan can tell."""

GAINS = {
    "gain": ("network + ER, best view", "iterative, best start"),
    "gain_either": ("network + ER or HIO + ER, best view", "iterative, best start"),
    "gain_alike": ("network + ER, best view", "iterative + ER, best start"),
}
"""Whose accuracy less whose."""


class Score(NamedTuple):
    """Accuracy in percent and overlap with the true object of some methods, and the seconds that each took."""

    accuracy: tuple[float, ...]
    likeness: tuple[float, ...]
    seconds: tuple[float, ...]


class Trial:
    """One pattern that is phased by every method, and compared with the truth.

    Parameters
    ----------
    counts, phase
        Of the pattern, and its true reciprocal-space phase.
    config
        Of iterative phase retrieval; the network has as many views as this has starts, and as many cycles of ER, or,
        with HIO, as many of both together, a third of them HIO. Starts that are refined have as many of ER once more,
        with the support's rule of a network's refinement.
    seed
        Of the starts, and of the voxels kept out.
    progress
        Told the cycles just done.
    device
        Where to compute.
    """

    def __init__(
        self,
        counts: NDArray[Any],
        phase: NDArray[np.floating[Any]],
        config: PhasingConfig,
        *,
        seed: int,
        progress: Progress = lambda cycles: None,
        device: str = "cpu",
    ) -> None:
        mask = np.zeros(counts.shape, bool)
        free = free_voxels(counts.shape, mask, generator("phasing methods", seed, "free"))
        self.pattern = Pattern(np.asarray(counts, np.float32), mask, free)
        self._truth, self._config, self._seed = object_of(counts, phase), config, seed
        self._phase = partial(iterative.phase, report=progress, device=device)

    def iterative(self) -> Score:
        """Phase by `ITERATIVE_METHODS`; objects of runs that diverged have an accuracy and an overlap of 0."""
        schedule, polish = schedule_of(self._config), schedule_of(self._config.model_copy(update={"method": "rsp+er"}))
        starts = [draw_start(self.pattern, schedule, self._seed, index) for index in range(self._config.starts)]
        runs, spent = self._runs(schedule, starts)
        ends = [_again(run, polish) for run in runs if not run.why_diverged]
        refined, more = self._runs(polish, ends) if ends else (runs, 0.0)
        objects = [_usable(runs[0]), _usable(_best(runs)), _usable(_best(refined))]
        return self._score(objects, [spent / len(runs), spent, spent + more])

    def network(self, phaser: Phaser) -> Score:
        """Phase by `NETWORK_METHODS`, with a network for patterns of this size."""
        config, counts = self._config, self.pattern.counts
        begun = time.monotonic()
        alone = object_of(counts, phaser.phases(counts[None])[0])
        before = time.monotonic() - begun
        polish = config.model_copy(update={"method": "rsp+er"})
        hio = config.er // 3
        ways = [
            schedule_of(polish),
            schedule_of(polish.model_copy(update={"refine_hio": (hio,), "er": config.er - hio})),
        ]
        views = [network_start(self.pattern, phaser, view, ways[0]) for view in range(config.starts)]
        (by_er, er_spent), (by_hio, hio_spent) = (self._runs(way, views) for way in ways)
        best = [_usable(_best(runs)) for runs in (by_er, by_hio, by_er + by_hio)]
        objects: list[NDArray[Any]] = [alone, _usable(by_er[0]), *best]
        spent = [0, er_spent / len(views), er_spent, hio_spent, er_spent + hio_spent]
        seen = [1, 1, len(views), len(views), len(views)]
        return self._score(objects, [before * n + seconds for n, seconds in zip(seen, spent, strict=True)])

    def _runs(self, schedule: Schedule, starts: Sequence[Start]) -> tuple[list[Phased], float]:
        """Return what every start ends at, and the seconds of all."""
        begun = time.monotonic()
        runs = self._phase(self.pattern, schedule, starts)
        return runs, time.monotonic() - begun

    def _score(self, objects: Sequence[NDArray[Any]], seconds: Sequence[float]) -> Score:
        scores = [score_object(found, self._truth) if np.abs(found).any() else (0.0, 0.0) for found in objects]
        return Score(tuple(s[0] for s in scores), tuple(s[1] for s in scores), tuple(seconds))


def joined(network: Score, iterative: Score) -> Score:
    """Return the scores of `METHODS`."""
    return Score(*(first + second for first, second in zip(network, iterative, strict=True)))


def methods_dataset(
    scores: Sequence[Score], phase_range: NDArray[Any], particle: NDArray[Any], groups: int, seed: int
) -> xr.Dataset:
    """Describe the scores of a campaign's patterns, by groups of equal size of rising phase range.

    Returns
    -------
    xarray.Dataset
        ``accuracy``, ``likeness`` and ``seconds`` by (pattern, method); by (group, method) ``accuracy_mean``,
        ``accuracy_low``, ``accuracy_high`` and ``success``, ``success_low`` and ``success_high`` (95 % score intervals,
        E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927)); by group ``range_mean`` and the ``gain`` in accuracy of the
        network refined by ER over iterative phasing, both at their best by free log-likelihood, with its 95 % interval
        over particles, ``gain_low`` and ``gain_high``; likewise ``gain_either``, where the best may have had HIO, and
        ``gain_alike``, where the ends of iterative phasing had the network's refinement, too.
    """
    accuracy, likeness, seconds = (np.array([getattr(score, name) for score in scores]) for name in Score._fields)
    rank = np.argsort(np.argsort(phase_range, kind="stable"), kind="stable")
    member = rank * groups // len(scores)
    per = ("pattern", "method")
    data = xr.Dataset(
        {
            "accuracy": (per, accuracy, {"units": "%"}),
            "likeness": (per, likeness, {"units": "1"}),
            "seconds": (per, seconds, {"units": "s"}),
        },
        {
            "method": list(METHODS),
            "phase_range": ("pattern", np.asarray(phase_range), {"units": "rad"}),
            "particle": ("pattern", np.asarray(particle)),
            "group": np.arange(groups),
        },
    )
    means = [
        [cluster_bootstrap(accuracy[member == g, m], particle[member == g], seed) for m in range(len(METHODS))]
        for g in range(groups)
    ]
    for part in ("mean", "low", "high"):
        data[f"accuracy_{part}"] = (("group", "method"), [[getattr(e, part) for e in row] for row in means])
    for name, pair in GAINS.items():
        better, worse = (accuracy[:, METHODS.index(method)] for method in pair)
        gains = [cluster_bootstrap((better - worse)[member == g], particle[member == g], seed) for g in range(groups)]
        for suffix, part in (("", "mean"), ("_low", "low"), ("_high", "high")):
            data[name + suffix] = ("group", [getattr(each, part) for each in gains])
    shares = np.array([[_share(row) for row in (likeness[member == g] > SUCCESS).T] for g in range(groups)])
    for name, values in zip(("success", "success_low", "success_high"), np.moveaxis(shares, -1, 0), strict=True):
        data[name] = (("group", "method"), values, {"units": "1"})
    data["range_mean"] = ("group", [float(phase_range[member == g].mean()) for g in range(groups)])
    return data.assign_attrs(kind="phasing", n=len(scores), seed=seed, interval="95 %")


def _share(found: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return the share that is true, with its score interval."""
    interval = binomtest(int(found.sum()), len(found)).proportion_ci(0.95, "wilson")
    return float(found.mean()), float(interval.low), float(interval.high)


def network_start(pattern: Pattern, phaser: Phaser, view: int, schedule: Schedule) -> Start:
    """Return the network's object of a pattern of its own size, seen from one view, as the start of a refinement."""
    counts = filled(pattern)
    found = object_of(counts, phaser.phases(counts[None], view)[0])
    support = support_of(found)
    start = scaled((found * support).astype(np.complex64), pattern)
    return Start(start, support, schedule.support.threshold[0])


def _again(run: Phased, schedule: Schedule) -> Start:
    """Return what one run ended at as the start of a refinement."""
    return Start(run.found, run.support, schedule.support.threshold[0])


def _best(runs: Sequence[Phased]) -> Phased:
    kept = [run for run in runs if not run.why_diverged]
    return min(kept or runs, key=lambda run: run.free_llk)


def _usable(run: Phased) -> NDArray[np.complex64]:
    return np.zeros_like(run.found) if run.why_diverged else run.found
