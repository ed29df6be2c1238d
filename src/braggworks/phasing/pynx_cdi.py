"""Iterative phase retrieval by PyNX (Favre-Nicolin et al., J. Appl. Cryst. 53, 1404 (2020), 10.1107/S1600576720010985).

PyNX is imported when something is phased, by its scipy backend, which is the one that needs no GPU.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# As published for the standard runs: M. Masto's thesis, 4.5.
_AUTOCORRELATION = (0.09, 0.11)
_SMOOTH_WIDTH = (2.0, 0.5, 600)
_POST_EXPAND = (1, -2)
_FREE = 0.02
_LARGEST_SUPPORT = 0.5


@dataclass(frozen=True)
class Schedule:
    """Cycles of each algorithm, one after the other, and how the support follows the object.

    Parameters
    ----------
    hio, raar, er
        Cycles of hybrid input-output, relaxed averaged alternating reflections, and error reduction.
    threshold
        Share of the root mean square modulus above which a voxel stays in the support.
    period
        Cycles between updates of the support.
    """

    hio: int
    raar: int
    er: int
    threshold: float
    period: int


@dataclass(frozen=True)
class Phased:
    """A reconstruction.

    Parameters
    ----------
    found
        (z, y, x) complex object, its centre near voxel n // 2.
    support
        (z, y, x), true inside.
    free_llk
        Poisson log-likelihood of voxels that took no part (Favre-Nicolin et al., Sci. Rep. 10, 2664 (2020),
        10.1038/s41598-020-57561-2); lower is better. Not comparable with that of PyNX on a GPU.
    """

    found: NDArray[np.complex64]
    support: NDArray[np.bool_]
    free_llk: float


def phase(counts: NDArray[Any], mask: NDArray[np.bool_], schedule: Schedule, seed: int) -> Phased:
    """Phase one pattern from a random start inside its autocorrelation.

    Parameters
    ----------
    counts
        (z, y, x), with the peak near voxel n // 2.
    mask
        True where the amplitude is free, because nothing was measured.
    schedule
        What is done.
    seed
        Of the random start; PyNX draws from numpy's global generator, which is set to it.

    Raises
    ------
    ImportError
        If PyNX is not installed.
    """
    os.environ["PYNX_PU"] = "cpu"
    from pynx import cdi as pynx

    np.random.seed(seed)  # noqa: NPY002 - the generator that PyNX draws from
    cdi = pynx.CDI(np.fft.fftshift(counts).astype(np.float32), mask=np.fft.fftshift(mask).astype(np.int8))
    for start in (
        pynx.InitFreePixels(ratio=_FREE),
        pynx.AutoCorrelationSupport(threshold=_AUTOCORRELATION),
        pynx.InitObjRandom(src="support", amin=0.8, amax=1, phirange=0.5),
        pynx.ScaleObj(method="F"),
    ):
        cdi = start * cdi
    update = pynx.SupportUpdate(
        threshold_relative=schedule.threshold,
        smooth_width=_SMOOTH_WIDTH,
        post_expand=_POST_EXPAND,
        max_fraction=_LARGEST_SUPPORT,
    )
    for algorithm, cycles in ((pynx.HIO, schedule.hio), (pynx.RAAR, schedule.raar), (pynx.ER, schedule.er)):
        for begun in range(0, cycles, schedule.period):
            cdi = algorithm(calc_llk=0) ** min(schedule.period, cycles - begun) * cdi
            cdi = update * cdi
    # Voxels without a count have no logarithm, which PyNX takes and drops.
    with np.errstate(divide="ignore", invalid="ignore"):
        cdi = pynx.LLK() * cdi
    free = cdi.get_llk()[3]
    return Phased(cdi.get_obj(shift=True).astype(np.complex64), cdi.get_support(shift=True) > 0, float(free))
