"""What the readers share: errors as sentences, and the names of particles."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from braggworks.errors import FileError

MAX_TEXT_BYTES = 10_000_000
SHAPES = {
    "wulff": "Wulff",
    "winterbottom": "Winterbottom",
    "random": "random facets",
    "clipped_cube": "clipped cube",
}


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn what a foreign or incomplete file raises into a sentence."""
    try:
        yield
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        what = str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
        raise FileError(f"{path} does not hold what this figure needs ({what}): make it again.") from error


def read_text(path: str) -> str:
    """Return a text file of bounded size. Raises `FileError`."""
    if Path(path).stat().st_size > MAX_TEXT_BYTES:
        raise FileError(f"{path} is larger than {MAX_TEXT_BYTES} bytes: give a file of the right stage.")
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise FileError(f"{path} is not a text file: give a file of the right stage.") from None


def largest_particle(file: h5py.File) -> str:
    """Return the name of the particle with most atoms. Raises `ValueError` where there is none."""
    names = sorted(file)
    if not names:
        raise ValueError("no particle")
    return str(max(names, key=lambda name: int(file[name].attrs["atoms"])))


def particle_label(file: h5py.File, name: str) -> str:
    """Return what a particle of a file of patterns is."""
    attrs = file[name].attrs
    shape, atoms = str(attrs["shape"]), int(attrs["atoms"])
    what = f"{attrs['material']}, {SHAPES.get(shape, shape)}, {atoms} atoms"
    return f"{what} ({file.attrs['campaign']}, particle {int(name)})"


def finite_amplitude(file: h5py.File, name: str, index: int) -> Any:
    """Return one amplitude, (n, n, n) with n even. Raises `ValueError` unless it is finite and not zero."""
    amplitude = file[name]["amplitude"][index]
    if amplitude.ndim != 3 or len(set(amplitude.shape)) != 1 or amplitude.shape[0] % 2:
        raise ValueError(f"amplitude of shape {amplitude.shape}")
    if not np.isfinite(amplitude).all() or not amplitude.any():
        raise ValueError("amplitude without finite, non-zero values")
    return amplitude


def load_scores(path: str) -> xr.Dataset:
    """Return a NetCDF file of scores. Raises `FileError`."""
    try:
        return xr.load_dataset(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise FileError(f"{path} is truncated or is no NetCDF file ({reason}): evaluate the network again.") from None
