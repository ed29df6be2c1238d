"""Readers of patterns, and of the steps that lead to one."""

from __future__ import annotations

import json

import h5py
import numpy as np

from braggworks.commands._figure_inputs._common import finite_amplitude, largest_particle, particle_label, reading
from braggworks.errors import FileError
from braggworks.figures.engines import Comparison
from braggworks.figures.objects import Pattern
from braggworks.figures.steps import Steps
from braggworks.files import open_h5, read_json

_TYPICAL_OVERSAMPLING = 3.0
_IMAGES = ("modulus", "phase", "smoothed", "intensity", "counts", "mask")


def read_pattern(path: str, oversampling: float = _TYPICAL_OVERSAMPLING) -> Pattern:
    """Return the pattern of the largest particle whose smallest oversampling is nearest to the one given."""
    with open_h5(path, "patterns") as file, reading(path):
        name = largest_particle(file)
        measured = _oversampling(file, name)
        return pattern_of(file, name, int(np.argmin(np.abs(measured.min(axis=1) - oversampling))))


def read_finest_pattern(path: str) -> Pattern:
    """Return the pattern in which most voxels are left to the object."""
    return read_pattern(path, oversampling=0.0)


def pattern_of(file: h5py.File, name: str, index: int) -> Pattern:
    """Return one pattern of an open file. Raises `ValueError` or `KeyError` where it is not whole."""
    reflection = " ".join(str(int(miller)) for miller in file[name]["reflection"][index])
    return Pattern(
        finite_amplitude(file, name, index),
        float(file[name]["dq"][index]),
        tuple(float(value) for value in _oversampling(file, name)[index]),
        f"{particle_label(file, name)}, reflection {reflection}",
    )


def _oversampling(file: h5py.File, name: str) -> np.ndarray:
    measured = file[name]["oversampling"][()]
    if measured.ndim != 2 or measured.shape[1] != 3 or not len(measured):
        raise ValueError(f"oversampling of shape {measured.shape}")
    return np.asarray(measured, dtype=np.float64)


def read_engines(first: str, second: str, comparison: str) -> Comparison:
    """Return one batch's patterns by two engines, and how they differ. Raises `FileError`."""
    record = read_json(comparison)
    with reading(comparison):
        names = (str(record["reference"]), str(record["other"]))
        worst = (str(record["worst"]["particle"]), int(record["worst"]["pattern"]))
        errors = np.array([row["error"] for row in record["rows"]], dtype=np.float64)
        seconds = (float(record["seconds_reference"]), float(record["seconds_other"]))
    amplitudes = []
    for path, engine in zip((first, second), names, strict=True):
        with open_h5(path, "patterns") as file, reading(path):
            if str(file.attrs["engine"]) != engine:
                raise FileError(
                    f"{path} was made by {file.attrs['engine']}, where {comparison} names {engine}: "
                    "give the files in the order of the comparison."
                )
            amplitudes.append(finite_amplitude(file, *worst))
            dq, label = float(file[worst[0]]["dq"][worst[1]]), particle_label(file, worst[0])
    with reading(second):
        stacked = np.stack(amplitudes)
    return Comparison(names, stacked, dq, f"{label}, worst pattern", errors, seconds)


def read_steps(path: str) -> Steps:
    """Return the steps that lead to a 2-D pattern. Raises `FileError`."""
    with open_h5(path, "steps") as file, reading(path):
        images = {name: file[name][()] for name in _IMAGES}
        for group in (_IMAGES[:3], _IMAGES[3:]):
            shapes = {images[name].shape for name in group}
            if len(shapes) != 1 or len(next(iter(shapes))) != 2:
                raise ValueError(f"{', '.join(group)} of shapes {', '.join(map(str, sorted(shapes)))}")
        images["mask"] = images["mask"].astype(bool)
        ratios = file.attrs["oversampling"]
        # As a list, an attribute is kept as JSON.
        oversampling = np.atleast_1d(np.asarray(json.loads(ratios) if isinstance(ratios, str) else ratios, np.float64))
        return Steps(
            **images,
            oversampling=tuple(float(value) for value in oversampling),
            total_counts=float(file.attrs["total_counts"]),
            label=str(file.attrs["label"]),
        )
