"""A network, the network refined by ER, and iterative phasing: accuracy, success and gain against the phase range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.style import SERIES, WIDE_MM, Look, error_bars, new_figure, panel_title, styled

_MARKERS = "osD^vP*X"
_COLOURS = (*SERIES, "grey")
GAINS = {
    "gain": ("views by ER", "black", "o"),
    "gain_either": ("views by ER or HIO + ER", SERIES[0], "s"),
    "gain_alike": ("views and starts by ER", SERIES[1], "D"),
}
"""Contrasts, as the file of scores names them: what was refined, and how it is drawn."""


@dataclass(frozen=True)
class Methods:
    """Scores of every way of phasing.

    Parameters
    ----------
    methods
        Names of the M methods.
    phase_range
        Mean span of the object's phase of each group of patterns, (G,), in radians.
    accuracy
        Mean, and the bounds of its 95 % interval, (3, M, G), in percent.
    success
        Share of the objects whose overlap with the truth is above 0.9, and the bounds of its interval, (3, M, G).
    gains
        Accuracy of the refined network minus that of iterative phasing, and its bounds, for each of `GAINS`:
        (3, 3, G), in percent.
    patterns, starts, cycles
        How many were phased, from how many starts each, with how many cycles.
    title
        What was phased.
    """

    methods: tuple[str, ...]
    phase_range: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    success: NDArray[np.float64]
    gains: NDArray[np.float64]
    patterns: int
    starts: int
    cycles: int
    title: str


@styled
def draw(found: Methods, look: Look) -> Figure:
    """Draw the accuracy, the share of objects found, and the gain of the refined network over iterative phasing.

    Parameters
    ----------
    found
        What to draw.
    look
        Not used: there is no image.
    """
    figure = new_figure(WIDE_MM, 80)
    left, middle, right = figure.subplots(1, 3)
    # Side by side, yet so near that they read as one phase range.
    step = min(0.02, 0.1 / len(found.phase_range)) * float(np.ptp(found.phase_range) or 1)
    for number, name in enumerate(found.methods):
        x = found.phase_range + step * (number - (len(found.methods) - 1) / 2)
        mean = found.accuracy[0, number]
        style = {"marker": _MARKERS[number], "color": _COLOURS[number], "label": name}
        style["linestyle"] = "--" if name.startswith("iterative") else "-"
        left.errorbar(x, mean, yerr=error_bars(found.accuracy[:, number]), capsize=2, **style)
        share = 100 * found.success[:, number]
        middle.errorbar(x, share[0], yerr=error_bars(share), capsize=2, **style)
    for number, ((name, colour, marker), gain) in enumerate(zip(GAINS.values(), found.gains, strict=True)):
        x = found.phase_range + step * (number - 1)
        style = {"marker": marker, "color": colour, "label": name}
        right.errorbar(x, gain[0], yerr=error_bars(gain), capsize=2, **style)
    low, high = right.get_ylim()
    right.set_ylim(low, high + 0.3 * (high - low))
    right.legend(title="refined", loc="upper left")
    right.axhline(0, color="black", linewidth=0.6)
    names = ("accuracy (%)", "overlap above 0.9 (% of objects)", "gain in accuracy (percentage points)")
    titles = ("accuracy", "objects found", "best view − best start")
    for axes, letter, title, name in zip((left, middle, right), "abc", titles, names, strict=True):
        panel_title(axes, letter, title)
        axes.set_xlabel("phase range (rad)")
        axes.set_ylabel(name)
        axes.grid(alpha=0.25, linewidth=0.5)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    figure.suptitle(
        f"{found.title}: {found.patterns} patterns, {found.starts} starts of {found.cycles} cycles; "
        "bars: 95 % intervals over particles"
    )
    return figure
