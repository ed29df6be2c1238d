"""Strain that a gap feigns in an object without any, and what is left of it when the gap is filled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.style import COLOURS, WIDE_MM, Look, new_figure, outline, styled

_SHOWN = ("gap", "network")
_CALLED = {"gap": "zeros in the gap"}


@dataclass(frozen=True)
class Artefacts:
    """Strain along G, whose truth is 0.

    Parameters
    ----------
    widths
        Gap widths, shape (W,), in pixels.
    rmse, mean
        By method: of the strain in each particle, shape (W, N).
    strain
        By method: in the plane through the first particle's centre, shape (W, rows, columns).
    support
        True in the particle, shape (rows, columns).
    """

    widths: NDArray[np.int64]
    rmse: dict[str, NDArray[np.float64]]
    mean: dict[str, NDArray[np.float64]]
    strain: dict[str, NDArray[np.float64]]
    support: NDArray[np.bool_]


@styled
def draw(found: Artefacts, look: Look) -> Figure:
    """Draw the strain's error against gap width, and its map; after Masto's thesis, Fig. 3.21 to 3.23.

    Parameters
    ----------
    found
        What to draw.
    look
        Not used: strain is on a diverging scale.
    """
    del look
    figure = new_figure(WIDE_MM, 150)
    parts = figure.subfigures(2, 1, height_ratios=[1, 1.15], squeeze=False)
    curves, maps = parts[:, 0]
    left, right = curves.subplots(1, 2)
    _draw_curves(left, found.widths, found.rmse)
    _draw_curves(right, found.widths, found.mean)
    left.set_yscale("log")
    right.axhline(0, color="black", linewidth=0.6)
    left.set_ylabel("RMSE of the strain (dimensionless)")
    right.set_ylabel("mean strain (dimensionless)")
    handles, labels = left.get_legend_handles_labels()
    curves.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    grid = maps.subplots(2, len(found.widths), sharex=True, sharey=True, squeeze=False)
    inside = np.where(found.support, found.strain["gap"], 0)
    largest = float(np.quantile(np.abs(inside[:, found.support]), 0.98)) or 1.0
    for row, name in zip(grid, _SHOWN, strict=True):
        for axes, width, values in zip(row, found.widths, found.strain[name], strict=True):
            masked = np.ma.array(values, mask=~found.support)
            image = axes.imshow(masked, cmap="RdBu_r", vmin=-largest, vmax=largest, origin="lower")
            outline(axes, found.support)
            if row is grid[0]:
                axes.set_title(f"{width} px")
            else:
                axes.set_xlabel("x (px)")
        row[0].set_ylabel(f"{_CALLED.get(name, name)}\ny, along G (px)")
    maps.colorbar(image, ax=list(grid.flat), pad=0.01, aspect=30).set_label("strain (dimensionless)")
    number = next(iter(found.rmse.values())).shape[1]
    particles = f"{number} particles; bars: smallest and largest" if number > 1 else "one particle"
    figure.suptitle(f"Objects of zero phase behind a cross gap, with the phase in reciprocal space known; {particles}")
    return figure


def _draw_curves(axes: Axes, widths: NDArray[np.int64], values: dict[str, NDArray[np.float64]]) -> None:
    for name, each in values.items():
        mean = each.mean(axis=1)
        bars = np.abs([mean - each.min(axis=1), each.max(axis=1) - mean])
        colour = COLOURS.get(name, "black")
        axes.errorbar(widths, mean, yerr=bars, color=colour, marker="o", capsize=2, label=_CALLED.get(name, name))
    axes.set_xlabel("gap width (px)")
    axes.set_xticks(widths)
    axes.grid(alpha=0.25, linewidth=0.5)
