"""Readers of what training, evaluation, the scan and the workflow write."""

from __future__ import annotations

import csv
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - registers the compression of scans
import networkx as nx
import numpy as np
from numpy.typing import NDArray

from braggworks.commands._figure_inputs._common import load_scores, read_text, reading
from braggworks.errors import FileError
from braggworks.evaluation.metrics import cluster_bootstrap, pcc
from braggworks.figures.baselines import Baselines
from braggworks.figures.before_after import BeforeAfter
from braggworks.figures.finetune import Finetuned
from braggworks.figures.gap_width import Sweep
from braggworks.figures.patch import Examples
from braggworks.figures.phased import PhasedObject
from braggworks.figures.rulegraph import parse_dot
from braggworks.figures.scan import FilledScan
from braggworks.figures.study import Study
from braggworks.figures.training import History
from braggworks.files import open_h5, read_json
from braggworks.inpainting.interpolation import METHODS, interpolate

_FILLINGS = ("linear", "network")


def read_examples(path: str) -> Examples:
    """Return the held-out patches of an evaluation. Raises `FileError`."""
    with open_h5(path, "examples") as file, reading(path):
        arrays = {key: file[key][()] for key in Examples.__dataclass_fields__}
        arrays["mask"] = arrays["mask"].astype(bool)
        k = len(arrays["truth"])
        if k == 0 or any(len(array) != k for array in arrays.values()):
            raise ValueError("no examples, or not equally many of each")
        if any(arrays[key].shape != arrays["truth"].shape for key in ("mask", "linear", "network")):
            raise ValueError("patches of different shapes")
        return Examples(**arrays)


def read_finetuned(path: str) -> Finetuned:
    """Return held-out gaps before and after fine-tuning. Raises `FileError`."""
    with open_h5(path, "examples") as file, reading(path):
        fillings = {name: file[name][()] for name in ("truth", "linear", "before", "after")}
        scores = {name: file[f"pcc_{name}"][()] for name in ("linear", "before", "after")}
        shape = fillings["truth"].shape
        if len(shape) != 3 or not shape[0] or any(each.shape != shape for each in fillings.values()):
            raise ValueError("planes of different shapes")
        if any(len(each) != shape[0] for each in scores.values()):
            raise ValueError("not equally many scores and planes")
        return Finetuned(fillings, scores)


def read_gap_width(path: str) -> Sweep:
    """Return the scores by gap width with their bootstrap intervals. Raises `FileError`."""
    data = load_scores(path)
    with reading(path):
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


def read_study(*paths: str) -> Study:
    """Return the scores of a study's variants, each in a folder of its name. Raises `FileError`."""
    pcc, widths, about = {}, None, None
    for path in paths:
        data = load_scores(path)
        with reading(path):
            means = {
                str(method): np.stack([data[key].sel({"method": method}).values for key in ("mean", "low", "high")])
                for method in ("network", "linear")
            }
            found = (data["gap_width"].values, (int(data.attrs["n"]), int(data.attrs["particles"])))
            if widths is not None and (not np.array_equal(widths, found[0]) or about != found[1]):
                raise ValueError("scores of other patches or gap widths than those of the variants before")
            widths, about = found
            pcc[Path(path).parent.name] = means["network"]
    assert widths is not None  # noqa: S101
    assert about is not None  # noqa: S101
    return Study(widths, pcc, means["linear"], *about)


def read_scan(path: str, scores: str) -> FilledScan:
    """Return a scan before and after, with its scores. Raises `FileError`."""
    record = read_json(scores)
    with reading(scores):
        scored = {name: np.nan if record["pcc"][name] is None else float(record["pcc"][name]) for name in _FILLINGS}
    with open_h5(path, "scan") as file, reading(path):
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
            pcc=(scored["linear"], scored["network"]),
            title=file["entry_1/title"].asstr()[()],
            simulated=bool(file.attrs["simulated"]),
        )


def read_baselines(path: str) -> Baselines:
    """Return a synthetic gap as the network and every interpolation fill it. Raises `FileError`."""
    with open_h5(path, "scan") as file, reading(path):
        detector, extra = file["entry_1/instrument_1/detector_1"], file["entry_1/braggworks"]
        measured, network = (part[()].astype(np.float64) for part in (extra["measured"], detector["data"]))
        mask = extra["filled"][()].astype(bool)
        if measured.ndim != 3 or not measured.shape == network.shape == mask.shape or not mask.any():
            raise ValueError("counts of different shapes, or no gap")
        logs = np.log1p(np.where(mask, 0, measured))
        fillings = {"measured": measured, "network": network}
        fillings |= {method: np.expm1(np.maximum(interpolate(logs, mask, method), 0)) for method in METHODS[::-1]}
        inside = np.ones((1, int(mask.sum())), bool)
        truth = np.log1p(measured[mask])[None]
        pcc_of = {
            name: pcc(truth, np.log1p(np.maximum(each[mask], 0))[None], inside) for name, each in fillings.items()
        }
        return Baselines(
            fillings=fillings,
            mask=mask,
            peak=_peak(file, measured.shape),
            pcc={name: float(score[0]) for name, score in pcc_of.items()},
            title=file["entry_1/title"].asstr()[()],
            simulated=bool(file.attrs["simulated"]),
        )


def read_before_after(path: str) -> BeforeAfter:
    """Return a filled scan. Raises `FileError`."""
    with open_h5(path, "scan") as file, reading(path):
        detector, extra = file["entry_1/instrument_1/detector_1"], file["entry_1/braggworks"]
        arrays = [part[()].astype(np.float64) for part in (extra["gapped"], detector["data"], extra["uncertainty"])]
        mask = extra["filled"][()].astype(bool)
        if mask.ndim != 3 or {array.shape for array in arrays} != {mask.shape}:
            raise ValueError("counts of different shapes")
        gapped, filled, uncertainty = arrays
        title, peak = file["entry_1/title"].asstr()[()], _peak(file, mask.shape)
        return BeforeAfter(gapped, filled, uncertainty, mask, peak, title, bool(file.attrs["simulated"]))


def read_phased(path: str) -> PhasedObject:
    """Return a phased object, on cubes where its geometry is known. Raises `FileError`."""
    with open_h5(path, "phased object") as file, reading(path):
        extra, title = file["entry_1/braggworks"], file["entry_1/title"].asstr()[()]
        curve = {"prtf_q": extra["prtf_q"][()], "prtf": extra["prtf"][()], "title": title}
        curve["prtf_chance"] = float(extra["prtf_chance"][()])
        if "laboratory" in extra:
            held = extra["laboratory"]
            modulus, phase, strain = (held[name][()].astype(np.float64) for name in ("modulus", "phase", "strain"))
            support, voxel = held["support"][()].astype(bool), float(held["voxel"][()]) / 10
            spread = held["phase_uncertainty"][()].astype(np.float64) if "phase_uncertainty" in held else None
            return PhasedObject(modulus, phase, strain, _told(spread), support, voxel, **curve)
        image = file["entry_1/image_1"]
        modulus, support = np.abs(image["data"][()]).astype(np.float64), image["mask"][()].astype(bool)
        phase = extra["phase"][()].astype(np.float64)
        spread = extra["phase_uncertainty"][()].astype(np.float64) if "phase_uncertainty" in extra else None
        return PhasedObject(modulus, phase, None, _told(spread), support, None, **curve)


def _told(spread: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Return an uncertainty if there is any: a single run has none."""
    return spread if spread is not None and np.isfinite(spread).any() else None


def _peak(file: h5py.File, shape: tuple[int, ...]) -> tuple[int, int, int]:
    z, y, x = (int(index) for index in file.attrs["peak"])
    if not all(0 <= index < size for index, size in zip((z, y, x), shape, strict=True)):
        raise ValueError(f"peak {(z, y, x)} outside of the scan")
    return z, y, x


def read_history(path: str) -> History:
    """Return the losses by epoch. Raises `FileError`."""
    rows = list(csv.DictReader(read_text(path).splitlines()))
    if not rows:
        raise FileError(f"{path} holds no epoch: train the network first.")
    with reading(path):
        columns = {
            key: np.array([float(row[key] or "nan") for row in rows], dtype=np.float64)
            for key in History.__dataclass_fields__
        }
    return History(**columns)


def read_rulegraph(path: str) -> nx.DiGraph:
    """Return the graph of rules. Raises `FileError`."""
    text = read_text(path)
    with reading(path):
        return parse_dot(text)
