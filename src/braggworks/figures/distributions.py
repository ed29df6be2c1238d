"""What the patterns of each campaign span: oversampling, phase range, photons, size and strain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from braggworks.figures.style import SERIES, WIDE_MM, Look, new_figure, styled

_BINS = 32
_ROUNDING = 1e-9
_ROW_MM = 9.0
# Ratio of the largest to the smallest value from which a logarithmic axis is worth its ticks.
_LOGARITHMIC_FROM = 5
# Height of a histogram, where its row is 1 high.
_PEAK = 0.8


@dataclass(frozen=True)
class Quantity:
    """One panel: what a value is, and how its axis runs."""

    label: str
    logarithmic: bool = False


QUANTITIES: dict[str, Quantity] = {
    "oversampling": Quantity("oversampling (ratio)"),
    "phase_range": Quantity("phase range (rad)"),
    "total_counts": Quantity("photons (counts)", logarithmic=True),
    "size": Quantity("largest extent (voxels)"),
    "atoms": Quantity("particle (atoms)", logarithmic=True),
    "strain": Quantity("rms strain (%)"),
    "gradient": Quantity("rms gradient (rad/voxel)"),
}
_COLUMNS = 4


@dataclass(frozen=True)
class Spread:
    """The values of one campaign.

    Parameters
    ----------
    campaign, family
        Which one.
    patterns
        Number of patterns.
    values
        Values by the names of `QUANTITIES`, shape (any,), one or more per pattern; those that it has.
    """

    campaign: str
    family: str
    patterns: int
    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)


@styled
def draw(spreads: Sequence[Spread], look: Look) -> Figure:
    """Draw one panel per quantity, with a histogram per campaign, each to its own height, over its median and range.

    Parameters
    ----------
    spreads
        The campaigns, the first one on top.
    look
        Not used: colours stand for campaigns.
    """
    shown = [name for name in QUANTITIES if any(spread.values.get(name, np.empty(0)).size for spread in spreads)]
    bands = -(-max(len(shown), 1) // _COLUMNS)
    figure = new_figure(WIDE_MM, bands * (15 + _ROW_MM * len(spreads)) + 8)
    grid = figure.subplots(bands, min(_COLUMNS, max(len(shown), 1)), squeeze=False, sharey=True)
    for axes, name in zip(grid.flat, shown, strict=False):
        _draw_panel(axes, name, spreads)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    labels = [f"{s.campaign}\n{s.patterns} pattern{'s' if s.patterns > 1 else ''}" for s in spreads]
    for axes in grid[:, 0]:
        axes.set_yticks(_baselines(len(spreads)) + 0.35, labels=labels)
        axes.tick_params(axis="y", length=0)
    figure.suptitle("bars: 5 % to 95 % of the patterns; dots: median; each histogram to its own height")
    return figure


def _baselines(count: int) -> NDArray[np.float64]:
    """Return the heights of the rows, the first one on top."""
    return np.arange(count - 1, -1, -1, dtype=np.float64)


def _draw_panel(axes: Axes, name: str, spreads: Sequence[Spread]) -> None:
    quantity = QUANTITIES[name]
    found = [spread.values.get(name, np.empty(0)) for spread in spreads]
    every = np.concatenate(found)
    logarithmic = quantity.logarithmic and float(every.max()) >= _LOGARITHMIC_FROM * float(every.min())
    edges = bin_edges(every, logarithmic)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xticks(log_ticks(edges[0], edges[-1]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        axes.minorticks_off()
    for number, (values, base) in enumerate(zip(found, _baselines(len(spreads)), strict=True)):
        colour = SERIES[number % len(SERIES)]
        axes.axhline(base, color="#999999", linewidth=0.4, zorder=1)
        if not values.size:
            continue
        heights = np.histogram(values, edges)[0]
        axes.stairs(
            base + _PEAK * heights / heights.max(), edges, baseline=base, fill=True, color=colour, alpha=0.55, zorder=2
        )
        low, middle, high = np.percentile(values, [5, 50, 95])
        axes.plot([low, high], [base, base], color=colour, linewidth=2, zorder=3, solid_capstyle="butt")
        axes.plot([middle], [base], "o", color="black", markersize=3, zorder=4)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(-0.25, len(spreads) - 0.05))
    axes.set_xlabel(quantity.label)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten between two values, with multiples of them where there would be fewer than three."""
    decades = [10.0**k for k in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 5, 6, 8)):
        ticks = [step * decade for decade in decades for step in steps if low <= step * decade <= high]
        if len(ticks) >= 3:
            break
    return ticks[:: 1 + len(ticks) // 6]


def _short(value: float) -> str:
    """Return a tick's number: powers of ten as such, and small numbers in full."""
    if value < 1000:
        return f"{value:g}"
    exponent = math.floor(math.log10(value) + 1e-9)
    step = round(value / 10**exponent)
    return f"$10^{{{exponent}}}$" if step == 1 else f"${step}\\!\\cdot\\!10^{{{exponent}}}$"


def bin_edges(values: NDArray[np.float64], logarithmic: bool, bins: int = _BINS) -> NDArray[np.float64]:
    """Return the edges of bins that hold all values; equal in width, or in ratio on a logarithmic axis.

    Parameters
    ----------
    values
        Shape (any,), at least one; positive for logarithmic bins.
    logarithmic
        Equal ratios.
    bins
        Number of bins.
    """
    places = np.log10(values) if logarithmic else values
    low, high = float(places.min()), float(places.max())
    # Values that rounding tells apart are one value.
    equal = high - low <= _ROUNDING * abs(high)
    margin = (0.05 * abs(high) or 0.05) if equal else 0.03 * (high - low)
    edges = np.linspace(low - margin, high + margin, bins + 1)
    return 10**edges if logarithmic else edges
