"""One module per published network; a new one is a file here and a line in the table of its task."""

from __future__ import annotations

from collections.abc import Callable

import torch

from braggworks.config import NetworkConfig
from braggworks.networks.base import GapNetwork, Network, PatchPhaseNetwork, PhaseNetwork, RspNetwork
from braggworks.networks.block_rsp_unet_3d import BlockRspUNet3D
from braggworks.networks.msd_net_2d import MSDNet2D
from braggworks.networks.patch_inpainter_3d import PatchInpainter3D
from braggworks.networks.plane_network import PlaneNetwork
from braggworks.networks.rsp_cascade_3d import RspCascade3D
from braggworks.networks.rsp_patches_3d import RspPatches3D
from braggworks.networks.rsp_unet_2d import RspUNet2D
from braggworks.networks.rsp_unet_3d import RspUNet3D
from braggworks.networks.unet_2d import ModifiedUNet2D, UNet2D

__all__ = [
    "GAP_NETWORKS",
    "NETWORKS",
    "PHASE_NETWORKS",
    "GapNetwork",
    "Network",
    "PatchPhaseNetwork",
    "PhaseNetwork",
    "RspNetwork",
    "build",
]

GAP_NETWORKS: dict[str, Callable[[NetworkConfig], GapNetwork]] = {
    "patch_inpainter_3d": PatchInpainter3D.from_config,
    "plane_network": PlaneNetwork.from_config,
    "unet_2d": UNet2D.from_config,
    "modified_unet_2d": ModifiedUNet2D.from_config,
    "msd_net_2d": MSDNet2D.from_config,
}

PHASE_NETWORKS: dict[str, Callable[[NetworkConfig], RspNetwork]] = {
    "rsp_unet_2d": RspUNet2D.from_config,
    "rsp_unet_3d": RspUNet3D.from_config,
    "block_rsp_unet_3d": BlockRspUNet3D.from_config,
    "rsp_patches_3d": RspPatches3D.from_config,
    "rsp_cascade_3d": RspCascade3D.from_config,
}

NETWORKS: dict[str, Callable[[NetworkConfig], Network]] = {**GAP_NETWORKS, **PHASE_NETWORKS}


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
        On the CPU, in the memory order in which convolutions are fastest there.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS[config.name](config)
    # torch's annotation of `to` lacks the memory format of modules.
    return network.to(memory_format=network.memory_format)  # type: ignore[no-any-return, call-overload]
