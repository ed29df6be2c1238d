"""Accuracy in the gap against the counts of the patch, for every width of the gap."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.style import WIDE_MM, Look, new_figure, styled


@dataclass(frozen=True)
class Intensity:
    """Scores of the network by classes of intensity, evenly spaced in its logarithm.

    Parameters
    ----------
    widths
        Gap widths, shape (W,), in pixels.
    counts
        Mean counts per voxel of each class, shape (C,).
    pcc
        Mean Pearson correlation of log(1 + counts) in the gap by class, shape (W, C); NaN where none is defined.
    number
        Patches of each class, shape (C,).
    """

    widths: NDArray[np.int64]
    counts: NDArray[np.float64]
    pcc: NDArray[np.float64]
    number: NDArray[np.int64]


@styled
def draw(found: Intensity, look: Look) -> Figure:
    """Draw accuracy against intensity, and how many patches stand behind it; after Masto's thesis, Fig. 3.16."""
    figure = new_figure(WIDE_MM, 84)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    colours = mpl.colormaps[look.intensity_cmap](np.linspace(0.0, 0.85, len(found.widths)))
    counts = np.maximum(found.counts, 1e-3)
    for pcc, width, colour in zip(found.pcc, found.widths, colours, strict=True):
        upper.plot(counts, pcc, marker="o", color=colour, label=f"{width} px")
    lower.bar(counts, found.number, width=0.15 * counts, color="0.6")
    upper.set_xscale("log")
    upper.set_ylabel("mean PCC in the gap\n(dimensionless)")
    lower.set_ylabel("patches\n(number)")
    lower.set_xlabel("mean counts per voxel of the patch (counts)")
    upper.legend(title="gap width", ncols=2)
    for axes in (upper, lower):
        axes.grid(alpha=0.25, linewidth=0.5)
    figure.suptitle("The network by classes of intensity, evenly spaced in its logarithm")
    return figure
