"""What all figures share: sizes, fonts, colour scales, and how a figure becomes a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

SINGLE_MM = 88.0
WIDE_MM = 180.0

RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.titlesize": 8,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "axes.titlepad": 3.5,
    "axes.labelpad": 2.0,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "legend.frameon": False,
    "image.origin": "lower",
    "image.interpolation": "nearest",
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "figure.facecolor": "white",
}

# Okabe and Ito's colours, which stay apart for all kinds of colour vision.
COLOURS = {
    "network": "#D55E00",
    "linear": "#0072B2",
    "nearest": "#56B4E9",
    "cubic": "#009E73",
    "published": "#777777",
    "train": "#0072B2",
    "validation": "#D55E00",
}
GAP_GREY = "#B5B5B5"
DIVERGING_CMAP = "RdBu_r"
OUTSIDE_GREY = "#DDDDDD"

# Decorates every drawing function, so that its figure looks the same wherever it is called.
styled = mpl.rc_context(RC)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Look:
    """Choices that a configuration may make.

    Parameters
    ----------
    intensity_cmap
        Name of the perceptually uniform map for intensities.
    phase_cmap
        Name of the cyclic map for phases.
    """

    intensity_cmap: str = "viridis"
    phase_cmap: str = "twilight"


def new_figure(width_mm: float, height_mm: float) -> Figure:
    """Return an empty figure of that size in millimetres, with a layout that keeps labels apart."""
    figure = Figure(figsize=(width_mm / 25.4, height_mm / 25.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@styled
def save_png(figure: Figure, path: str | Path, dpi: int) -> None:
    """Write a figure as PNG whose bytes depend on the figure alone: no date and no program version.

    Parameters
    ----------
    figure
        What to write.
    path
        File to write, whatever its suffix.
    dpi
        Dots per inch.
    """
    figure.savefig(path, format="png", dpi=dpi, metadata={"Software": None})


def counts_norm(maximum: float) -> FuncNorm:
    """Return the scale log(1 + counts) from 0 to `maximum`, so that empty pixels have a colour of their own."""
    return FuncNorm((np.log1p, np.expm1), vmin=0.0, vmax=max(float(maximum), 1.0))


def counts_colorbar(
    image: AxesImage, axes: Axes | Sequence[Axes], label: str = "intensity (counts)", **options: Any
) -> Colorbar:
    """Add the colour bar of an image drawn with `counts_norm`, with ticks at 0, 1, 10, 100, ... counts."""
    figure = image.get_figure(root=True)
    assert isinstance(figure, Figure)  # noqa: S101
    bar = figure.colorbar(image, ax=axes, **options)
    _, top = image.get_clim()
    top = top or 1.0
    decades = [10**k for k in range(int(np.floor(np.log10(top))) + 1)]
    ticks = decades if top >= 100 else [step * value for value in decades for step in (1, 2, 5) if step * value <= top]
    bar.set_ticks([0, *ticks], labels=["0", *(_decade(value) for value in ticks)])
    bar.ax.minorticks_off()
    bar.set_label(label)
    return bar


def _decade(value: int) -> str:
    return str(value) if value < 1000 else f"$10^{{{len(str(value)) - 1}}}$"


def phase_scale(largest: float, look: Look) -> dict[str, Any]:
    """Return the colour map and limits for phases up to `largest` in size, as options of ``imshow``.

    A cyclic map from -pi to pi, or, where no phase goes beyond pi/2, a diverging one that resolves them.

    Parameters
    ----------
    largest
        Largest absolute phase, in radians.
    look
        Colour maps.
    """
    if largest > np.pi / 2:
        return {"cmap": look.phase_cmap, "vmin": -np.pi, "vmax": np.pi}
    limit = max(float(np.ceil(largest * 20) / 20), 0.05)
    return {"cmap": DIVERGING_CMAP, "vmin": -limit, "vmax": limit}


def phase_colorbar(image: AxesImage, axes: Axes | Sequence[Axes], label: str = "phase (rad)", **options: Any) -> None:
    """Add the colour bar of an image drawn with `phase_scale`."""
    figure = image.get_figure(root=True)
    assert isinstance(figure, Figure)  # noqa: S101
    bar = figure.colorbar(image, ax=axes, **options)
    if image.get_clim()[1] == np.pi:
        bar.set_ticks([-np.pi, 0, np.pi], labels=["−π", "0", "π"])
    bar.set_label(label)


def mark_gap(axes: Axes, mask: NDArray[np.bool_], colour: str = "white") -> None:
    """Draw dotted lines along the edges of the gaps that cross a slice from side to side.

    Parameters
    ----------
    axes
        Axes that show the slice in pixels.
    mask
        Gap of the slice, shape (rows, columns), true where nothing was measured.
    colour
        Colour of the lines.
    """
    for full, line in ((mask.all(axis=0), axes.axvline), (mask.all(axis=1), axes.axhline)):
        if full.all():
            continue
        edges = np.flatnonzero(np.diff(full.astype(np.int8))) + 0.5
        for edge in edges:
            line(float(edge), color=colour, linewidth=0.6, linestyle=(0, (1, 1.5)))


def corner_text(axes: Axes, text: str, colour: str = "white") -> None:
    """Write a short text into the upper left corner, on a dark plate that keeps it readable on any image."""
    plate = {"boxstyle": "round,pad=0.2", "facecolor": "black", "edgecolor": "none", "alpha": 0.6}
    axes.text(
        0.03, 0.97, text, transform=axes.transAxes, ha="left", va="top", color=colour, fontsize=7, bbox=plate, zorder=5
    )
