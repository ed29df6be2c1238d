"""Running a sweep of the workflow on one file, and making that file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import xarray as xr

from braggworks.config import AnySweep
from braggworks.recipes import SweepRecipe
from braggworks.versions import STAGE_VERSIONS


def swept(sweep: AnySweep, data: Path, weights: Path, output: Path, state: Path | None = None) -> xr.Dataset:
    """Return what `braggworks sweep` finds on a file, on the processor's cores that this process may use."""
    recipe = SweepRecipe(version=STAGE_VERSIONS["sweep"], sweep=sweep, scan=None).to_json()
    command = [sys.executable, "-m", "braggworks", "sweep", str(data), "--recipe", recipe, "--weights", str(weights)]
    command += ["--output", str(output), "--threads", str(len(os.sched_getaffinity(0)))]
    command += ["--device", os.environ.get("BRAGGWORKS_DEVICE", "cpu")]
    subprocess.run(command + (["--state", str(state)] if state else []), check=True)
    with xr.open_dataset(output, engine="h5netcdf") as found:
        return found.load()


def shard_of(campaign: str, folder: Path) -> Path:
    """Return the shard of a campaign's first batch, made where it is missing."""
    shard = folder / f"{campaign}.h5"
    if not shard.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "braggworks", "simulate", "--campaign", f"config/campaigns/{campaign}.yaml"]
        subprocess.run([*command, "--batch", "0", "--output", str(shard)], check=True)
    return shard
