"""The best of several reconstructions, what they have in common, and how far they agree.

Arrays are (z, y, x) or (y, x), with the object's centre near voxel n // 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from braggworks.errors import PhasingError
from braggworks.phasing.alignment import align
from braggworks.phasing.schedule import Pattern, Phased

Criterion = Literal["free_llk", "mean_to_max"]
Complex = NDArray[np.complexfloating[Any, Any]]


def mean_to_max(run: Phased) -> float:
    """Return the mean modulus in the support over the largest: near 1 for a homogeneous crystal."""
    modulus = np.abs(run.found[run.support])
    return float(modulus.mean() / modulus.max()) if modulus.size and modulus.max() > 0 else 0.0


def best(runs: Sequence[Phased], number: int, criterion: Criterion = "free_llk") -> list[Phased]:
    """Return the best runs, the best first, of those that did not diverge.

    Parameters
    ----------
    runs
        Of one pattern, with the same free voxels.
    number
        How many at most.
    criterion
        ``free_llk``: the lowest; ``mean_to_max``: the highest.

    Raises
    ------
    PhasingError
        If all have diverged.
    """
    keys: dict[str, Callable[[Phased], float]] = {
        "free_llk": lambda run: run.free_llk,
        "mean_to_max": lambda run: -mean_to_max(run),
    }
    kept = sorted((run for run in runs if not run.why_diverged), key=keys[criterion])
    if not kept:
        raise PhasingError(
            f"All {len(runs)} runs diverged, the first because {runs[0].why_diverged}: raise the support's threshold, "
            "or check that the scan is centred and oversampled."
        )
    return kept[:number]


def aligned(objects: Sequence[Complex]) -> list[Complex]:
    """Return the objects, all moved onto the first."""
    return [np.asarray(objects[0], np.complex128), *(align(each, objects[0]) for each in objects[1:])]


def modes(objects: Sequence[Complex]) -> tuple[Complex, NDArray[np.float64]]:
    """Combine aligned reconstructions into orthogonal modes (Favre-Nicolin et al. 2020, as PyNX does).

    Parameters
    ----------
    objects
        Aligned.

    Returns
    -------
    modes
        (mode, z, y, x), the strongest first; of the scale and the mean phase of the objects.
    weights
        Share of the sum of squares in each mode; the first says how far the objects agree.
    """
    flat = np.stack([np.ravel(each) for each in objects])
    values, vectors = np.linalg.eigh(flat.conj() @ flat.T)
    order = np.argsort(values)[::-1]
    found = vectors[:, order].T @ flat
    turn = np.exp(1j * np.angle(np.array([np.vdot(mode, flat.sum(axis=0)) for mode in found])))
    found = found * turn[:, None] / np.sqrt(len(objects))
    shares = np.clip(values[order], 0, None)
    return found.reshape(len(objects), *np.shape(objects[0])), shares / shares.sum()


def prtf(objects: Sequence[Complex], pattern: Pattern) -> tuple[NDArray[np.float64], ...]:
    """Return the phase retrieval transfer function: how far the phases of aligned reconstructions agree, by |q|.

    |mean of the transforms| over the mean of their moduli, averaged in shells: 1 where all have the same phase, about
    1 / sqrt(number) where none has another's. It is that of Chapman et al., J. Opt. Soc. Am. A 23, 1179 (2006),
    10.1364/JOSAA.23.001179, which divides by the measured modulus, that every reconstruction would have; dividing by
    their own, it does not depend on noise and coherence.

    Parameters
    ----------
    objects
        Aligned.
    pattern
        What was measured; only measured voxels are averaged.

    Returns
    -------
    q
        Middle of each shell, one voxel thick, in units of the nearest edge's distance.
    values
        Of the transfer function; NaN where nothing was measured, and throughout for a single object, which nothing
        says how far to trust.
    """
    waves = np.stack([np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(each))) for each in objects])
    used = ~(pattern.mask | pattern.free) & (np.abs(waves).sum(axis=0) > 0)
    ratio = (np.abs(waves.mean(axis=0)) / np.abs(waves).mean(axis=0).clip(min=1e-30))[used]
    grids = np.meshgrid(*((np.arange(n) - n // 2) / (n // 2) for n in pattern.counts.shape), indexing="ij")
    radius = np.sqrt(sum(grid**2 for grid in grids))[used]
    bins = min(pattern.counts.shape) // 2
    edges = np.linspace(0, 1, bins + 1)
    number, _ = np.histogram(radius, edges)
    total, _ = np.histogram(radius, edges, weights=ratio)
    values = np.divide(total, number, out=np.full(bins, np.nan), where=number > 0)
    return (edges[:-1] + edges[1:]) / 2, values if len(objects) > 1 else np.full(bins, np.nan)


def chance_prtf(number: int) -> float:
    """Return the transfer function of so many reconstructions whose phases know nothing of each other, about.

    The mean length of the mean of `number` random phasors, sqrt(pi / 4 number) (Rayleigh); NaN for one.
    """
    return float(np.sqrt(np.pi / (4 * number))) if number > 1 else float("nan")
