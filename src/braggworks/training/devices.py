"""Where training computes, and how exactly."""

from __future__ import annotations

import torch

from braggworks.errors import ConfigError
from braggworks.training.world import World


def choose_device(asked: str, world: World) -> torch.device:
    """Return the CPU, or this process's GPU.

    Parameters
    ----------
    asked
        ``cpu``; ``cuda``; or ``auto`` for a GPU where torch sees one.
    world
        The processes: those of a machine take one GPU each.

    Raises
    ------
    ConfigError
        If torch sees no GPU, or fewer than there are processes.
    """
    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not gpus:
        raise ConfigError(
            "training.device is cuda and torch sees no GPU: set it to auto or cpu, or run where there is one, "
            "with the CUDA build of torch."
        )
    if world.own_share and gpus == 1:
        return torch.device("cuda", 0)  # srun showed each process its own
    if world.local_size > gpus:
        raise ConfigError(
            f"{world.local_size} training processes share a machine with {gpus} GPU{'s' * (gpus > 1)}: set "
            "training.processes to the number of GPUs, or training.device to cpu."
        )
    return torch.device("cuda", world.local_rank)


def prepare_torch(threads: int, device: torch.device) -> None:
    """Set the number of threads, and let equal steps give equal results."""
    torch.set_num_threads(threads)
    # Some operations have no reproducible version on a GPU: there, torch only warns.
    torch.set_deterministic_debug_mode("warn" if device.type == "cuda" else "error")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if device.type == "cuda":
        torch.cuda.set_device(device)
        # float32 means float32: by default, convolutions on recent GPUs round their input to 10 bits.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
