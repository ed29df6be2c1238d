"""Training samples of patterns with their reciprocal-space phase, turned and mirrored at random."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from braggworks.config import PhaseLossConfig
from braggworks.seeds import identity_digest
from braggworks.training.normalisation import phase_values
from braggworks.training.samples import Patches, Samples
from braggworks.training.turns import turned


class PhaseSample(NamedTuple):
    """One sample (z, y, x) or (y, x), or a batch of them with two axes before, (batch, 1)."""

    values: Tensor  # what the network sees
    truth: Tensor  # phase in radians
    counts: Tensor


class PhaseSamples(Samples):
    """Whole patterns of one split, addressed by (epoch, index).

    Parameters
    ----------
    patches
        The split, of the task phase.
    loss
        What is done to the labels.
    seed
        Seeds the random turns; ``None`` for none.
    in_memory, readers, pin
        As for `Samples`.
    """

    def __init__(
        self,
        patches: Patches,
        loss: PhaseLossConfig,
        *,
        seed: int | None = None,
        in_memory: bool = True,
        readers: int = 2,
        pin: bool = False,
    ) -> None:
        self._patches, self._loss, self._seed = patches, loss, seed
        self._readers, self._pin = 0 if in_memory else readers, pin
        self._all = patches.load_all() if in_memory else None

    def __getitem__(self, key: tuple[int, ...]) -> PhaseSample:  # type: ignore[override]
        epoch, index = key
        if self._all is None:
            counts, truth = self._patches[index]
        else:
            counts, truth = (torch.from_numpy(part[index].astype(np.float32)) for part in self._all)
        if self._loss.kind == "unwrapped":
            truth = torch.from_numpy(_unwrapped(truth.numpy()))
        sample = PhaseSample(phase_values(counts), truth, counts)
        if self._seed is not None:
            turn = identity_digest("augment", self._seed, epoch, index)
            sample = PhaseSample(*(turned(part, turn) for part in sample))
        # A mirror image has another sign beside the peak, so that turning comes first.
        return sample._replace(truth=without_symmetries(sample.truth)) if self._loss.remove_symmetries else sample


def without_symmetries(phase: Tensor) -> Tensor:
    """Return a phase that is 0 at the peak, and whose neighbour along the last axis is positive.

    A constant is subtracted, and the sign is chosen, as in Masto's thesis, section 4.4.4.
    """
    peak = tuple(n // 2 for n in phase.shape)
    beside = (*peak[:-1], peak[-1] + max(1, phase.shape[-1] // 16))
    wrapped = torch.remainder(phase - phase[peak] + math.pi, 2 * math.pi) - math.pi
    return -wrapped if wrapped[beside] < 0 else wrapped


def _unwrapped(phase: NDArray[Any]) -> NDArray[np.float32]:
    from skimage.restoration import unwrap_phase

    unwrapped = unwrap_phase(phase)  # type: ignore[no-untyped-call]
    return np.asarray(unwrapped, np.float32)
