"""The engine `nufft`: a type-1 non-uniform fast Fourier transform in double precision, by finufft.

Barnett, Magland & af Klinteberg, SIAM J. Sci. Comput. 41, C479 (2019), doi:10.1137/18M120885X.
"""

from __future__ import annotations

import finufft
import numpy as np

from braggworks.diffraction.engines import ComplexArray, Engine, FloatArray

# Two digits below the promised 1e-6 of the peak, because a strained peak is far below the number of atoms.
TOLERANCE = 1e-8
# The smaller upsampled grid is up to 8 times faster at 128^3, and exact enough for this tolerance.
UPSAMPLING = 1.25


def amplitude(positions: FloatArray, centre: FloatArray, dq: float, n: int, threads: int) -> ComplexArray:
    """Return the kinematic amplitude; see `braggworks.diffraction.engines.Amplitude`.

    One thread computes it, whatever `threads` allows: with more, finufft adds in an order that changes from run to run.
    """
    del threads
    # Whole turns are dropped before the exponential, where they would cost digits.
    strength = np.exp(-2j * np.pi * np.mod(positions @ centre, 1.0))
    z, y, x = np.ascontiguousarray(2 * np.pi * dq * positions.T[::-1])
    result: ComplexArray = finufft.nufft3d1(
        z, y, x, strength, (n, n, n), eps=TOLERANCE, isign=-1, modeord=0, upsampfac=UPSAMPLING, nthreads=1
    )
    return result


def load() -> Engine:
    """Return the engine."""
    return Engine("nufft", finufft.__version__, amplitude, concurrent=True)
