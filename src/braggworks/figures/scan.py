"""A scan before and after: what was measured, the gap cut into it, and what fills the gap."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.style import (
    GAP_GREY,
    WIDE_MM,
    Look,
    counts_colorbar,
    counts_norm,
    mark_gap,
    new_figure,
    styled,
)

# How much is shown beyond the gap.
_MARGIN_PX = 20


@dataclass(frozen=True)
class FilledScan:
    """One scan behind a synthetic gap.

    Parameters
    ----------
    measured, linear, network
        Counts, shape (steps, rows, columns), axes (z: rocking, y, x).
    mask
        True in the gap, same shape.
    peak
        Index (z, y, x) of the Bragg peak.
    pcc
        Pearson correlation of log(1 + counts) with the measured counts in the gap, for linear interpolation and the
        network; NaN where it is not defined.
    title
        What was measured.
    simulated
        The counts were computed, not measured.
    """

    measured: NDArray[np.floating]
    linear: NDArray[np.floating]
    network: NDArray[np.floating]
    mask: NDArray[np.bool_]
    peak: tuple[int, int, int]
    pcc: tuple[float, float]
    title: str
    simulated: bool


@styled
def draw(scan: FilledScan, look: Look) -> Figure:
    """Draw the detector image at the peak's rocking step, and the rocking curve of the peak's detector row.

    Shown is the neighbourhood of the peak and the gap.

    Parameters
    ----------
    scan
        What to draw.
    look
        Colour maps.
    """
    step, row, _ = scan.peak
    z_range, y_range, x_range = _window(scan.mask, scan.peak)
    figure = new_figure(WIDE_MM, 20 + 36.5 * (_length(y_range) + _length(z_range)) / _length(x_range))
    grid = figure.subplots(2, 4, sharex=True, sharey="row", height_ratios=(_length(y_range), _length(z_range)))
    kind = "simulated" if scan.simulated else "measured"
    columns = (
        (kind, scan.measured),
        ("gap cut out", np.ma.array(scan.measured, mask=scan.mask)),
        (f"linear interpolation\n{_score(scan.pcc[0])}", scan.linear),
        (f"network\n{_score(scan.pcc[1])}", scan.network),
    )
    norm = counts_norm(scan.measured.max())
    cmap = mpl.colormaps[look.intensity_cmap].with_extremes(bad=GAP_GREY)
    for column, (title, counts) in enumerate(columns):
        for axes, part in zip(grid[:, column], ((step,), (slice(None), row)), strict=True):
            image = axes.imshow(np.ma.clip(counts[part], 0, None), norm=norm, cmap=cmap)
            if column != 1:
                mark_gap(axes, scan.mask[part])
        grid[0, column].set(xlim=x_range, ylim=y_range)
        grid[1, column].set(xlim=x_range, ylim=z_range)
        grid[0, column].set_title(title)
        grid[1, column].set_xlabel("x (px)")
    grid[0, 0].set_ylabel(f"at rocking step {step}\ny (px)")
    grid[1, 0].set_ylabel(f"at y = {row} px\nrocking angle (step)")
    figure.suptitle(f"{scan.title} (simulated)" if scan.simulated else scan.title)
    counts_colorbar(image, list(grid.flat), pad=0.01, aspect=40)
    return figure


def _score(pcc: float) -> str:
    return f"PCC {pcc:.3f}" if np.isfinite(pcc) else "PCC undefined"


def _window(mask: NDArray[np.bool_], peak: tuple[int, ...]) -> list[tuple[float, float]]:
    """Return the limits (z, y, x) of a view that holds the peak, the gap's far edges on the detector and a margin."""
    half = _MARGIN_PX
    for axis in (1, 2):
        others = tuple({0, 1, 2} - {axis})
        in_slab = np.flatnonzero(mask.all(axis=others))
        if in_slab.size:
            half = max(half, int(np.abs(in_slab - peak[axis]).max()) + _MARGIN_PX)
    return [
        (max(centre - half, 0) - 0.5, min(centre + half, size - 1) + 0.5)
        for centre, size in zip(peak, mask.shape, strict=True)
    ]


def _length(limits: tuple[float, float]) -> float:
    return limits[1] - limits[0]
