"""Where iterative phase retrieval begins: a random object in the support of the autocorrelation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from braggworks.phasing.schedule import Pattern, Schedule, Start
from braggworks.seeds import generator

_PHASE_RANGE = 0.5  # radians; a wide range starts without a shape
_MODULUS = (0.8, 1.0)


def draw_start(pattern: Pattern, schedule: Schedule, seed: int, index: int) -> Start:
    """Draw one start, which depends on the seed and its index alone.

    Parameters
    ----------
    pattern
        What was measured.
    schedule
        Ranges of the thresholds.
    seed, index
        Of the series, and of the start in it.
    """
    rng = generator("phasing", seed, index)
    support = autocorrelation_support(pattern, float(rng.uniform(*schedule.autocorrelation)))
    modulus, phase = rng.uniform(*_MODULUS, support.shape), rng.uniform(0, _PHASE_RANGE, support.shape)
    found = (support * modulus * np.exp(1j * phase)).astype(np.complex64)
    return Start(scaled(found, pattern), support, float(rng.uniform(*schedule.support.threshold)), index % found.ndim)


def autocorrelation_support(pattern: Pattern, threshold: float) -> NDArray[np.bool_]:
    """Return where the modulus of the intensity's Fourier transform exceeds a share of its maximum.

    Parameters
    ----------
    pattern
        What was measured; what was not, or is kept out, counts as 0.
    threshold
        Share of the maximum.
    """
    counts = np.where(pattern.mask | pattern.free, 0, pattern.counts).astype(np.float32)
    found = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(counts))))
    return np.asarray(found > threshold * found.max())


def scaled(found: NDArray[np.complex64], pattern: Pattern) -> NDArray[np.complex64]:
    """Return an object times the factor that fits its amplitudes best, by least squares, to the measured ones."""
    used = ~(pattern.mask | pattern.free)
    calculated = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(found), norm="ortho")))[used]
    measured = np.sqrt(pattern.counts[used])
    return np.asarray(found * ((calculated * measured).sum() / (calculated**2).sum()), np.complex64)
