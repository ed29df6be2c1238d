"""Held-out gaps of a scan before and after the network was trained on that scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.style import (
    WIDE_MM,
    Look,
    corner_text,
    counts_colorbar,
    counts_norm,
    new_figure,
    styled,
)


@dataclass(frozen=True)
class Finetuned:
    """Planes in the middle of gaps.

    Parameters
    ----------
    fillings
        Counts by name, ``truth`` first, shape (k, rows, columns).
    pcc
        By name, without ``truth``: Pearson correlation of log(1 + counts) in the whole gap, shape (k,).
    """

    fillings: dict[str, NDArray[np.float32]]
    pcc: dict[str, NDArray[np.float64]]


_CALLED = {"truth": "measured", "linear": "linear interpolation", "before": "network", "after": "after fine-tuning"}


@styled
def draw(found: Finetuned, look: Look) -> Figure:
    """Draw each gap's middle plane as it was measured and as it was filled; after Masto's thesis, Fig. 3.26."""
    number = len(found.fillings["truth"])
    figure = new_figure(WIDE_MM, 10 + 42 * number)
    grid = figure.subplots(number, len(found.fillings), squeeze=False, sharex=True, sharey=True)
    for row, axes_of_row in enumerate(grid):
        norm = counts_norm(max(float(found.fillings["truth"][row].max()), 1.0))
        for axes, (name, planes) in zip(axes_of_row, found.fillings.items(), strict=True):
            image = axes.imshow(np.clip(planes[row], 0, None), norm=norm, cmap=look.intensity_cmap)
            if name in found.pcc:
                corner_text(axes, f"PCC {found.pcc[name][row]:.3f}")
            if row == 0:
                axes.set_title(_CALLED[name])
            if row == number - 1:
                axes.set_xlabel("along the gap (px)")
        axes_of_row[0].set_ylabel("along the gap (px)")
        counts_colorbar(image, list(axes_of_row), pad=0.01)
    figure.suptitle("The planes in the middle of held-out gaps of the scan")
    return figure
