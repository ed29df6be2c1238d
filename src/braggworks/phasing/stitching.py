"""The phase of a whole pattern, patch by patch and shell by shell from the peak outwards (M. Masto's thesis, 4.6.5)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from braggworks.networks import PatchPhaseNetwork
from braggworks.phasing.shells import Cube, known_before, shells_of
from braggworks.training.normalisation import phase_values

_BATCH = 16


def stitch(network: PatchPhaseNetwork, counts: Tensor, guess: Tensor | None = None) -> Tensor:
    """Return the phase of a pattern.

    Each patch is given the phase that the shells within found for its voxels, and says that of the others; where
    patches of a shell overlap, the mean of their phase factors is taken. Voxels that no patch reaches get 0.

    Parameters
    ----------
    network
        Trained.
    counts
        (z, y, x), the peak at voxel n // 2.
    guess
        Phase that patches are given instead of what was found, the truth for instance; the same shape.

    Returns
    -------
    Tensor
        (z, y, x), in radians.
    """
    shape, size = tuple(counts.shape), network.patch
    shells, _ = shells_of(shape, size)
    total = torch.zeros(counts.shape, dtype=torch.complex64)
    for number, cubes in enumerate(shells):
        known = torch.from_numpy(known_before(shape, size, number))
        given = (total.angle() if guess is None else guess) * known
        found = torch.zeros_like(total)
        for start in range(0, len(cubes), _BATCH):
            some = cubes[start : start + _BATCH]
            for cube, phase in zip(some, predict(network, counts, given, known, some), strict=True):
                found[cube] += torch.polar(torch.ones_like(phase), phase)
        total = torch.where(known > 0, total, found)
    return total.angle()


def by_shell(
    phase: NDArray[np.floating],
    truth: NDArray[np.floating],
    counts: NDArray[np.floating],
    size: int,
    *,
    guided: bool = False,
) -> NDArray[np.float64]:
    """Return how wrong a pattern's phase is in each shell.

    Parameters
    ----------
    phase, truth
        (z, y, x), in radians.
    counts
        The pattern; their roots weigh the voxels.
    size
        Voxels per axis of the patches.
    guided
        Whether patches were given the truth, which fixes their sign and constant; that at the peak is given nothing.

    Returns
    -------
    ndarray
        By shell, 1 - the weighted mean of cos(difference) over the voxels that it says first: of the twin, and with the
        constant, that suit the whole pattern best, or, if guided, the patch at the peak, and nothing else.
    """
    _, first = shells_of(tuple(counts.shape), size)
    weight = np.sqrt(counts)
    free = first == 0 if guided else np.ones(first.shape, bool)
    waves = [weight * np.exp(1j * (sign * truth - phase)) for sign in (1, -1)]
    best = max(waves, key=lambda each: abs(each[free].sum()))
    wave = np.where(free, best * np.exp(-1j * np.angle(best[free].sum())), waves[0])
    inside = first >= 0
    sums, sizes = (np.bincount(first[inside], values[inside]) for values in (wave.real, weight))
    return np.asarray(1 - sums / np.maximum(sizes, np.finfo(float).tiny))


def predict(network: PatchPhaseNetwork, counts: Tensor, given: Tensor, known: Tensor, cubes: list[Cube]) -> Tensor:
    """Return the phases (patches, z, y, x) of patches of a pattern, given some of it where `known` is 1."""
    values = torch.stack([phase_values(counts[cube]) for cube in cubes])
    guess, mask = (torch.stack([part[cube] for cube in cubes]) for part in (given, known))
    with torch.inference_mode():
        found: Tensor = network(values[:, None], guess[:, None], mask[:, None])
    return found[:, 0]
