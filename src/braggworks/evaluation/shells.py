"""How the phase found patch by patch goes wrong from the peak outwards, by shell and by what the patches are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from braggworks.evaluation.metrics import cluster_bootstrap
from braggworks.evaluation.phases import Patterns, score_object, score_phase
from braggworks.networks import PatchPhaseNetwork
from braggworks.phasing.objects import object_of
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
        many ``patches`` each shell has; of the first patterns, the planes through the centre of a patch on the first
        shell: ``counts``, ``guess``, ``truth`` and ``found``, by (outside, y, x), empty where there is but one shell;
        and their whole patches at the peak: ``central_counts``, ``central_phase`` and ``central_network``, by
        (example, pz, py, px), with their ``central_wca``, ``central_accuracy`` and ``central_phase_range``.
    """
    shells, _ = shells_of(patterns.counts.shape[1:], network.patch)
    losses = np.full((len(GIVEN), len(shells), len(patterns.counts)), np.nan)
    for number, (counts, truth) in enumerate(zip(patterns.counts, patterns.phase, strict=True)):
        seen, true = _tensor(counts), _tensor(truth)
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
    data = data.merge(_outside(network, patterns)).merge(_central(network, patterns))
    return data.assign_attrs(kind="shells", n=len(patterns.counts), particles=len(np.unique(cluster)), seed=seed)


def _central(network: PatchPhaseNetwork, patterns: Patterns) -> xr.Dataset:
    """Return patches at the peak, with the loss of their phase and the accuracy of their objects."""
    shape = patterns.counts.shape[1:]
    (cube,) = shells_of(shape, network.patch)[0][0]
    data = xr.Dataset()
    parts = {"counts": patterns.counts[:EXAMPLES, *cube], "phase": patterns.phase[:EXAMPLES, *cube]}
    nothing = torch.zeros(shape)
    parts["network"] = np.stack(
        [predict(network, _tensor(each), nothing, nothing, [cube])[0].numpy() for each in patterns.counts[:EXAMPLES]]
    )
    for name, values in parts.items():
        data[f"central_{name}"] = (("example", "pz", "py", "px"), np.asarray(values, np.float32))
    wca, accuracy = [], []
    for counts, truth, phase in zip(*parts.values(), strict=True):
        wca.append(score_phase(phase, truth, counts))
        accuracy.append(score_object(object_of(counts, phase), object_of(counts, truth)).accuracy)
    scores = {"wca": wca, "accuracy": accuracy, "phase_range": patterns.values["phase_range"][:EXAMPLES]}
    for name, each in scores.items():
        data[f"central_{name}"] = ("example", np.asarray(each, np.float64))
    return data


def _outside(network: PatchPhaseNetwork, patterns: Patterns) -> xr.Dataset:
    """Return planes through patches on the first shell, with the truth as their guess."""
    shape = patterns.counts.shape[1:]
    shells, _ = shells_of(shape, network.patch)
    known = known_before(shape, network.patch, 1)
    planes: dict[str, list[NDArray[Any]]] = {name: [] for name in ("counts", "guess", "truth", "found")}
    for cubes in shells[1:2]:
        cube = cubes[len(cubes) // 2]
        for counts, truth in zip(patterns.counts[:EXAMPLES], patterns.phase[:EXAMPLES], strict=True):
            phase = predict(network, _tensor(counts), _tensor(truth * known), _tensor(known), [cube])[0].numpy()
            guess = np.where(known[cube] > 0, truth[cube], np.nan)
            for kept, values in zip(planes.values(), (counts[cube], guess, truth[cube], phase), strict=True):
                kept.append(np.asarray(values[network.patch // 2], np.float32))
    size = (-1, network.patch, network.patch)
    return xr.Dataset({k: (("outside", "y", "x"), np.array(v, np.float32).reshape(size)) for k, v in planes.items()})


def _tensor(values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
