"""The engine `nufft`: a type-1 non-uniform fast Fourier transform in double precision, by finufft.

Barnett, Magland & af Klinteberg, SIAM J. Sci. Comput. 41, C479 (2019), doi:10.1137/18M120885X.
"""

from __future__ import annotations

import finufft
import numpy as np

from braggworks.diffraction.engines import ComplexArray, Engine, FloatArray

# Up to so many voxels per axis: ratio of the fine grid to the asked one, and tolerance. Both err by about 1e-8 of the
# peak, two digits below the promised 1e-6, because a strained peak is far below the number of atoms. At 128, the ratio
# 1.25 gives rows of 160 = 2^5 x 5 that share cache lines, and takes twice as long; at 1.15 a tighter tolerance needs a
# wider kernel than finufft has, and is less exact.
SETTINGS = ((96, 1.25, 1e-7), (100_000, 1.15, 1e-6))


def amplitude(positions: FloatArray, centre: FloatArray, dq: float, n: int, threads: int) -> ComplexArray:
    """Return the kinematic amplitude; see `braggworks.diffraction.engines.Amplitude`.

    One thread computes it, whatever `threads` allows: with more, finufft adds in an order that changes from run to run.
    """
    del threads
    # Whole turns are dropped before the exponential, where they would cost digits.
    strength = np.exp(-2j * np.pi * np.mod(positions @ centre, 1.0))
    z, y, x = np.ascontiguousarray(2 * np.pi * dq * positions.T[::-1])
    upsampling, tolerance = next(setting[1:] for setting in SETTINGS if n <= setting[0])
    result: ComplexArray = finufft.nufft3d1(
        z, y, x, strength, (n, n, n), eps=tolerance, isign=-1, modeord=0, upsampfac=upsampling, nthreads=1
    )
    return result


def load() -> Engine:
    """Return the engine."""
    return Engine("nufft", finufft.__version__, amplitude, concurrent=True)
