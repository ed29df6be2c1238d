"""The amplitude as a plain sum over atoms in double precision: slow, and the reference for the engines."""

from __future__ import annotations

import numpy as np

from braggworks.diffraction.engines import ComplexArray, FloatArray

_PAIRS = 1 << 22  # atoms times scattering vectors held in memory at a time


def direct_sum(positions: FloatArray, q: FloatArray) -> ComplexArray:
    """Return F(q) = sum_j exp(-2 pi i q . r_j).

    Parameters
    ----------
    positions
        Atoms, shape (N, 3), in angstrom.
    q
        Scattering vectors, shape (..., 3), in 1/angstrom.

    Returns
    -------
    ndarray
        F, shape (...), complex128.
    """
    flat = q.reshape(-1, 3)
    result = np.empty(len(flat), dtype=np.complex128)
    step = max(1, _PAIRS // max(1, len(positions)))
    for start in range(0, len(flat), step):
        turns = np.mod(flat[start : start + step] @ positions.T, 1.0)
        result[start : start + step] = np.exp(-2j * np.pi * turns).sum(axis=1)
    return result.reshape(q.shape[:-1])
