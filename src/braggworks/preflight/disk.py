"""Whether the disk has room for what a run is going to write."""

from __future__ import annotations

import shutil
from pathlib import Path

from braggworks.campaigns import Campaign, ScanCampaign
from braggworks.config import Config
from braggworks.errors import UserError
from braggworks.paths import run_paths

# Bytes per voxel of a sample or of a pattern, a little below what the pilot of `braggworks cost` found, so that no run
# is refused that would have fitted.
_INPAINT = 0.15
_PHASE = {2: 3.0, 3: 1.5}
_PATTERN = 8.0
_GB = 1e9


def predicted_bytes(config: Config) -> float:
    """Return about how many bytes the datasets that are still missing will take.

    Parameters
    ----------
    config
        The run.

    Returns
    -------
    float
        At least so much, in bytes; shards and, where they are kept, patterns.
    """
    paths = run_paths(config)
    total = 0.0
    for campaign in config.campaigns:
        shards = (Path(paths.batch_file("shards", campaign.name, batch)) for batch in range(campaign.batches))
        total += sum(not shard.exists() for shard in shards) * _batch_bytes(campaign, config.keep_patterns)
    return total


def check_disk(config: Config) -> None:
    """Raise `UserError` where the disk of the results has less room than the missing datasets need."""
    folder = _existing(Path(config.results))
    needed, free = predicted_bytes(config), shutil.disk_usage(folder).free
    if needed <= free:
        return
    hint = ", or set keep_patterns: false" if config.keep_patterns and _has_patterns(config) else ""
    raise UserError(
        f"The datasets of {config.results} need {_size(needed)} and {folder.resolve()} has {_size(free)} "
        f"free: make room, point results at another disk{hint}."
    )


def _batch_bytes(campaign: Campaign, keep_patterns: bool) -> float:
    size, voxels = campaign.batch_size, float(campaign.patches.size**campaign.ndim)
    per_voxel = _INPAINT if campaign.task == "inpaint" else _PHASE[campaign.ndim]
    if isinstance(campaign, ScanCampaign):
        return size * campaign.patches.per_pattern * voxels * per_voxel
    simulated = campaign.family in {"shape3d", "polygon2d"}
    drawn = getattr(campaign, "sampling" if simulated else "diffraction")
    patterns = size * int(drawn.patterns_per_particle)
    kept = 0.0 if simulated or not keep_patterns else patterns * _PATTERN * int(drawn.grid) ** 3
    return patterns * campaign.patches.per_pattern * voxels * per_voxel + kept


def _has_patterns(config: Config) -> bool:
    return any(campaign.family in {"atomistic", "autophasenn"} for campaign in config.campaigns)


def _size(number: float) -> str:
    if number < 1e6:
        return "less than 1 MB"
    return f"{number / _GB:.3g} GB" if number >= _GB else f"{number / 1e6:.0f} MB"


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.resolve().parent)
