"""What the detector makes of an intensity: Poisson noise, and pixels that count nothing or far too much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from braggworks.errors import ConfigError

if TYPE_CHECKING:
    from braggworks.campaigns import DetectorConfig, Task

_MOST = np.iinfo(np.uint32).max
# A hot pixel counts per frame at least this, and at most as much as the brightest voxel or this.
_HOT_COUNTS = (100.0, 1e4)


@dataclass(frozen=True)
class Detected:
    """One pattern as counted.

    Parameters
    ----------
    counts
        (..., y, x) counts, uint32.
    bad
        (y, x), true at dead and hot pixels, the same for all leading axes (rocking angle); None where the detector
        has neither.
    total_counts
        Photons expected in the whole pattern, as drawn.
    """

    counts: npt.NDArray[np.uint32]
    bad: npt.NDArray[np.bool_] | None
    total_counts: float


def detect(
    intensity: npt.NDArray[np.floating], config: DetectorConfig, rng: np.random.Generator, task: Task = "inpaint"
) -> Detected:
    """Draw a photon budget and count a pattern with it.

    The budget is log-uniform in ``config.total_counts``; Poisson noise follows. Dead and hot pixels are drawn pixel by
    pixel and stay the same along the rocking axis. Where the task is inpaint, they only show in `Detected.bad`: the
    counts stay complete, because they are the truth that a network is to find behind the mask. Where it is phase, the
    counts are those that a measurement would hold: 0 at dead pixels, and at hot ones far more than there were photons,
    at a rate that is log-uniform between 100 counts per frame and those of the brightest voxel (at least 10 000).

    Parameters
    ----------
    intensity
        (..., y, x) intensity in any unit; finite and not negative, with a positive sum.
    config
        Photon budget, and shares of dead and hot pixels.
    rng
        Source of budget and noise. Bad pixels come from a generator spawned from it, so that neither the noise of this
        pattern nor that of the next one depends on the shares.
    task
        What the counts are for.

    Raises
    ------
    ValueError
        If the intensity is negative, not finite, or zero everywhere.
    ConfigError
        If a voxel gets more counts than 32 bits hold.
    """
    photons = float(np.exp(rng.uniform(*np.log(config.total_counts))))
    counts = poisson_counts(intensity, photons, rng)
    if not config.dead_fraction and not config.hot_fraction:
        return Detected(counts, None, photons)
    own = rng.spawn(1)[0]
    place = own.random(counts.shape[-2:])
    dead, hot = place < config.dead_fraction, place >= 1 - config.hot_fraction
    if task == "phase":
        counts = _spoil(counts, dead, hot, own)
    return Detected(counts, dead | hot, photons)


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


def _spoil(
    counts: npt.NDArray[np.uint32],
    dead: npt.NDArray[np.bool_],
    hot: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> npt.NDArray[np.uint32]:
    """Return the counts with dead pixels at 0, and noise of a constant rate added at hot ones."""
    low, high = _HOT_COUNTS
    rate = np.exp(rng.uniform(np.log(low), np.log(max(high, float(counts.max()))), np.count_nonzero(hot)))
    spoilt = counts.copy()
    spoilt[..., dead] = 0
    extra = rng.poisson(rate, (*counts.shape[:-2], len(rate)))
    spoilt[..., hot] = np.minimum(counts[..., hot].astype(np.int64) + extra, _MOST)
    return spoilt
