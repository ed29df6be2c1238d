"""What the detector makes of an intensity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from braggworks.errors import ConfigError

_MOST = np.iinfo(np.uint32).max


def poisson_counts(
    intensity: npt.NDArray[np.floating], total_counts: float, rng: np.random.Generator
) -> npt.NDArray[np.uint32]:
    """Return photon counts with Poisson noise.

    Parameters
    ----------
    intensity
        Intensity in any unit, any shape; finite and not negative, with a positive sum.
    total_counts
        Expected sum of the counts.
    rng
        Source of the noise.

    Returns
    -------
    ndarray
        Counts, shape of `intensity`, uint32.

    Raises
    ------
    ValueError
        If the intensity is negative, not finite, or zero everywhere.
    ConfigError
        If a voxel gets more counts than 32 bits hold.
    """
    expected = np.asarray(intensity, dtype=np.float64)
    total = expected.sum()
    if not np.isfinite(total) or expected.min() < 0 or total <= 0:
        raise ValueError("an intensity must be finite and not negative, with a positive sum")
    counts = np.asarray(rng.poisson(expected * (total_counts / total)))
    if counts.max() > _MOST:
        raise ConfigError(
            f"total_counts {total_counts:g} puts {counts.max()} counts into one voxel, and a pattern holds at most "
            f"{_MOST}: use a smaller detector.total_counts."
        )
    return counts.astype(np.uint32)
