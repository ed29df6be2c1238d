"""What processes that train together tell each other: sums, and whether they all see the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from braggworks.errors import UserError
from braggworks.training.world import World

MEETING_SECONDS = 300.0
"""How long processes wait for each other at the start."""

# Between two exchanges, one process may be writing its state to a slow disk.
_EXCHANGE = timedelta(minutes=30)


class LostError(UserError):
    """Another process is gone, or never came."""


class Group:
    """The processes that train together, seen by one of them; a single process exchanges nothing.

    Parameters
    ----------
    world
        The processes, which have met if they are several (`joined`).
    device
        Where this one computes.
    """

    def __init__(self, world: World | None = None, device: torch.device | None = None) -> None:
        world = world or World()
        self.rank, self.size = world.rank, world.size
        self._device = device or torch.device("cpu")

    def part(self, samples: int, piece: int = 1) -> slice:
        """Return which of a global batch's samples are this process's: as many whole pieces as others, or one less."""
        pieces = -(-samples // piece)
        return slice(piece * (pieces * self.rank // self.size), piece * (pieces * (self.rank + 1) // self.size))

    def sums(self, *values: float) -> list[float]:
        """Return the sums of numbers over all processes, the same on each."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self._device)
        self.add(tensor)
        return tensor.tolist()

    def add(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all processes, the same on each.

        Raises
        ------
        LostError
            If another process is gone.
        """
        if self.size > 1:
            self._reduce(tensor, dist.ReduceOp.SUM)

    def agree(self, what: str, content: str | bytes) -> None:
        """Check that all processes have the same content.

        Parameters
        ----------
        what
            Names it in the error.
        content
            May be of any length.

        Raises
        ------
        UserError
            If it differs.
        """
        if self.size == 1:
            return
        data = content if isinstance(content, bytes) else content.encode()
        number = int.from_bytes(hashlib.sha256(data).digest()[:7], "big")
        bounds = torch.tensor([number, -number])
        self._reduce(bounds, dist.ReduceOp.MIN)
        if int(bounds[0]) != -int(bounds[1]):
            raise UserError(
                f"The {self.size} training processes do not see the same {what}: start all with the same options, "
                "software and device, and keep all files on a disk that every node sees."
            )

    def _reduce(self, tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> None:
        try:
            dist.all_reduce(tensor, operation)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise LostError(
                f"Training process {self.rank} of {self.size} lost the others ({reason}): see what they said, and run "
                "the same command again to go on from the saved state."
            ) from error


@contextmanager
def joined(world: World, device: torch.device, seconds: float = MEETING_SECONDS) -> Iterator[Group]:
    """Meet the other processes, and part from them at the end.

    Parameters
    ----------
    world
        The processes.
    device
        Where this one computes: numbers travel by NCCL between GPUs, by gloo otherwise.
    seconds
        How long to wait for the others.

    Raises
    ------
    LostError
        If the others do not come.
    """
    if world.size == 1:
        yield Group(world, device)
        return
    try:
        limit = timedelta(seconds=seconds)
        store, rank, size = next(rendezvous(world.meeting, world.rank, world.size, timeout=limit))
        store.set(f"here/{rank}", "yes")
        store.wait([f"here/{other}" for other in range(size)], limit)
        # Both, because what the processes compare at the start is on the CPU.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_EXCHANGE)
    except (RuntimeError, ValueError, OSError) as error:
        raise LostError(
            f"Training process {world.rank} did not meet the other {world.size - 1} within {seconds:.0f} s at "
            f"{world.meeting} ({str(error).splitlines()[0]}): start all {world.size}, and let every node reach it."
        ) from error
    try:
        yield Group(world, device)
    finally:
        dist.destroy_process_group()
