"""The engine `pynx`: the direct sum of PyNX in single precision, on CPU.

Favre-Nicolin, Coraux, Richard & Renevier, J. Appl. Cryst. 44, 635 (2011), doi:10.1107/S0021889811009009.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from braggworks.diffraction.engines import ComplexArray, Engine, FloatArray
from braggworks.errors import MissingToolError

# Atoms summed in single precision at a time; the sums of the blocks are added in double precision.
BLOCK = 4096
_LANES = 4  # PyNX adds four atoms at once, and each of its threads must get a multiple of that.


def amplitude(positions: FloatArray, centre: FloatArray, dq: float, n: int, threads: int) -> ComplexArray:
    """Return the kinematic amplitude; see `braggworks.diffraction.engines.Amplitude`."""
    return amplitude_planes(positions, centre, dq, n, np.arange(n), threads=threads)


def amplitude_planes(
    positions: FloatArray, centre: FloatArray, dq: float, n: int, planes: npt.NDArray[np.integer], *, threads: int
) -> ComplexArray:
    """Return the amplitude on some planes of constant z, shape (planes, n, n).

    PyNX works in float32, in which the phase 2 pi centre . r of a particle would lose digits. So one plane of the grid
    is computed per call, with the phase along z and of the centre, less whole turns, as the third coordinate:
    F(z, y, x) = sum_j exp(-2 pi i (x X_j + y Y_j + 1 P_j)), where P_j = z Z_j + centre . r_j mod 1 is float64.
    """
    from pynx.scattering import Fhkl_thread

    x, y, z = dq * positions.T
    phase = positions @ centre
    k = np.arange(n, dtype=np.float32) - n // 2
    kx, ky = (axis.copy() for axis in np.meshgrid(k, k))
    one = np.ones_like(kx)
    result = np.zeros((len(planes), n, n), dtype=np.complex128)
    for block in _blocks(len(positions)):
        padding = -(block.stop - block.start) % (_LANES * threads)
        X, Y = (_pad(axis[block], padding) for axis in (x, y))
        for plane, kz in enumerate(planes - n // 2):
            turns = kz * z[block] + phase[block]
            P = _pad(turns - np.round(turns), padding)
            values, _ = Fhkl_thread(kx, ky, one, X, Y, P, gpu_name="cpu", language="cpu", nbCPUthread=threads)
            # Each padding atom, at the origin, has added exactly 1.
            result[plane] += values.astype(np.complex128) - padding
    return result


def _blocks(atoms: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, atoms)) for start in range(0, atoms, BLOCK)]


def _pad(values: FloatArray, padding: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.concatenate([values, np.zeros(padding)]).astype(np.float32)


def load() -> Engine:
    """Return the engine. Raises `MissingToolError` where PyNX is not installed."""
    try:
        from pynx.scattering import Fhkl_thread  # noqa: F401
        from pynx.version import __version__
    except ImportError:
        raise MissingToolError(
            "The engine pynx needs PyNX, which this environment lacks: install Debian's package python3-pynx "
            "(bookworm-backports, trixie or later) and run `make pynx`."
        ) from None
    return Engine("pynx", __version__, amplitude, concurrent=False)
