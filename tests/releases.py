"""Small patterns, shards and releases for tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from braggworks import cli
from braggworks.files import create_h5

CAMPAIGNS = ("one", "two")
PARTICLES = 4  # per batch


def shard_recipe(
    campaign: str = "one", detector: dict | None = None, gaps: dict | None = None, task: str = "inpaint", **patches
) -> str:
    recipe = {
        "version": 1,
        "campaign": campaign,
        "family": "atomistic",
        "seed": 7,
        "task": task,
        "detector": detector or {},
        "patches": {"size": 16, "per_pattern": 3, "minimum_counts": 0, **patches},
        "gaps": {"widths_px": [3, 6], **(gaps or {})} if task == "inpaint" else None,
    }
    return json.dumps(recipe)


def manifest_recipe(campaigns=CAMPAIGNS, held_out=(), **splits) -> str:
    release = {"name": "tiny", "campaigns": list(campaigns), "held_out": list(held_out)}
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
    lineage = [{"stage": "scatter", "recipe": {"diffraction": {"grid": 24}}, "tools": {}, "environment": ""}]
    header = {"campaign": campaign, "batch": batch, "recipe": {}, "particles": len(indices), "rejected": batch + 2}
    with create_h5(path, "patterns", **header, lineage=lineage) as file:
        for index in indices:
            amplitude = changed.get(f"p{index}", amplitudes(index))
            if amplitude is not None:
                write_pattern_group(file, index, amplitude)
    return path


def write_pattern_group(file, index: int, amplitude: np.ndarray) -> None:
    count = len(amplitude)
    group = file.create_group(f"{index:07d}")
    group.attrs["atoms"] = 1000 + index
    group["amplitude"] = amplitude
    group["oversampling"] = np.linspace(2.5, 4, 3 * count).reshape(count, 3)
    for number, name in enumerate(("phase_range", "gradient", "strain")):
        group[name] = np.linspace(0.1, 0.2, count) * (number + 1)


def make_shard(folder: Path, campaign: str = "one", batch: int = 0, **changed) -> Path:
    """Write patterns, a shard and its sidecar, and return the sidecar's path."""
    patterns = write_patterns(folder / "patterns" / campaign / f"{batch}.h5", campaign, batch)
    shard = folder / "campaigns" / campaign / "shards" / f"{batch}.h5"
    recipe = shard_recipe(campaign, **changed)
    assert cli.main(["shard", "--recipe", recipe, "--input", str(patterns), "--output", str(shard)]) == 0
    return shard.with_suffix(".json")


def make_release(folder: Path, batches: int = 2, held_out=(), **changed) -> Path:
    """Write a release of two campaigns and return its manifest's path."""
    sidecars = [
        str(make_shard(folder, campaign, batch, **changed)) for campaign in CAMPAIGNS for batch in range(batches)
    ]
    manifest = folder / "releases" / "tiny" / "manifest.json"
    options = ["--sidecars", *sidecars, "--output", str(manifest)]
    assert cli.main(["manifest", "--recipe", manifest_recipe(held_out=held_out), *options]) == 0
    return manifest


def files_below(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
