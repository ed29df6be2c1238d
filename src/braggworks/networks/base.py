"""What every network offers to the training loop, to inpainting, and to phasing."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from braggworks.campaigns import Task


class Network(nn.Module):
    """A network of any task."""

    task: ClassVar[Task]
    """What it learns."""

    ndim: ClassVar[int] = 3
    """Dimensions of its patches."""

    multiple: ClassVar[int] = 1
    """Patches must have a multiple of this many voxels per axis."""

    memory_format: ClassVar[torch.memory_format] = torch.channels_last_3d
    """Memory order in which its convolutions are fastest."""

    stored: ClassVar[torch.dtype] = torch.float32
    """What its trained weights are rounded to, in files; it computes in float32."""

    def parameter_count(self) -> int:
        """Return the number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())


class GapNetwork(Network):
    """Fills the gaps of normalised patches.

    Its ``forward`` is called with ``values``, the patches scaled to [0, 1] with their gaps set to 0 (or to an
    interpolation, if `uses_prior`), and ``mask``, 1 in the gaps; both float32 of shape (batch, 1, z, y, x). It returns
    whole patches of the same shape. Those of a 2-D network are (batch, 1, y, x).
    """

    task: ClassVar[Task] = "inpaint"

    absolute: ClassVar[bool] = False
    """Whether ``values`` are ``log(1 + counts)`` as they are, because the network knows about noise."""

    uses_prior: bool = False
    """Whether the gaps of ``values`` hold a linear interpolation."""

    def fill(self, values: Tensor, mask: Tensor) -> Tensor:
        """Return filled patches (batch, 1, z, y, x); a 2-D network fills each plane z by itself."""
        if self.ndim == 3:
            filled: Tensor = self(values, mask)
            return filled
        planes = (x.movedim(2, 1).flatten(0, 1) for x in (values, mask))
        return self(*planes).unflatten(0, (len(values), -1)).movedim(1, 2)  # type: ignore[no-any-return]


class RspNetwork(Network):
    """Finds reciprocal-space phases, of whole patterns or of patches."""

    task: ClassVar[Task] = "phase"


class PatchPhaseNetwork(RspNetwork):
    """Finds the reciprocal-space phase of cubes cut from patterns, of some with a part of their phase as a guess."""

    patch: ClassVar[int] = 32
    """Voxels per axis of a cube."""

    @abstractmethod
    def forward(self, values: Tensor, guess: Tensor, known: Tensor) -> Tensor:
        """Return phases in radians, of any whole turn.

        Parameters
        ----------
        values
            log(1 + counts), scaled to [0, 1] cube by cube, (batch, 1, z, y, x).
        guess
            Phase in radians where `known` is 1; the same shape.
        known
            1 where there is a guess, 0 elsewhere; a cube without any is the one around the peak.

        Returns
        -------
        Tensor
            Of the same shape, also where it was known.
        """


class PhaseNetwork(RspNetwork):
    """Finds the reciprocal-space phase of whole patterns."""

    def phases_by_stage(self, values: Tensor, counts: Tensor) -> Tensor:
        """Return phases in radians, of any whole turn, each stage's better than the one's before; most have one stage.

        Parameters
        ----------
        values
            log(1 + counts), scaled to [0, 1] pattern by pattern, the peak at voxel n//2: (batch, 1, z, y, x), or
            (batch, 1, y, x) in two dimensions.
        counts
            The same shape; for networks that need the measured moduli as they are.

        Returns
        -------
        Tensor
            (stages, batch, 1, z, y, x), or (stages, batch, 1, y, x); for patterns whose object is centred.
        """
        phases: Tensor = self(values)
        return phases[None]
