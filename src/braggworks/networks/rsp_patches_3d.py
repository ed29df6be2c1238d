"""Two networks that find reciprocal-space phases patch by patch, after M. Masto's thesis, 4.6."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from braggworks.config import NetworkConfig
from braggworks.networks.base import PatchPhaseNetwork
from braggworks.networks.blocks import BlockUNet3D

_LEVELS = (80, 104, 128)


class RspPatches3D(PatchPhaseNetwork):
    """A network for the patch around the peak, and one for the others, which see a part of their phase as a guess.

    As published, both have the same layers, about 3.5 million parameters each, and the second one sees the guess and a
    mask of it beside the intensity. The layers are our own (`BlockUNet3D`, levels of 80, 104 and 128 channels), and the
    guess is given as cosine and sine, which have no wraps.

    Parameters
    ----------
    width
        Factor on all channel counts, in multiples of 8.
    """

    multiple: ClassVar[int] = 32

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.central = BlockUNet3D(1, _LEVELS, width)
        self.outer = BlockUNet3D(4, _LEVELS, width)

    @classmethod
    def from_config(cls, config: NetworkConfig) -> Self:
        """Build the network that a configuration describes."""
        return cls(config.width)

    def forward(self, values: Tensor, guess: Tensor, known: Tensor) -> Tensor:
        """Return phases; see `PatchPhaseNetwork`."""
        guided = known.flatten(1).any(1)
        inputs = torch.cat([values, guess.cos() * known, guess.sin() * known, known], 1)
        found = torch.empty_like(values)
        found[~guided] = self.central(values[~guided])
        found[guided] = self.outer(inputs[guided])
        return found
