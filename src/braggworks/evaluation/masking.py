"""Ways to hide a gap from phase retrieval, or to fill it, and what the phased object then shows.

After M. Masto's thesis, 3.8.1: the gap's amplitudes are left free, or free along the streaks only, or taken for zeros,
or filled. Arrays are (z, y, x), with the peak and the object's centre near voxel n//2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter

from braggworks.datasets.gaps import cross_gap
from braggworks.evaluation.gap_artefacts import AXIS, Diffracted, WholeFill
from braggworks.evaluation.oversampling import MOST
from braggworks.evaluation.real_space import strain
from braggworks.inpainting.interpolation import interpolate
from braggworks.phasing.alignment import align
from braggworks.phasing.likelihood import free_voxels
from braggworks.phasing.schedule import Pattern, Phased
from braggworks.seeds import generator

Complex = NDArray[np.complexfloating[Any, Any]]
Bool = NDArray[np.bool_]

COMPLETE = "complete"
"""Strategy of the pattern without a gap."""

_SUPPORT = 0.3  # modulus, relative to the largest, above which a voxel belongs to the object
_STREAK = 1.0  # expected counts above which a voxel of the gap lies on a streak
_SMOOTH_PX = 1.5
_MARGIN = 3


PhaseAll = Callable[[Pattern, int], Phased]
"""Phases a pattern from several starts that a seed names, and returns the best run."""


class Strategy(NamedTuple):
    """What phase retrieval is given."""

    counts: NDArray[np.float32]
    mask: Bool  # true where the amplitude is free


def mask_strategies(
    intensity: NDArray[np.floating[Any]], fills: Mapping[str, WholeFill], width: int, offset: int, seed: int
) -> tuple[dict[str, Strategy], Bool]:
    """Return one pattern with a cross gap as phase retrieval may see it, by strategy.

    Parameters
    ----------
    intensity
        Noise-free, of any scale; it is scaled to a maximum of `MOST`, and Poisson noise is drawn.
    fills
        What fills the gap, by name.
    width, offset
        Of the cross in pixels, and from the peak to its first pixel along y and x.
    seed
        Of the noise.

    Returns
    -------
    strategies
        ``complete`` has no gap; in ``free`` its amplitudes are free; in ``streaks`` those are where the surroundings
        let a count be expected, the others are 0; in ``zeros`` all are 0; and one more for each of `fills`.
    gap
        True in the gap.
    """
    counts = generator("masking", seed).poisson(intensity * (MOST / intensity.max())).astype(np.float32)
    centre = counts.shape[1] // 2 + offset
    gap = cross_gap(counts.shape, (centre, counts.shape[2] // 2 + offset), width)
    hidden, nowhere = np.where(gap, np.float32(0), counts), np.zeros_like(gap)
    around = gaussian_filter(np.expm1(np.maximum(interpolate(np.log1p(hidden), gap), 0)), _SMOOTH_PX)
    found = {
        COMPLETE: Strategy(counts, nowhere),
        "free": Strategy(hidden, gap),
        "streaks": Strategy(hidden, gap & (around > _STREAK)),
        "zeros": Strategy(hidden, nowhere),
    }
    found |= {name: Strategy(np.asarray(fill(hidden, gap), np.float32), nowhere) for name, fill in fills.items()}
    return found, gap


def score_masking(
    particles: Sequence[Diffracted],
    fills: Mapping[str, WholeFill],
    phase: PhaseAll,
    width: int,
    offset: int,
) -> xr.Dataset:
    """Phase the patterns of several particles under every strategy, and compare the objects with the truth.

    Parameters
    ----------
    particles
        The truth.
    fills
        What fills the gap, by name.
    phase
        Phases one pattern; the same starts and voxels kept out for all strategies of a particle.
    width, offset
        As for `mask_strategies`.

    Returns
    -------
    xarray.Dataset
        That of `score_strategies` for the first particle, but for ``strain_rmse``, ``modulus_rmse`` and ``free_llk``
        (strategy, particle), NaN where a truth has none or all runs diverged.
    """
    pictures, errors = [], []
    for number, particle in enumerate(particles):
        strategies, gap = mask_strategies(np.abs(particle.amplitude) ** 2, fills, width, offset, number)
        free = free_voxels(gap.shape, gap, generator("masking", number, "free"))
        runs = {name: phase(Pattern(*each, free), number) for name, each in strategies.items()}
        scores = score_strategies({name: run.found for name, run in runs.items()}, particle, gap)
        scores["free_llk"] = ("strategy", [np.nan, *(run.free_llk for run in runs.values())])
        pictures.append(scores)
        errors.append(scores[["strain_rmse", "modulus_rmse", "free_llk"]])
    together = xr.concat(errors, "particle").transpose("strategy", "particle")
    return pictures[0].drop_vars(list(together.data_vars)).merge(together).assign_attrs(n=len(particles), gap_px=width)


def score_strategies(phased: Mapping[str, Complex], particle: Diffracted, gap: Bool) -> xr.Dataset:
    """Compare what was phased by every strategy with the object that was diffracted.

    Parameters
    ----------
    phased
        Objects by strategy.
    particle
        The truth.
    gap
        True in the gap of the pattern.

    Returns
    -------
    xarray.Dataset
        By strategy: ``strain_rmse`` of the strain along G inside the object, and ``modulus_rmse`` relative to the mean
        modulus there; in the plane through the centre ``modulus``, ``strain`` and ``support`` (y, x), those of the
        truth under the name ``truth``; and ``projection``, the calculated counts summed along z (q_y, q_x).
    """
    amplitude = np.asarray(particle.amplitude)
    truth = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(amplitude)))
    modulus = np.abs(truth)
    support = modulus > _SUPPORT * modulus.max()
    inside = binary_erosion(support)
    names = ["truth", *phased]
    objects = [truth, *(align(found, truth, fine=False) for found in phased.values())]
    # The scale of a reconstruction is that of its counts.
    objects = [each * (np.sqrt((modulus[support] ** 2).sum() / (np.abs(each[support]) ** 2).sum())) for each in objects]
    strains = [strain(each, particle.g_per_angstrom, particle.voxel_angstrom, AXIS) for each in objects]
    errors = np.array([np.sqrt(np.mean((each - strains[0])[inside] ** 2)) for each in strains])
    moduli = np.array([np.sqrt(np.mean((np.abs(each) - modulus)[inside] ** 2)) for each in objects])
    box = _around(support)
    patterns = [np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(each)))) ** 2 for each in objects]
    scale = MOST / patterns[0].max()
    planes = ("strategy", "y", "x")
    return xr.Dataset(
        {
            "strain_rmse": ("strategy", errors, {"units": "1"}),
            "modulus_rmse": ("strategy", moduli / modulus[inside].mean(), {"units": "1"}),
            "modulus": (planes, np.stack([np.abs(each)[box] for each in objects]) / modulus[inside].mean()),
            "strain": (planes, np.stack([each[box] for each in strains]), {"units": "1"}),
            "support": (("y", "x"), support[box]),
            "projection": (("strategy", "q_y", "q_x"), np.stack([each.sum(axis=0) * scale for each in patterns])),
            "gap": (("q_y", "q_x"), gap.all(axis=0)),
        },
        {"strategy": names},
        {"kind": "masking"},
    )


def _around(support: Bool) -> tuple[int | slice, ...]:
    """Return the index of the plane through the centre, cut to the object."""
    middle = support.shape[0] // 2
    rows, columns = (np.flatnonzero(support[middle].any(axis=axis)) for axis in (1, 0))
    return (middle, *(slice(max(0, each[0] - _MARGIN), each[-1] + _MARGIN + 1) for each in (rows, columns)))
