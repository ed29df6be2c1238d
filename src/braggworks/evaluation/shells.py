"""How the phase found patch by patch goes wrong from the peak outwards, by shell and by what the patches are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from braggworks.evaluation.metrics import cluster_bootstrap
from braggworks.evaluation.phases import Patterns
from braggworks.networks import PatchPhaseNetwork
from braggworks.phasing.shells import known_before, shells_of
from braggworks.phasing.stitching import by_shell, predict, stitch

GIVEN = ("what was found", "the truth", "flat phase")
"""What patches are given of the shells within; the last one is no prediction, but a phase of 0 everywhere."""

EXAMPLES = 3
"""Patterns of which patches are kept."""


def score_shells(
    network: PatchPhaseNetwork,
    patterns: Patterns,
    seed: int,
    progress: Callable[[int], object] = lambda patterns: None,
) -> xr.Dataset:
    """Score patterns that are phased from patch to patch.

    Parameters
    ----------
    network
        Trained.
    patterns
        Held out.
    seed
        Of the bootstrap.
    progress
        Called with 1 after each pattern.

    Returns
    -------
    xarray.Dataset
        ``loss`` by (given, shell, pattern), as `by_shell` says; its ``mean``, ``low`` and ``high`` over particles; how
        many ``patches`` each shell has; and, of the first patterns, the planes through the centre of their patches at
        the peak and on the first shell: ``counts``, ``guess``, ``truth`` and ``found``, by (place, example, y, x).
    """
    shells, _ = shells_of(patterns.counts.shape[1:], network.patch)
    losses = np.full((len(GIVEN), len(shells), len(patterns.counts)), np.nan)
    for number, (counts, truth) in enumerate(zip(patterns.counts, patterns.phase, strict=True)):
        seen, true = (torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in (counts, truth))
        phases = (stitch(network, seen).numpy(), stitch(network, seen, true).numpy(), np.zeros_like(truth))
        for row, (given, phase) in enumerate(zip(GIVEN, phases, strict=True)):
            losses[row, :, number] = by_shell(phase, truth, counts, network.patch, guided=given == "the truth")
        progress(1)
    cluster = patterns.cluster
    found = [[cluster_bootstrap(row, cluster, seed) for row in rows] for rows in losses]
    summary = {
        part: (("given", "shell"), [[getattr(each, part) for each in rows] for rows in found], {"units": "1"})
        for part in ("mean", "low", "high")
    }
    data = xr.Dataset(
        {"loss": (("given", "shell", "pattern"), losses, {"units": "1"}), **summary},
        {"given": list(GIVEN), "shell": np.arange(len(shells))},
    )
    data["patches"] = ("shell", [len(cubes) for cubes in shells], {"units": "patches"})
    data = data.merge(_examples(network, patterns))
    return data.assign_attrs(kind="shells", n=len(patterns.counts), particles=len(np.unique(cluster)), seed=seed)


def _examples(network: PatchPhaseNetwork, patterns: Patterns) -> xr.Dataset:
    """Return planes through the patches at the peak and on the first shell, there with the truth as their guess."""
    shape = patterns.counts.shape[1:]
    shells, _ = shells_of(shape, network.patch)
    middle = network.patch // 2
    planes: dict[str, list[list[NDArray[Any]]]] = {name: [] for name in ("counts", "guess", "truth", "found")}
    for number, cubes in enumerate(shells[:2]):
        for kept in planes.values():
            kept.append([])
        for counts, truth in zip(patterns.counts[:EXAMPLES], patterns.phase[:EXAMPLES], strict=True):
            seen, true = (torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in (counts, truth))
            known = torch.from_numpy(known_before(shape, network.patch, number))
            cube = cubes[len(cubes) // 2]
            phase = predict(network, seen, true * known, known, [cube])[0].numpy()
            guess = np.where(known[cube] > 0, truth[cube], np.nan)
            for name, values in zip(planes, (counts[cube], guess, truth[cube], phase), strict=True):
                planes[name][-1].append(np.asarray(values[middle], np.float32))
    dims = ("place", "example", "y", "x")
    places = ["at the peak", "first shell"][: len(shells)]
    return xr.Dataset({name: (dims, np.array(values)) for name, values in planes.items()}, {"place": places})
