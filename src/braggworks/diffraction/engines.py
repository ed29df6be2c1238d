"""The scattering engines behind one interface; a new engine is one file with a function `load` and one line here."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from braggworks.errors import ConfigError

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]

ENGINES = {
    "nufft": "braggworks.diffraction.nufft",
    "pynx": "braggworks.diffraction.pynx",
}


class Amplitude(Protocol):
    """Computes the kinematic amplitude of point scatterers on a cubic grid.

    F(q_k) = sum_j exp(-2 pi i (centre + dq k) . r_j) with k = -n/2 ... n/2 - 1 along each axis, not normalised.
    """

    def __call__(self, positions: FloatArray, centre: FloatArray, dq: float, n: int, threads: int) -> ComplexArray:
        """Return F.

        Parameters
        ----------
        positions
            Atoms (x, y, z), shape (N, 3), in angstrom.
        centre
            Scattering vector (x, y, z) at voxel n//2, shape (3,), in 1/angstrom.
        dq
            Edge of a voxel, in 1/angstrom.
        n
            Voxels per axis, even.
        threads
            Threads that may be used.

        Returns
        -------
        ndarray
            F, shape (n, n, n), axes (z, y, x), complex128.
        """
        ...


@dataclass(frozen=True)
class Engine:
    """A scattering engine that is ready to use.

    Parameters
    ----------
    name
        Key in `ENGINES`.
    version
        Version of the library that computes.
    amplitude
        The computation.
    concurrent
        Whether patterns are computed side by side, one thread each, instead of one after the other with all threads.
    """

    name: str
    version: str
    amplitude: Amplitude
    concurrent: bool


def load_engine(name: str) -> Engine:
    """Import an engine and the library that it needs.

    Raises
    ------
    ConfigError
        If there is no engine of that name.
    MissingToolError
        If its library is not installed.
    """
    if name not in ENGINES:
        raise ConfigError(f"There is no scattering engine {name!r}: use one of {', '.join(ENGINES)}.")
    engine: Engine = importlib.import_module(ENGINES[name]).load()
    return engine
