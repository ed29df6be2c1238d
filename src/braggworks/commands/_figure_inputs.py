"""What each figure is drawn from: the readers of `braggworks figure`, by the figure's name."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - registers the compression of patches and scans
import networkx as nx
import numpy as np
import xarray as xr

from braggworks.errors import FileError
from braggworks.evaluation.metrics import cluster_bootstrap
from braggworks.figures.crystal import MOST, Crystal
from braggworks.figures.engines import Comparison
from braggworks.figures.gap_width import Sweep
from braggworks.figures.objects import Pattern
from braggworks.figures.patch import Examples
from braggworks.figures.rulegraph import parse_dot
from braggworks.figures.scan import FilledScan
from braggworks.figures.training import History
from braggworks.files import open_h5, read_json

_MAX_TEXT_BYTES = 10_000_000
# The reflection along which displacements are shown; relaxed crystals do not know which one is measured later.
_REFLECTION = (1, 1, 1)
_TYPICAL_OVERSAMPLING = 3.0
_SHAPES = {"wulff": "Wulff", "winterbottom": "Winterbottom", "random": "random facets"}

_FILLINGS = ("linear", "network")

# Number of atoms, shape, whether clamped, file and name of a particle.
_Found = tuple[int, str, bool, str, str]


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Turn what a foreign or incomplete file raises into a sentence."""
    try:
        yield
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        what = str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
        raise FileError(f"{path} does not hold what this figure needs ({what}): make it again.") from error


def _read_text(path: str) -> str:
    if Path(path).stat().st_size > _MAX_TEXT_BYTES:
        raise FileError(f"{path} is larger than {_MAX_TEXT_BYTES} bytes: give a file of the right stage.")
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise FileError(f"{path} is not a text file: give a file of the right stage.") from None


def _read_crystals(*paths: str) -> list[Crystal]:
    found: list[_Found] = []
    for path in paths:
        with open_h5(path, "relaxed") as file, _reading(path):
            for name in sorted(file):
                group = file[name]
                clamped = int(group.attrs["clamped_atoms"]) > 0
                found.append((len(group["positions"]), str(group.attrs["shape"]), clamped, path, name))
    if not found:
        raise FileError(f"{paths[0]} holds no particle: run `braggworks relax` again.")
    crystals = []
    for _, shape, clamped, path, name in _choose_crystals(found):
        with open_h5(path, "relaxed") as file, _reading(path):
            group = file[name]
            direction = np.asarray(group.attrs["orientation"]) @ np.array(_REFLECTION, dtype=np.float64)
            crystals.append(
                Crystal(
                    f"{_SHAPES.get(shape, shape)}, {'clamped interface' if clamped else 'free'}",
                    group["positions"][()],
                    group["displacement"][()],
                    direction / np.linalg.norm(direction),
                    float(group.attrs["lattice_constant"]),
                )
            )
    return crystals


def _choose_crystals(found: list[_Found]) -> list[_Found]:
    """Return the largest free and the largest clamped particle, and the largest of another shape."""
    largest_first = sorted(found, key=lambda item: (-item[0], item[3], item[4]))
    chosen: list[_Found] = []
    for held in (False, True):
        chosen += [item for item in largest_first if item[2] is held][:1]
    for item in largest_first:
        if len(chosen) < MOST and item[1] not in {other[1] for other in chosen}:
            chosen.append(item)
    return chosen


def _largest(file: h5py.File) -> str:
    """Return the name of the particle with most atoms."""
    names = sorted(file)
    if not names:
        raise ValueError("no particle")
    return str(max(names, key=lambda name: int(file[name].attrs["atoms"])))


def _particle_label(file: h5py.File, name: str) -> str:
    attrs = file[name].attrs
    shape, atoms = _SHAPES.get(str(attrs["shape"]), str(attrs["shape"])), int(attrs["atoms"])
    return f"{attrs['material']}, {shape}, {atoms} atoms ({file.attrs['campaign']}, particle {int(name)})"


def _read_pattern(path: str, oversampling: float = _TYPICAL_OVERSAMPLING) -> Pattern:
    """Return the pattern of the largest particle whose oversampling is nearest to the one given."""
    with open_h5(path, "patterns") as file, _reading(path):
        name = _largest(file)
        found = file[name]["oversampling"][()]
        index = int(np.argmin(np.abs(found - oversampling)))
        amplitude = _amplitude(file, name, index)
        return Pattern(amplitude, float(file[name]["dq"][index]), float(found[index]), _particle_label(file, name))


def _read_finest_pattern(path: str) -> Pattern:
    """Return the pattern in which most voxels are left to the object."""
    return _read_pattern(path, oversampling=0.0)


def _amplitude(file: h5py.File, name: str, index: int) -> Any:
    amplitude = file[name]["amplitude"][index]
    if amplitude.ndim != 3 or len(set(amplitude.shape)) != 1 or amplitude.shape[0] % 2:
        raise ValueError(f"amplitude of shape {amplitude.shape}")
    if not np.isfinite(amplitude).all() or not amplitude.any():
        raise ValueError("amplitude without finite, non-zero values")
    return amplitude


def _read_examples(path: str) -> Examples:
    with open_h5(path, "examples") as file, _reading(path):
        arrays = {key: file[key][()] for key in Examples.__dataclass_fields__}
        arrays["mask"] = arrays["mask"].astype(bool)
        k = len(arrays["truth"])
        if k == 0 or any(len(array) != k for array in arrays.values()):
            raise ValueError("no examples, or not equally many of each")
        if any(arrays[key].shape != arrays["truth"].shape for key in ("mask", "linear", "network")):
            raise ValueError("patches of different shapes")
        return Examples(**arrays)


def _read_engines(first: str, second: str, comparison: str) -> Comparison:
    record = read_json(comparison)
    with _reading(comparison):
        names = (str(record["reference"]), str(record["other"]))
        worst = (str(record["worst"]["particle"]), int(record["worst"]["pattern"]))
        errors = np.array([row["error"] for row in record["rows"]], dtype=np.float64)
        seconds = (float(record["seconds_reference"]), float(record["seconds_other"]))
    amplitudes = []
    for path, engine in zip((first, second), names, strict=True):
        with open_h5(path, "patterns") as file, _reading(path):
            if str(file.attrs["engine"]) != engine:
                raise FileError(
                    f"{path} was made by {file.attrs['engine']}, where {comparison} names {engine}: "
                    "give the files in the order of the comparison."
                )
            amplitudes.append(_amplitude(file, *worst))
            dq, label = float(file[worst[0]]["dq"][worst[1]]), _particle_label(file, worst[0])
    with _reading(second):
        stacked = np.stack(amplitudes)
    return Comparison(names, stacked, dq, f"{label}, worst pattern", errors, seconds)


def _read_gap_width(path: str) -> Sweep:
    try:
        data = xr.load_dataset(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise FileError(f"{path} is truncated or is no NetCDF file ({reason}): evaluate the network again.") from None
    with _reading(path):
        score = data["pcc"].transpose("method", "gap_width", "patch")
        # As keywords, `sel` would take `method` for its own.
        gain = (score.sel({"method": "network"}) - score.sel({"method": "linear"})).values
        cluster = np.array([f"{c}/{p}" for c, p in zip(data["campaign"].values, data["particle"].values, strict=True)])
        members = [data["patch_stratum"].values == stratum for stratum in data["stratum"].values]
        seed = int(data.attrs["seed"])
        found = [[cluster_bootstrap(row[inside], cluster[inside], seed) for inside in members] for row in gain]
        return Sweep(
            widths=data["gap_width"].values,
            methods=tuple(str(name) for name in data["method"].values),
            pcc=np.stack([data[key].transpose("method", "gap_width").values for key in ("mean", "low", "high")]),
            stratum_counts=data["stratum_mean_counts"].values,
            gain=np.moveaxis(np.array([[(i.mean, i.low, i.high) for i in row] for row in found]), -1, 0),
            patches=int(data.attrs["n"]),
            particles=int(data.attrs["particles"]),
        )


def _read_scan(path: str, scores: str) -> FilledScan:
    record = read_json(scores)
    with _reading(scores):
        pcc = {name: np.nan if record["pcc"][name] is None else float(record["pcc"][name]) for name in _FILLINGS}
    with open_h5(path, "scan") as file, _reading(path):
        detector, extra = file["entry_1/instrument_1/detector_1"], file["entry_1/braggworks"]
        measured, linear, network = extra["measured"][()], extra["linear"][()], detector["data"][()]
        mask = extra["filled"][()].astype(bool)
        if measured.ndim != 3 or not measured.shape == linear.shape == network.shape == mask.shape:
            raise ValueError("counts of different shapes")
        return FilledScan(
            measured=measured.astype(np.float64),
            linear=linear.astype(np.float64),
            network=network.astype(np.float64),
            mask=mask,
            peak=_peak(file, measured.shape),
            pcc=(pcc["linear"], pcc["network"]),
            title=file["entry_1/title"].asstr()[()],
            simulated=bool(file.attrs["simulated"]),
        )


def _peak(file: h5py.File, shape: tuple[int, ...]) -> tuple[int, int, int]:
    z, y, x = (int(index) for index in file.attrs["peak"])
    if not all(0 <= index < size for index, size in zip((z, y, x), shape, strict=True)):
        raise ValueError(f"peak {(z, y, x)} outside of the scan")
    return z, y, x


def _read_history(path: str) -> History:
    rows = list(csv.DictReader(_read_text(path).splitlines()))
    if not rows:
        raise FileError(f"{path} holds no epoch: train the network first.")
    with _reading(path):
        columns = {
            key: np.array([float(row[key] or "nan") for row in rows], dtype=np.float64)
            for key in History.__dataclass_fields__
        }
    return History(**columns)


def _read_rulegraph(path: str) -> nx.DiGraph:
    text = _read_text(path)
    with _reading(path):
        return parse_dot(text)


READERS: dict[str, Callable[..., Any]] = {
    "crystal": _read_crystals,
    "diffraction": _read_pattern,
    "patch": _read_examples,
    "gap-width": _read_gap_width,
    "engines": _read_engines,
    "scan": _read_scan,
    "training": _read_history,
    "rulegraph": _read_rulegraph,
    "isosurface": _read_finest_pattern,
}
