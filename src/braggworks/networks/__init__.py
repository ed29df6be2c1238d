"""One module per published network; a new one is a file here and a line in `NETWORKS`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from braggworks.config import NetworkConfig
from braggworks.networks.base import Network
from braggworks.networks.patch_inpainter_3d import PatchInpainter3D

__all__ = ["NETWORKS", "Network", "build"]

NETWORKS: dict[str, Callable[[NetworkConfig], Network]] = {
    "patch_inpainter_3d": PatchInpainter3D.from_config,
}


def build(config: NetworkConfig, seed: int = 0) -> Network:
    """Build a network with fresh weights.

    Parameters
    ----------
    config
        Its name and options.
    seed
        Seeds the initial weights; the global random state is left as it was.

    Returns
    -------
    Network
        On the CPU, in the memory order in which 3-D convolutions of few channels are fastest there.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS[config.name](config)
    # torch's annotation of `to` lacks the memory format of modules.
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[no-any-return, call-overload]
