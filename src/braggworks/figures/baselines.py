"""One gap filled by every method, beside what was measured there."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.style import WIDE_MM, Look, counts_colorbar, counts_norm, mark_gap, new_figure, styled

_MARGIN_PX = 20


@dataclass(frozen=True)
class Baselines:
    """Fillings of a synthetic gap.

    Parameters
    ----------
    fillings
        Counts by method, ``measured`` first, shape (steps, rows, columns), axes (z: rocking, y, x).
    mask
        True in the gap, same shape.
    peak
        Index (z, y, x) of the Bragg peak.
    pcc
        By method: Pearson correlation of log(1 + counts) with the measured counts in the gap.
    title
        What was measured.
    simulated
        The counts were computed, not measured.
    """

    fillings: dict[str, NDArray[np.floating]]
    mask: NDArray[np.bool_]
    peak: tuple[int, int, int]
    pcc: dict[str, float]
    title: str
    simulated: bool


@styled
def draw(found: Baselines, look: Look) -> Figure:
    """Draw the plane in the middle of the gap, and the detector image at the peak; after Masto's thesis, Fig. 3.15.

    Parameters
    ----------
    found
        What to draw.
    look
        Colour maps.
    """
    step = found.peak[0]
    column = _middle(found.mask)
    cuts = ((slice(None), slice(None), column), (step,))
    limits = [
        _around(size, centre) for size, centre in zip(found.mask.shape, (step, found.peak[1], column), strict=True)
    ]
    figure = new_figure(WIDE_MM, 92)
    grid = figure.subplots(2, len(found.fillings), sharex="row", sharey="row")
    norm, cmap = counts_norm(found.fillings["measured"].max()), mpl.colormaps[look.intensity_cmap]
    for axes, (name, counts) in zip(grid.T, found.fillings.items(), strict=True):
        for part, cut in zip(axes, cuts, strict=True):
            image = part.imshow(np.clip(counts[cut], 0, None), norm=norm, cmap=cmap, aspect="auto")
        mark_gap(axes[1], found.mask[cuts[1]])
        score = "" if name == "measured" else f"\nPCC {found.pcc[name]:.3f}"
        called = "simulated" if name == "measured" and found.simulated else name
        axes[0].set_title(f"{called}{score}")
        axes[0].set(xlim=limits[1], ylim=limits[0])
        axes[1].set(xlim=limits[2], ylim=limits[1])
        axes[0].set_xlabel("y (px)")
        axes[1].set_xlabel("x (px)")
    grid[0, 0].set_ylabel(f"in the gap, x = {column} px\nrocking angle (step)")
    grid[1, 0].set_ylabel(f"at rocking step {step}\ny (px)")
    figure.suptitle(f"{found.title} (simulated)" if found.simulated else found.title)
    counts_colorbar(image, list(grid.flat), pad=0.01, aspect=40)
    return figure


def _middle(mask: NDArray[np.bool_]) -> int:
    """Return the middle column of the gap that crosses the scan normal to x, or of any masked column."""
    inside = np.flatnonzero(mask.all(axis=(0, 1)))
    inside = inside if inside.size else np.flatnonzero(mask.any(axis=(0, 1)))
    return int(inside[inside.size // 2])


def _around(size: int, centre: int) -> tuple[float, float]:
    return max(centre - _MARGIN_PX, 0) - 0.5, min(centre + _MARGIN_PX, size - 1) + 0.5
