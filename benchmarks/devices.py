"""shape3d at 64^3 on the GPU against one CPU core: the same draws, their rates, and the largest differences.

Runs where torch sees a GPU, and says so where it does not. Intensities are compared as a fraction of each pattern's
peak, phases where the intensity is above 1e-9 of it; both devices compute in float32.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import torch

from braggworks.config import load_campaign
from braggworks.diffraction.simulation import Simulated, simulate
from braggworks.recipes import SimulateRecipe, campaign_recipe
from braggworks.records import Record

CAMPAIGN = Path("config/campaigns/shape3d-train.yaml")
PARTICLES = 256
_FAINT = 1e-9


def measure() -> Iterator[Record]:
    """Yield rates and differences; nothing where torch sees no GPU."""
    if not torch.cuda.is_available():
        print("  torch sees no GPU here, so nothing is measured", flush=True)
        return
    recipe = cast(SimulateRecipe, campaign_recipe("simulate", load_campaign(CAMPAIGN)))
    torch.set_num_threads(1)
    made, rates = {}, {}
    for device, together in (("cpu", 1), ("cuda", 64)):
        simulate(recipe, range(together), device, together)  # loads kernels and plans
        start = time.perf_counter()
        made[device] = simulate(recipe, range(PARTICLES), device, together)
        rates[device] = PARTICLES / (time.perf_counter() - start)
    intensity, phase = _differences(made["cpu"], made["cuda"])
    about = f"{torch.cuda.get_device_name()}; without noise and writing"
    yield Record("simulate.rate.gpu", rates["cuda"], "patterns per second", n=PARTICLES, seed=recipe.seed, source=about)
    yield Record("simulate.rate.cpu", rates["cpu"], "patterns per second and core", n=PARTICLES, seed=recipe.seed)
    yield Record("simulate.difference.intensity", intensity, "fraction of the peak", n=PARTICLES, seed=recipe.seed)
    yield Record("simulate.difference.phase", phase, "rad", n=PARTICLES, seed=recipe.seed)


def _differences(first: list[Simulated], second: list[Simulated]) -> tuple[float, float]:
    intensity = phase = 0.0
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one.exposures, other.exposures, strict=True):
            peak = float(a.intensity.max())
            intensity = max(intensity, float(np.abs(a.intensity - b.intensity).max()) / peak)
            assert a.rsp is not None and b.rsp is not None  # noqa: S101
            turned = np.angle(np.exp(1j * (a.rsp - b.rsp)))[a.intensity > _FAINT * peak]
            phase = max(phase, float(np.abs(turned).max()))
    return intensity, phase
