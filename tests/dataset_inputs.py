"""Small shards of every kind, for the figures that show datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from braggworks.datasets.counts import CountsWriter
from braggworks.files import create_h5, sha256_of, write_json

# Half a turn, as shards store a phase.
HALF_TURN = 32768


def body(size: int, ndim: int, phase: float = 1.0) -> np.ndarray:
    """A homogeneous ellipsoid on `size` voxels per axis with a smooth phase of that amplitude, centred at n//2."""
    axis = np.arange(size) - size // 2
    grids = np.meshgrid(*[axis] * ndim, indexing="ij")
    inside = sum((grid / (size / (5 + k))) ** 2 for k, grid in enumerate(grids)) < 1
    return inside * np.exp(1j * phase * np.cos(2 * np.pi * grids[-1] / (size / 2)))


def diffraction(density: np.ndarray) -> np.ndarray:
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(density)))


def write_shard(
    path: Path,
    campaign: str = "test",
    *,
    family: str = "shape3d",
    task: str = "inpaint",
    size: int = 16,
    grid: int = 16,
    ndim: int = 3,
    particles: int = 4,
    per_pattern: int = 1,
    mask: bool | None = None,
    corners: np.ndarray | None = None,
    batch: int = 0,
    seed: int = 0,
) -> Path:
    """Write a shard and its sidecar: two patterns per particle."""
    rng = np.random.default_rng(seed)
    rows, shape = particles * 2 * per_pattern, (size,) * ndim
    recipe: dict[str, Any] = {"version": 1, "campaign": campaign, "family": family, "seed": 0, "task": task}
    recipe["patches"] = {"size": size, "per_pattern": per_pattern}
    if family in {"shape3d", "polygon2d"}:
        recipe["sampling"] = {"grid": grid}
    amplitude = diffraction(body(size, ndim))
    intensity = np.abs(amplitude) ** 2
    photons = 10 ** rng.uniform(5, 6, rows)
    counts = np.stack([rng.poisson(intensity * value / intensity.sum()) for value in photons])
    gap_shape = np.arange(rows) % 3  # vertical, horizontal, cross
    masks = np.zeros((rows, *shape), np.uint8)
    masks[gap_shape != 1, ..., 5:8] = 1
    masks[gap_shape != 0, ..., 4:7, :] = 1
    with create_h5(path, "shard", campaign=campaign, recipe=recipe, batch=batch, particles=particles) as file:
        writer = CountsWriter(file, counts.shape, {})
        writer.write(0, counts.astype(np.uint32))
        writer.finish()
        if task == "inpaint" if mask is None else mask:
            file["mask"] = masks
        if task == "phase":
            wrapped = np.round(np.angle(amplitude) / np.pi * HALF_TURN)
            file["phase"] = np.broadcast_to((wrapped + HALF_TURN) % (2 * HALF_TURN) - HALF_TURN, counts.shape).astype(
                np.int16
            )
        file["particle"] = np.repeat(np.arange(particles), 2 * per_pattern) + batch * particles
        file["pattern"] = np.tile(np.repeat(np.arange(2), per_pattern), particles).astype(np.int32)
        file["corner"] = np.zeros((rows, ndim), np.int32) if corners is None else corners
        file["gap_shape"] = (gap_shape if task == "inpaint" else np.full(rows, 255)).astype(np.uint8)
        file["gap_width"] = np.full(rows, 3 if task == "inpaint" else 0, np.int32)
        known = family != "scan"
        ratios = np.repeat(rng.uniform(2.2, 4.5, (particles * 2, ndim)), per_pattern, axis=0)
        file["oversampling"] = (known * ratios).astype(np.float32)
        file["total_counts"] = photons
        file["phase_range"] = np.full(rows, known * 6.5, np.float32)
        file["gradient"] = np.full(rows, known * 0.2, np.float32)
        if family in {"atomistic", "autophasenn"}:
            file["strain"] = np.full(rows, 0.004, np.float32)
            file["atoms"] = np.repeat(rng.integers(2000, 20000, particles), 2 * per_pattern)
    write_sidecar(path, recipe, rows, list(shape), particles, batch)
    return path


def write_sidecar(path: Path, recipe: dict[str, Any], rows: int, shape: list[int], particles: int, batch: int) -> None:
    stage = {"stage": "scatter", "recipe": {"version": 2, "diffraction": {"grid": 32}}, "tools": {"finufft": "2.5"}}
    last = {"stage": "shard", "recipe": recipe, "tools": {"numpy": "2.4"}, "environment": "e"}
    provenance = [{**stage, "environment": "e"}, last] if recipe["family"] == "atomistic" else [last]
    write_json(
        path.with_suffix(".json"),
        {
            "kind": "shard",
            "file": path.name,
            "sha256": sha256_of(path),
            "task": recipe["task"],
            "shape": shape,
            "samples": rows,
            "particles": list(range(batch * particles, (batch + 1) * particles)),
            "campaign": recipe["campaign"],
            "family": recipe["family"],
            "batch": batch,
            "recipe": recipe,
            "counts_sum": 1,
            "bytes": path.stat().st_size,
            "rejected": 2,
            "provenance": provenance,
        },
    )


def write_steps(path: Path) -> Path:
    density = np.pad(body(24, 2, phase=4.0), 12)
    inside = np.abs(density) > 0
    intensity = np.abs(diffraction(density)) ** 2
    counts = np.random.default_rng(0).poisson(intensity * 1e6 / intensity.sum())
    mask = np.zeros(counts.shape, np.uint8)
    mask[:, 10:16] = 1
    with create_h5(path, "steps", oversampling=[4.0, 4.8], total_counts=1e6, label="test, particle 0") as file:
        file["modulus"], file["phase"] = np.abs(density), np.where(inside, np.angle(density), 0.0)
        file["smoothed"] = np.abs(density) * 0.9
        file["intensity"], file["counts"], file["mask"] = intensity, counts.astype(np.uint32), mask
    return path
