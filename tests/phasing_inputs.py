"""Small objects and their noisy diffraction, for phase retrieval."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from braggworks.phasing.likelihood import free_voxels
from braggworks.phasing.schedule import Pattern
from braggworks.scans.phased import write_phased
from braggworks.scans.scan import Scan
from braggworks.seeds import generator

ANGLES = {"delta": np.array(32.0), "gamma": np.array(12.0), "theta": np.linspace(-0.5, 0.5, 48)}


def faceted(size: int = 32, seed: int = 0, phase_range: float = 2.0) -> np.ndarray:
    """Return a cut box with a smooth phase, without symmetry, (z, y, x) complex."""
    rng = generator("faceted", seed)
    z, y, x = (grid - size // 2 for grid in np.indices((size,) * 3))
    a, b, c = rng.uniform(0.13, 0.18, 3) * size
    inside = (abs(z) <= a) & (abs(y) <= b) & (abs(x) <= c) & (z + y + x < 0.75 * (a + b)) & (x - y < 0.8 * (b + c))
    centre = rng.uniform(-0.1, 0.1, 3) * size
    hill = np.exp(-((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) / (0.1 * size) ** 2)
    return inside * np.exp(1j * phase_range * hill)


def diffract(found: np.ndarray) -> np.ndarray:
    """Return the noise-free intensity, its centre at n // 2."""
    return np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(found), norm="ortho"))) ** 2


def pattern_of(
    found: np.ndarray, most: float = 1e5, mask: np.ndarray | None = None, seed: int = 0, blur: np.ndarray | None = None
) -> Pattern:
    """Return Poisson counts of an object, with voxels that are kept out."""
    intensity = diffract(found)
    if blur is not None:
        wave = np.fft.rfftn(intensity) * np.fft.rfftn(np.fft.ifftshift(blur))
        intensity = np.fft.irfftn(wave, intensity.shape, range(3))
    rng = generator("pattern", seed)
    counts = rng.poisson(np.maximum(intensity, 0) * most / intensity.max()).astype(np.float32)
    mask = np.zeros(counts.shape, bool) if mask is None else mask
    return Pattern(np.where(mask, 0, counts).astype(np.float32), mask, free_voxels(counts.shape, mask, rng))


def scan_of(found: np.ndarray, most: float = 1e5, **about: object) -> Scan:
    """Return Poisson counts of an object's diffraction."""
    intensity = diffract(found)
    counts = np.random.default_rng(0).poisson(intensity * most / intensity.max()).astype(np.uint32)
    return Scan(counts, title="a cut box", **about)


def write_object(path: Path) -> None:
    """Write what `braggworks phase` would, of a scan with a geometry."""
    found = faceted(24)
    support = found != 0
    phase = np.where(support, np.angle(found), np.nan)
    laboratory = {
        "modulus": (np.abs(found), "1"),
        "support": (support.astype(np.int8), "1"),
        "phase": (phase, "rad"),
        "displacement": (phase / 3, "angstrom"),
        "strain": (phase * 1e-4, "1"),
        "voxel": (np.array(50.0), "angstrom"),
    }
    numbers = {
        "free_llk": [3.0, 2.0, 2.5],
        "llk": [3.0, 2.0, 2.5],
        "kept": [1, 2],
        "pairwise_correlation": [0.97],
        "pairwise_correlation_inside": [0.91],
        "mode_weights": [0.98, 0.02],
        "prtf": np.linspace(1, 0.4, 12),
        "prtf_chance": 0.6,
        "prtf_q": np.linspace(0, 1, 12),
    }
    extra = {name: (np.array(values), "1") for name, values in numbers.items()}
    extra |= {f"laboratory/{name}": value for name, value in laboratory.items()} | {"phase": (phase, "rad")}
    scan = Scan(np.zeros((2, 2, 2)), title="a cut box")
    write_phased(path, found, support, scan, extra, likelihoods={"free_llk_poisson": 2.0})
