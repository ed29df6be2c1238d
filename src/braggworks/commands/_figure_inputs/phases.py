"""Readers of what the evaluation of a network for phases writes."""

from __future__ import annotations

from pathlib import Path

import hdf5plugin  # noqa: F401 - registers the compression
import numpy as np
from numpy.typing import NDArray

from braggworks.commands._figure_inputs._common import load_scores, reading
from braggworks.figures.phase_steps import PhaseSteps
from braggworks.figures.phase_study import PhaseStudy
from braggworks.figures.phases import PhaseExamples, RangeScores
from braggworks.figures.phasing_methods import GAINS, Methods
from braggworks.figures.shells import Shells
from braggworks.files import open_h5


def read_examples(path: str) -> PhaseExamples:
    """Return the held-out patterns of an evaluation. Raises `FileError`."""
    with open_h5(path, "examples") as file, reading(path):
        arrays = {key: file[key][()] for key in PhaseExamples.__dataclass_fields__}
        k = len(arrays["counts"])
        if k == 0 or any(len(array) != k for array in arrays.values()):
            raise ValueError("no examples, or not equally many of each")
        if any(arrays[key].shape != arrays["counts"].shape for key in ("phase", "network")):
            raise ValueError("phases of another shape than the counts")
        return PhaseExamples(**arrays)


def read_range(path: str) -> RangeScores:
    """Return the scores of every held-out pattern. Raises `FileError`."""
    data = load_scores(path)
    with reading(path):
        wca, accuracy = (
            {str(method): data[name].sel({"method": method}).values for method in data["method"].values}
            for name in ("wca", "accuracy")
        )
        spheres = data["isotropy"].sel({"method": "network"}).values, data["true_isotropy"].values
        return RangeScores(data["campaign"].values.astype(np.str_), data["phase_range"].values, wca, accuracy, *spheres)


def read_methods(path: str) -> Methods:
    """Return the scores of every way of phasing by phase range. Raises `FileError`."""
    data = load_scores(path)
    with reading(path):
        return Methods(
            methods=tuple(map(str, data["method"].values)),
            phase_range=data["range_mean"].values,
            accuracy=np.stack([data[f"accuracy_{part}"].values.T for part in ("mean", "low", "high")]),
            success=np.stack([data[name].values.T for name in ("success", "success_low", "success_high")]),
            gains=np.array([[data[gain + part].values for part in ("", "_low", "_high")] for gain in GAINS]),
            patterns=int(data.attrs["n"]),
            starts=int(data.attrs["starts"]),
            cycles=int(data.attrs["cycles"]),
            title=str(data.attrs["campaign"]),
        )


def read_shells(path: str) -> Shells:
    """Return the losses by shell, and patches. Raises `FileError`."""
    data = load_scores(path)
    with reading(path):
        parts = {name: data[f"central_{name}"].values for name in ("counts", "phase", "network", "wca", "accuracy")}
        central = PhaseExamples(**parts, phase_range=data["central_phase_range"].values)
        return Shells(
            central=central,
            given=tuple(map(str, data["given"].values)),
            loss=np.stack([data[part].values for part in ("mean", "low", "high")]),
            **{name: data[name].values for name in ("counts", "guess", "truth", "found")},
            patterns=int(data.attrs["n"]),
            title=str(data.attrs["campaign"]),
        )


def read_steps(path: str) -> PhaseSteps:
    """Return the scores of particles whose phase grows, and the first one's patterns. Raises `FileError`."""
    data = load_scores(path)
    with reading(path):
        kept = {name: data[name].values for name in ("counts", "phase", "network")}
        ranges, losses, accuracies = (data[name].values for name in ("phase_range", "wca", "accuracy"))
        example = PhaseExamples(**kept, phase_range=ranges[0], wca=losses[0], accuracy=accuracies[0])
        return PhaseSteps(ranges, accuracies, losses, example, str(data.attrs["campaign"]))


def read_study(*paths: str) -> PhaseStudy:
    """Return scores and examples of a study's variants, each in a folder of its name. Raises `FileError`."""
    wca: dict[str, NDArray[np.float64]] = {}
    accuracy: dict[str, NDArray[np.float64]] = {}
    about = set()
    for path in (each for each in paths if each.endswith(".nc")):
        data = load_scores(path)
        with reading(path):
            about.add((int(data.attrs["n"]), int(data.attrs["particles"])))
            if len(about) > 1:
                raise ValueError("scores of other patterns than those of the variants before")
            for method in map(str, data["method"].values):
                name = Path(path).parent.name if method == "network" else method
                for kept, score in ((wca, "wca"), (accuracy, "accuracy")):
                    parts = [float(data[f"{score}_{part}"].sel({"method": method})) for part in ("mean", "low", "high")]
                    kept[name] = np.array(parts)
    for kept in (wca, accuracy):
        kept["flat phase"] = kept.pop("flat phase")
    examples = {Path(path).parent.name: read_examples(path) for path in paths if path.endswith(".h5")}
    return PhaseStudy(wca, accuracy, examples, *about.pop())
