"""A scan with a gap of its own, before and after it is filled, and how much the predictions of each voxel differ."""

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

_TALLEST_MM = 220.0


@dataclass(frozen=True)
class BeforeAfter:
    """A filled scan.

    Parameters
    ----------
    gapped, filled, uncertainty
        Counts with the gap and without it, and the standard deviation of log(1 + counts) over the predictions of each
        voxel, shape (steps, rows, columns), axes (z: rocking, y, x).
    mask
        True in the gap, same shape.
    peak
        Index (z, y, x) of the Bragg peak.
    title
        What was measured.
    simulated
        The counts were computed, not measured.
    """

    gapped: NDArray[np.floating]
    filled: NDArray[np.floating]
    uncertainty: NDArray[np.floating]
    mask: NDArray[np.bool_]
    peak: tuple[int, int, int]
    title: str
    simulated: bool


@styled
def draw(scan: BeforeAfter, look: Look) -> Figure:
    """Draw the detector image at the peak's rocking step, and cuts along the rocking angle through the peak.

    Parameters
    ----------
    scan
        What to draw.
    look
        Colour maps.
    """
    step, row, column = scan.peak
    steps, rows, columns = scan.mask.shape
    panel = (WIDE_MM - 30) / 3
    heights = [n / columns for n in (rows, steps)]
    heights.append(steps / rows)
    tall = panel * sum(heights)
    figure = new_figure(WIDE_MM, min(_TALLEST_MM, tall + 35))
    grid = figure.subplots(3, 3, sharex="row", sharey="row", height_ratios=heights)
    norm = counts_norm(float(scan.gapped[scan.peak]))
    cmap = mpl.colormaps[look.intensity_cmap].with_extremes(bad=GAP_GREY)
    unsure = mpl.colormaps["magma"].with_extremes(bad=GAP_GREY)
    known = scan.mask & np.isfinite(scan.uncertainty)
    spread = float(np.quantile(scan.uncertainty[known], 0.99)) if known.any() else 0.0
    cuts = ((step,), (slice(None), row), (slice(None), slice(None), column))
    for line, cut in enumerate(cuts):
        before = grid[line, 0].imshow(np.ma.array(scan.gapped[cut], mask=scan.mask[cut]), norm=norm, cmap=cmap)
        grid[line, 1].imshow(np.maximum(scan.filled[cut], 0), norm=norm, cmap=cmap)
        mark_gap(grid[line, 1], scan.mask[cut])
        doubt = np.ma.array(scan.uncertainty[cut], mask=~known[cut])
        sure = grid[line, 2].imshow(doubt, vmin=0, vmax=spread or 1, cmap=unsure)
    for axes, title in zip(grid[0], ("measured", "filled", "scatter of predictions"), strict=True):
        axes.set_title(title)
    for line, (label, across) in enumerate(
        (
            (f"at rocking step {step}\ny (px)", "x (px)"),
            (f"at y = {row} px\nrocking angle (step)", "x (px)"),
            (f"at x = {column} px\nrocking angle (step)", "y (px)"),
        )
    ):
        grid[line, 0].set_ylabel(label)
        for axes in grid[line]:
            axes.set_xlabel(across)
    figure.suptitle(f"{scan.title} (simulated)" if scan.simulated else scan.title)
    counts_colorbar(before, list(grid[:, :2].flat), pad=0.01, aspect=40)
    bar = figure.colorbar(sure, ax=list(grid[:, 2]), pad=0.01, aspect=40)
    bar.set_label("standard deviation of log(1 + counts)")
    return figure
