"""Scoring a network for reciprocal-space phases on held-out patterns: what `braggworks evaluate` does for its task."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from braggworks.errors import FileError

if TYPE_CHECKING:
    import xarray as xr

    from braggworks.evaluation.phases import Patterns, Phases

NETWORK, FLAT = "network", "flat phase"
# Seed of the bootstrap, kept in the file.
SEED = 0
# Patterns kept for the figure.
EXAMPLES = 8

_COLUMNS = ("particle", "phase_range", "total_counts")


def evaluate_phases(manifest: str, weights: str, output: str, examples: str | None) -> None:
    """Write the scores of the network and of a phase of 0, and some examples.

    Raises
    ------
    FileError
        If there is nothing to score, or the weights are for other patterns.
    """
    import numpy as np
    from tqdm import tqdm

    from braggworks.evaluation.phases import score_phases, with_summary
    from braggworks.files import atomic_path
    from braggworks.phasing.rsp import load_phaser

    patterns = _test_patterns(manifest)
    phaser = load_phaser(weights)
    if phaser.shape != patterns.counts.shape[1:]:
        raise FileError(
            f"{weights} finds phases of {'x'.join(map(str, phaser.shape))} voxels, and {manifest} holds patterns of "
            f"{'x'.join(map(str, patterns.counts.shape[1:]))}: use weights that were trained on this release."
        )
    methods: dict[str, Phases] = {NETWORK: phaser.phases, FLAT: lambda counts: np.zeros(counts.shape, np.float32)}
    interval = 0.1 if sys.stderr.isatty() else 5
    with tqdm(total=len(patterns.counts), desc="evaluate", unit="pattern", mininterval=interval) as bar:
        data = with_summary(score_phases(patterns, methods, bar.update), SEED)
    with atomic_path(output) as temporary:
        data.to_netcdf(temporary, engine="h5netcdf")
    if examples:
        _write_examples(examples, patterns, data, methods)
    _print(data)


def _test_patterns(manifest: str) -> Patterns:
    from braggworks.datasets.manifests import load_samples, read_manifest, select_samples
    from braggworks.evaluation.phases import Patterns

    table = select_samples(read_manifest(manifest), "test")
    if not len(table):
        raise FileError(
            f"{manifest} has no particle in its test split, so there is nothing to score: "
            "raise splits.test, or the campaigns' count."
        )
    counts, phase = load_samples(table)
    values = {name: table.columns[name] for name in _COLUMNS}
    values |= {"campaign": table.campaign.astype(object), "oversampling": table.columns["oversampling"].min(axis=1)}
    return Patterns(counts, phase, values)


def _write_examples(path: str, patterns: Patterns, data: xr.Dataset, methods: Mapping[str, Phases]) -> None:
    """Write patterns that span the phase ranges, with the network's phases."""
    import numpy as np

    from braggworks.files import create_h5

    order = np.argsort(patterns.values["phase_range"], kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, EXAMPLES).round().astype(int))]
    counts = patterns.counts[chosen]
    with create_h5(path, "examples") as file:
        file["counts"], file["phase"] = counts, patterns.phase[chosen]
        file[NETWORK] = methods[NETWORK](counts)
        file["phase_range"] = patterns.values["phase_range"][chosen]
        for score in ("wca", "accuracy"):
            file[score] = data[score].sel({"method": NETWORK}).values[chosen]


def _print(data: xr.Dataset) -> None:
    print(f"{data.attrs['n']} patterns of {data.attrs['particles']} particles: mean loss WCA, accuracy, overlap")
    for method in map(str, data["method"].values):
        at = data.sel({"method": method})
        print(f"{method:<12}" + "".join(f"{float(at[f'{s}_mean']):9.3f}" for s in ("wca", "accuracy", "likeness")))
