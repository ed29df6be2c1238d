"""Phases found patch by patch: how wrong they are from shell to shell, and some patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from braggworks.figures.phases import PhaseExamples, draw_columns
from braggworks.figures.style import (
    OUTSIDE_GREY,
    SERIES,
    WIDE_MM,
    Look,
    counts_cmap,
    counts_norm,
    error_bars,
    new_figure,
    phase_colorbar,
    styled,
)

_ROWS = ("counts (1)", "guess (rad)", "true\nRSP (rad)", "network's\nRSP (rad)")
_MARKERS = "os^"


@dataclass(frozen=True)
class Shells:
    """Losses by shell, and planes of patches.

    Parameters
    ----------
    given
        What patches are given of the shells within, G of them.
    loss
        Mean, and the bounds of its 95 % interval, (3, G, shells).
    central
        Patches at the peak.
    counts, guess, truth, found
        Patches on the first shell, (examples, y, x): counts, and phases in radians; NaN where there is no guess.
    patterns
        How many were phased.
    title
        What was phased.
    """

    given: tuple[str, ...]
    loss: NDArray[np.float64]
    central: PhaseExamples
    counts: NDArray[np.float32]
    guess: NDArray[np.float32]
    truth: NDArray[np.float32]
    found: NDArray[np.float32]
    patterns: int
    title: str


@styled
def draw(found: Shells, look: Look) -> Figure:
    """Draw the loss from shell to shell, and patches with the objects of those at the peak.

    After Masto's thesis, Fig. 4.19 to 4.29.

    Parameters
    ----------
    found
        What to draw.
    look
        Colour maps.
    """
    figure = new_figure(WIDE_MM, 190)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1))[0]
    above, below = left.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.5))[:, 0]
    _draw_losses(above.subplots(), found)
    if len(found.counts):
        _draw_outside(below, found, look)
    draw_columns(right, found.central, look)
    right.suptitle("at the peak", fontsize="medium")
    figure.suptitle(f"{found.title}: {found.patterns} patterns; bars: 95 % bootstrap interval over particles")
    return figure


def _draw_losses(axes: Axes, found: Shells) -> None:
    shells = np.arange(found.loss.shape[2])
    for row, name in enumerate(found.given):
        axes.errorbar(
            shells + 0.05 * row,
            found.loss[0, row],
            yerr=error_bars(found.loss[:, row]),
            marker=_MARKERS[row % len(_MARKERS)],
            color=SERIES[row % len(SERIES)],
            linestyle=":" if name == "flat phase" else "-",
            capsize=2,
            label=name,
        )
    axes.set_xticks(shells)
    axes.set_xlabel("shell (10 px)")
    axes.set_ylabel("1 − weighted mean of cos(difference) (1)")
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.legend(title="patches are given", loc="best")


def _draw_outside(figure: SubFigure, found: Shells, look: Look) -> None:
    grid = figure.subplots(len(_ROWS), len(found.counts), squeeze=False)
    cyclic = {"cmap": look.phase_cmap, "vmin": -np.pi, "vmax": np.pi, "interpolation": "nearest"}
    order = np.argsort(found.central.phase_range)
    parts = (part[order] for part in (found.counts, found.guess, found.truth, found.found))
    for axes, counts, *phases in zip(grid.T, *parts, strict=True):
        axes[0].imshow(counts, norm=counts_norm(float(counts.max())), cmap=counts_cmap(look))
        for each, values in zip(axes[1:], phases, strict=True):
            image = each.imshow(np.angle(np.exp(1j * np.ma.masked_invalid(values))), **cyclic)
            each.set_facecolor(OUTSIDE_GREY)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    for axes, name in zip(grid[:, 0], _ROWS, strict=True):
        axes.set_ylabel(name)
    phase_colorbar(image, list(grid[1:].flat), shrink=0.6)
    figure.suptitle("on the first shell, given the truth within", fontsize="medium")
