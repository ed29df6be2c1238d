"""Small patterns, shards and releases for tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from braggworks import cli
from braggworks.files import create_h5

CAMPAIGNS = ("one", "two")
PARTICLES = 4  # per batch


def shard_recipe(campaign: str = "one", detector: dict | None = None, **patches) -> str:
    values = {"size": 16, "per_pattern": 3, "gap_widths_px": [3, 6], "minimum_counts": 0, **patches}
    recipe = {"version": 1, "campaign": campaign, "seed": 7, "detector": detector or {}, "patches": values}
    return json.dumps(recipe)


def manifest_recipe(campaigns=CAMPAIGNS, **splits) -> str:
    release = {"name": "tiny", "campaigns": list(campaigns)}
    return json.dumps(
        {"version": 1, "release": release, "splits": {"validation": 0.25, "test": 0.25, "seed": 11, **splits}}
    )


def amplitudes(index: int, patterns: int = 2, grid: int = 24) -> np.ndarray:
    """Diffraction of a block whose size depends on the particle."""
    block = np.zeros((grid,) * 3, complex)
    block[: 4 + index % 3, :5, :6] = 1
    pattern = np.fft.fftshift(np.fft.fftn(block))
    return np.stack([np.roll(pattern, 1, axis=k % 3) if k else pattern for k in range(patterns)]).astype(np.complex64)


def write_patterns(path: Path, campaign: str = "one", batch: int = 0, indices=None, **changed) -> Path:
    """Write a file of kind patterns; `changed` maps a particle's index ("p3") to other amplitudes, or None for none."""
    indices = range(batch * PARTICLES, (batch + 1) * PARTICLES) if indices is None else indices
    with create_h5(path, "patterns", campaign=campaign, batch=batch, recipe={}, particles=len(indices)) as file:
        for index in indices:
            amplitude = changed.get(f"p{index}", amplitudes(index))
            if amplitude is not None:
                group = file.create_group(f"{index:07d}")
                group["amplitude"] = amplitude
                group["oversampling"] = np.linspace(2.5, 4, len(amplitude))
    return path


def make_shard(folder: Path, campaign: str = "one", batch: int = 0, **patches) -> Path:
    """Write patterns, a shard and its sidecar, and return the sidecar's path."""
    patterns = write_patterns(folder / "patterns" / campaign / f"{batch}.h5", campaign, batch)
    shard = folder / "campaigns" / campaign / "shards" / f"{batch}.h5"
    recipe = shard_recipe(campaign, **patches)
    assert cli.main(["shard", "--recipe", recipe, "--input", str(patterns), "--output", str(shard)]) == 0
    return shard.with_suffix(".json")


def make_release(folder: Path, batches: int = 2) -> Path:
    """Write a release of two campaigns and return its manifest's path."""
    sidecars = [str(make_shard(folder, campaign, batch)) for campaign in CAMPAIGNS for batch in range(batches)]
    manifest = folder / "releases" / "tiny" / "manifest.json"
    options = ["--sidecars", *sidecars, "--output", str(manifest)]
    assert cli.main(["manifest", "--recipe", manifest_recipe(), *options]) == 0
    return manifest


def files_below(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
