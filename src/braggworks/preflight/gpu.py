"""Whether there is a GPU where the configuration asks for one."""

from __future__ import annotations

from pathlib import Path

from braggworks.config import Config
from braggworks.errors import UserError
from braggworks.preflight.profiles import Profile

# NVIDIA's driver, AMD's, and NVIDIA's under the Windows subsystem for Linux.
_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def check_gpu(config: Config, profile: Profile) -> None:
    """Raise `UserError` where jobs run on this machine, are to compute on a GPU, and it has none."""
    if profile.executor != "local" or any(Path(device).exists() for device in _DEVICES):
        return
    parts = [(f"Campaign {campaign.name!r}", campaign) for campaign in config.campaigns]
    for what, part in [*parts, ("The training", config.training)]:
        if getattr(part, "device", "cpu") == "cuda":
            raise UserError(
                f"{what} asks for the device cuda, and this machine has no GPU ({_DEVICES[0]} is absent): write "
                "device: cpu, or run where there is one."
            )
