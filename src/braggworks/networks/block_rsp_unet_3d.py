"""Our own small network for reciprocal-space phases, which a processor can train."""

from __future__ import annotations

from typing import ClassVar, Self

from torch import Tensor

from braggworks.config import NetworkConfig
from braggworks.networks.base import PhaseNetwork
from braggworks.networks.blocks import BLOCK, BlockUNet3D

_LEVELS = (64, 96, 112, 72)


class BlockRspUNet3D(BlockUNet3D, PhaseNetwork):
    """U-Net over blocks of 4 x 4 x 4 voxels, which are its channels; see `BlockUNet3D`.

    Levels of 64, 96, 112 and 72 channels. It gives a complex number for each voxel, whose angle is the phase: unlike a
    number without bounds, it can turn around the points where the wave vanishes. 3.92 M parameters at width 1.

    Parameters
    ----------
    width
        Factor on all channel counts, in multiples of 8.
    """

    # At least two voxels at the last level, or there is nothing to normalise.
    multiple: ClassVar[int] = BLOCK * 2 ** len(_LEVELS)

    def __init__(self, width: float = 1.0) -> None:
        super().__init__(1, _LEVELS, width)

    @classmethod
    def from_config(cls, config: NetworkConfig) -> Self:
        """Build the network that a configuration describes."""
        return cls(config.width)

    def forward(self, values: Tensor) -> Tensor:
        """Return phases; see `PhaseNetwork`."""
        return super().forward(values)
