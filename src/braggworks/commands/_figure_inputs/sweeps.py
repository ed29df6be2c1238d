"""Readers of what the network was scored against."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from braggworks.commands._figure_inputs._common import load_scores, reading
from braggworks.evaluation.metrics import CLASSES
from braggworks.figures.artefacts import Artefacts
from braggworks.figures.consistency import Consistency
from braggworks.figures.intensity import Intensity
from braggworks.figures.masking import Strategies
from braggworks.figures.sweeps import Oversampling, Positions, Skipping

_METHODS = ("network", "linear")
_INTERVAL = ("mean", "low", "high")


def read_intensity(path: str) -> Intensity:
    """Return the network's scores by classes of intensity. Raises `FileError`."""
    data = load_scores(path)
    with reading(path):
        scores = data["pcc"].sel({"method": "network"}).transpose("gap_width", "patch").values
        counts = data["mean_counts"].values
        logs = np.log(np.maximum(counts, 1e-3))
        edges = np.linspace(logs.min(), logs.max(), CLASSES + 1)[1:-1]
        classes = [member for k in range(CLASSES) if (member := np.flatnonzero(np.digitize(logs, edges) == k)).size]
        return Intensity(
            widths=data["gap_width"].values,
            counts=np.array([counts[member].mean() for member in classes]),
            pcc=np.array([[_mean(row[member]) for member in classes] for row in scores]),
            number=np.array([len(member) for member in classes]),
        )


def _mean(values: NDArray[np.float64]) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def read_positions(path: str) -> Positions:
    """Return scores by the place of the gap. Raises `FileError`."""
    data = load_scores(path)
    with reading(path):
        return Positions(
            position=data["position"].values,
            pcc=_intervals(data, "", "position"),
            ratio=data["ratio"].values,
            ratio_pcc=_intervals(data, "ratio_", "ratio"),
            gap_px=int(data.attrs["gap_px"]),
            patterns=int(data.attrs["n"]),
        )


def _intervals(data: xr.Dataset, prefix: str, axis: str) -> dict[str, NDArray[np.float64]]:
    return {
        method: np.stack([data[prefix + key].sel({"method": method}).transpose(axis).values for key in _INTERVAL])
        for method in _METHODS
    }


def read_oversampling(path: str) -> Oversampling:
    """Return scores of whole patterns by oversampling. Raises `FileError`."""
    data = load_scores(path)
    with reading(path):
        means = data["pcc"].mean("pattern").transpose("method", "gap_width", "ratio")
        return Oversampling(
            ratio=data["ratio"].values,
            widths=data["gap_width"].values,
            pcc={method: means.sel({"method": method}).values for method in _METHODS},
            patterns=int(data.attrs["n"]),
        )


def read_artefacts(path: str) -> Artefacts:
    """Return the strain that gaps feign. Raises `FileError`."""
    data = load_scores(path).transpose("method", "gap_width", "y", "x", "particle")
    with reading(path):
        methods = [str(method) for method in data["method"].values]
        return Artefacts(
            widths=data["gap_width"].values,
            rmse=dict(zip(methods, data["rmse"].values, strict=True)),
            mean=dict(zip(methods, data["mean"].values, strict=True)),
            strain=dict(zip(methods, data["strain"].values, strict=True)),
            support=data["support"].values.astype(bool),
        )


def read_strategies(path: str) -> Strategies:
    """Return what was phased of a pattern with a gap. Raises `FileError`."""
    data = load_scores(path)
    with reading(path):
        arrays = ("modulus", "strain", "projection")
        errors = data[["strain_rmse", "modulus_rmse"]].mean("particle")
        support, gap = (data[name].values.astype(bool) for name in ("support", "gap"))
        return Strategies(
            names=[str(name) for name in data["strategy"].values],
            support=support,
            gap=gap,
            **{name: data[name].values for name in arrays},
            strain_rmse=errors["strain_rmse"].values,
            modulus_rmse=errors["modulus_rmse"].values,
        )


def read_consistency(path: str) -> Consistency:
    """Return the strain's error with and without a last step. Raises `FileError`."""
    data = load_scores(path)
    with reading(path):
        names = ("share", "weight", "ratio", "gap_width", "rmse", "rmse_after")
        return Consistency(*(data[name].values for name in names))


def read_skipped(path: str) -> Skipping:
    """Return time, error and a filled plane by skipped pixels. Raises `FileError`."""
    data = load_scores(path)
    with reading(path):
        skipped, seconds, error = (data[name].values for name in ("skipped", "seconds", "error"))
        plane, measured = data["plane"].values, data["measured"].values
        return Skipping(skipped, seconds, error, plane, measured, int(data.attrs["voxels"]))
