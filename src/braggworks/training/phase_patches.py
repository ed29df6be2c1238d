"""Patches of patterns with their phase, to train on: cubes on shells around the peak (M. Masto's thesis, 4.6.2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from braggworks.networks.base import PatchPhaseNetwork
from braggworks.phasing.shells import Cube, known_before, shells_of
from braggworks.seeds import identity_digest
from braggworks.training.normalisation import phase_values
from braggworks.training.phase_samples import PhaseSamples

CENTRAL = 0.25
"""Share of the patches that lie around the peak; the others are on a shell, every one as often."""

LEAST_COUNTS = 100
"""In the voxels whose phase a patch is to say; with fewer, that phase is noise, and so would be what is learned."""


class PhasePatch(NamedTuple):
    """One patch (z, y, x), or a batch of them, (batch, 1, z, y, x)."""

    values: Tensor  # what the network sees
    truth: Tensor  # phase in radians
    counts: Tensor
    guess: Tensor  # the truth where it is known, 0 elsewhere
    known: Tensor  # 1 where a shell within says it


class PhasePatches(PhaseSamples):
    """One patch of each pattern of a split, drawn anew in every epoch, addressed by (epoch, index).

    Patterns are turned and mirrored as in `PhaseSamples`, whose parameters these are, and half of the patches with a
    guess show the twin. A patch with fewer than `LEAST_COUNTS` to say is drawn anew from the shell within. Without a
    seed, the patches are the same in every epoch.
    """

    def __getitem__(self, key: tuple[int, ...]) -> PhasePatch:  # type: ignore[override]
        epoch, index = key if self._seed is not None else (0, key[1])
        whole = super().__getitem__((epoch, index))
        rng = np.random.default_rng(identity_digest("phase patch", self._seed or 0, epoch, index))
        shells, _ = shells_of(tuple(whole.counts.shape), PatchPhaseNetwork.patch)
        central = len(shells) == 1 or rng.random() < CENTRAL
        shell = 0 if central else int(rng.integers(1, len(shells)))
        cube, known = _drawn(whole.counts, shell, rng)
        sign = -1 if not central and rng.random() < 0.5 else 1
        there, truth = whole.counts[cube].contiguous(), sign * whole.truth[cube].contiguous()
        return PhasePatch(phase_values(there), truth, there, truth * known, known)


def _drawn(counts: Tensor, shell: int, rng: np.random.Generator) -> tuple[Cube, Tensor]:
    """Return a cube of a shell, or of one within if it is dark, and what is known there."""
    shape, size = tuple(counts.shape), PatchPhaseNetwork.patch
    shells, _ = shells_of(shape, size)
    while True:
        cube = shells[shell][rng.integers(len(shells[shell]))]
        known = torch.from_numpy(known_before(shape, size, shell)[cube].copy())
        if shell <= 1 or float((counts[cube] * (1 - known)).sum()) >= LEAST_COUNTS:
            return cube, known
        shell -= 1
