"""Strain artefacts of gaps: objects of zero phase whose diffraction is cut by a cross gap, or filled where it was cut.

The objects are the moduli of relaxed particles, those of config/inpainting-test.yaml, with their phase set to zero, as
published for one particle (M. Masto's thesis, 3.8). Their diffraction, noise-free and scaled to a maximum of 1e5
counts, keeps its own phase. The cross starts 8 px from the peak along y and x, and G lies along y. As elsewhere among
the records, a name without an oversampling ratio is of ratio 6, whose fringes are as wide as those published; 3 stands
for what is usually measured. The weights are those that BRAGGWORKS_WEIGHTS names, or those of the package.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.inpainting import named_inpainter, simulated_amplitudes
from braggworks.evaluation.gap_artefacts import Diffracted, score_artefacts, whole_fills
from braggworks.inpainting.slab_inpainter import SlabInpainter
from braggworks.networks.plane_network import PlaneNetwork
from braggworks.records import Record

SEED, RESAMPLES = 0, 2000
RATIOS, OFFSET = (6, 3), 8
WIDTHS = (3, 6, 9, 12)
# Of gold's (111) planes, in 1/angstrom; ratios do not depend on it.
G = np.sqrt(3) / 4.08
VOXEL = 1.0


def measure() -> Iterator[Record]:
    """Yield ratios of strain errors."""
    for oversampling in RATIOS:
        yield from _ratios(oversampling)


def _ratios(oversampling: int) -> Iterator[Record]:
    inpainter = named_inpainter()
    # Untrained, the plane network is the band limit, and the smoothest continuation where that says nothing.
    untrained = SlabInpainter(PlaneNetwork(), inpainter.widths_px)
    fills = whole_fills(inpainter) | {"band": lambda counts, mask: untrained.fill_scan(counts, mask).counts}
    particles = [Diffracted(amplitude, float(G), VOXEL) for amplitude in simulated_amplitudes(oversampling)]
    tail = "" if oversampling == RATIOS[0] else f".oversampling{oversampling}"
    with tqdm(total=len(particles) * len(WIDTHS), desc=f"strain, {oversampling}", mininterval=10) as bar:
        found = score_artefacts(particles, fills, WIDTHS, OFFSET, bar.update)["rmse"]
    for width in WIDTHS:
        rmse = {name: found.sel({"method": name, "gap_width": width}).values for name in ("gap", *fills)}
        for name, column in (("", "network"), (".linear", "linear"), (".band", "band")):
            ratios = rmse["gap"] / rmse[column]
            spread = f"by particle {ratios.min():.3g} to {ratios.max():.3g}"
            about = f"of the mean RMSE over {len(ratios)} particles; {spread}; oversampling {oversampling}"
            low, high = _interval(rmse["gap"], rmse[column])
            yield Record(
                f"inpaint.strain_ratio{name}{tail}.gap{width}",
                float(rmse["gap"].mean() / rmse[column].mean()),
                "1",
                n=len(ratios),
                published=None if name or tail else "about 5",
                source=about,
                low=low,
                high=high,
                seed=SEED,
            )


def _interval(gapped: NDArray[np.float64], filled: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the ratio of means, drawing particles."""
    drawn = np.random.default_rng(SEED).integers(0, len(gapped), (RESAMPLES, len(gapped)))
    low, high = np.quantile(gapped[drawn].mean(axis=1) / filled[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
