"""How well gaps in patches of simulated patterns are filled, by width, oversampling ratio and noise.

The patterns are those of config/inpainting-test.yaml, which no network is trained on, scaled to a maximum of 1e5 as
published, noise-free and with Poisson noise. Gaps of up to 12 px lie in the centre of 32^3 patches, as published; wider
ones in the centre of 64^3 patches, of which the middle 32^2 pixels of the gap are scored. All methods see the same
patches. The share of linear interpolation's error that is removed compares means of 1 - PCC over the same classes. The
weights are those that BRAGGWORKS_WEIGHTS names, or those of the package. With noise, `expected` is
the score of the pattern that the counts were drawn from.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from braggworks.evaluation.gap_protocol import draw_patches, smooth
from braggworks.evaluation.metrics import class_bootstrap, pcc, removed_share, strata
from braggworks.evaluation.sweeps import centre_gap, interpolation
from braggworks.inpainting.model import SHIPPED, Inpainter, load_inpainter
from braggworks.inpainting.slab_inpainter import SlabInpainter
from braggworks.inpainting.whole_scan import Fill
from braggworks.networks.plane_network import PlaneNetwork
from braggworks.records import Record
from braggworks.seeds import generator

SEED = 0
CONFIG, RESULTS = "config/inpainting-test.yaml", Path("results/inpainting-test")
PUBLISHED = {3: 0.9886, 6: 0.9767, 9: 0.9549, 12: 0.9463}
OVERSAMPLINGS = (6, 2, 3, 4, 5, 7)
WIDTHS = (3, 6, 9, 12, 24, 38)
NARROW, WIDE, SCORED = 32, 64, 32
MOST = 1e5
# Patches of the published protocol, and of every other cell, as many of each particle as of any other.
PATCHES, OTHERS = 1000, 120
STRATA = 4
BATCH = 50


def measure() -> Iterator[Record]:
    """Yield correlations, and shares of the error that is removed."""
    inpainter = named_inpainter()
    methods: dict[str, Fill] = {name: interpolation(name) for name in ("nearest", "linear", "cubic")}
    # Untrained, the plane network is the smooth continuation where the band limit says nothing.
    band = SlabInpainter(PlaneNetwork(), inpainter.widths_px)
    methods |= {"smooth": smooth, "band": band.fill, "network": inpainter.fill}
    for ratio in OVERSAMPLINGS:
        patterns = simulated_patterns(ratio)
        for noisy in (False, True):
            for width in WIDTHS:
                yield from _cell(methods, patterns, ratio, width, noisy=noisy)


def named_inpainter() -> Inpainter:
    """Return the network whose weights BRAGGWORKS_WEIGHTS names, or that of the package."""
    return load_inpainter(os.environ.get("BRAGGWORKS_WEIGHTS", SHIPPED))


def _cell(
    methods: dict[str, Fill], patterns: list[NDArray[np.float64]], ratio: int, width: int, *, noisy: bool
) -> Iterator[Record]:
    """Yield the records of one ratio, width and kind of counts."""
    size = NARROW if width <= max(PUBLISHED) else WIDE
    number = PATCHES if ratio == OVERSAMPLINGS[0] and width in PUBLISHED and not noisy else OTHERS
    patches, expected, particle = _patches(patterns, number, size, ratio, noisy=noisy)
    scores = {name: _scores(fill, patches, width) for name, fill in methods.items()}
    if noisy:  # what no method can pass, unless by chance
        scores["expected"] = _scores(None, patches, width, expected)
    kind = f"{', Poisson noise' if noisy else ', noise-free'}, {size}^3 patches of {len(patterns)} particles"
    about = {"n": number, "seed": SEED}
    suffix = f"gap{width}" if ratio == OVERSAMPLINGS[0] else f"gap{width}.oversampling{ratio}"
    suffix += ".poisson" if noisy else ""
    sums = patches.sum(axis=(1, 2, 3), dtype=np.float64)
    for name, found in scores.items():
        stem = "inpaint.pcc" if name == "network" else f"inpaint.pcc.{name}"
        interval = class_bootstrap(found, sums, particle, SEED)
        published = PUBLISHED.get(width) if ratio == OVERSAMPLINGS[0] and name == "network" and not noisy else None
        text = f"mean over 20 classes of intensity; plain mean {np.nanmean(found):.4f}{kind}, oversampling {ratio}"
        bounds = {"low": interval.low, "high": interval.high}
        yield Record(f"{stem}.{suffix}", interval.mean, "1", published=published, source=text, **bounds, **about)
    tail = f"gap{width}.oversampling{ratio}{'.poisson' if noisy else ''}"
    removed = removed_share(scores["network"], scores["linear"], sums, particle, seed=SEED)
    text = f"share of linear interpolation's 1 - PCC that is removed, means over 20 classes of intensity{kind}"
    bounds = {"low": removed.low, "high": removed.high}
    yield Record(f"inpaint.error_removed.{tail}", removed.mean, "1", source=text, **bounds, **about)
    member = strata(sums, STRATA)
    means = {name: [float(np.nanmean(f[member == s])) for s in range(STRATA)] for name, f in scores.items()}
    best = [max(means[name][s] for name in means if name not in {"network", "expected"}) for s in range(STRATA)]
    above = sum(mine > other for mine, other in zip(means["network"], best, strict=True))
    text = f"of {STRATA} strata of intensity, those above interpolations, smooth continuation and band limit{kind}"
    yield Record(f"inpaint.strata_above.{tail}", above, "strata", source=text, **about)


def _scores(
    fill: Fill | None, patches: NDArray[np.float32], width: int, given: NDArray[np.float32] | None = None
) -> NDArray[np.float64]:
    """Return the correlation in the gap of every patch, filled, or as given."""
    size = patches.shape[-1]
    gap = centre_gap((size, size, size), width)
    scored, edge = np.zeros_like(gap), (size - SCORED) // 2
    scored[edge : size - edge, edge : size - edge] = gap[edge : size - edge, edge : size - edge]
    found = []
    for start in tqdm(range(0, len(patches), BATCH), desc=f"{width} px", leave=False, mininterval=10):
        truth = patches[start : start + BATCH]
        mask = np.broadcast_to(gap, truth.shape)
        hidden = np.where(mask, np.float32(0), truth)
        filled = fill(hidden, mask) if fill else np.asarray(given)[start : start + BATCH]
        found.append(pcc(np.log1p(truth), np.log1p(filled), np.broadcast_to(scored, truth.shape)))
    return np.concatenate(found)


def _patches(
    patterns: list[NDArray[np.float64]], number: int, size: int, ratio: int, *, noisy: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Return patches, as many of each particle as of any other, what is expected of them, and whose they are."""
    found, expected, particle = [], [], []
    for index, pattern in enumerate(patterns):
        rng = generator("inpainting benchmark", SEED, ratio, index, size)
        share = number // len(patterns) + (index < number % len(patterns))
        seen: NDArray[Any] = rng.poisson(pattern) if noisy else pattern
        both = draw_patches(np.stack([seen, pattern], -1), share, size, rng).astype(np.float32)
        found.append(both[..., 0])
        expected.append(both[..., 1])
        particle += [index] * share
    return np.concatenate(found), np.concatenate(expected), np.array(particle)


def simulated_patterns(ratio: int) -> list[NDArray[np.float64]]:
    """Return the noise-free patterns of one oversampling ratio, with a maximum of 1e5."""
    found = (np.abs(amplitude) ** 2 for amplitude in simulated_amplitudes(ratio))
    return [intensity * (MOST / intensity.max()) for intensity in found]


def simulated_amplitudes(ratio: int) -> list[NDArray[np.complex128]]:
    """Return the complex diffraction of the particles of one oversampling ratio, made where it is missing."""
    folder = RESULTS / f"campaigns/gaps-oversampling-{ratio}/patterns-nufft"
    if not folder.exists():
        command = [".envs/workflow/bin/braggworks", "run", CONFIG, "--datasets", "--cores", str(os.cpu_count())]
        subprocess.run(command, check=True)
    found = []
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            found += [file[f"{name}/amplitude"][0].astype(np.complex128) for name in sorted(file)]
    return found
