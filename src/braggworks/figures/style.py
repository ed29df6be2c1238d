"""What all figures share: sizes, fonts, colour scales, and how a figure becomes a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, FuncNorm, ListedColormap, Normalize, to_rgba
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
# The same colours for things without a name of their own, in order.
SERIES = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GAP_GREY = "#B5B5B5"
DIVERGING_CMAP = "RdBu_r"
OUTSIDE_GREY = "#DDDDDD"
# Of pixels without a count, where a picture must tell them from pixels with few.
EMPTY_WHITE = "#FFFFFF"

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
def save_png(figure: Figure, path: str | Path | IO[bytes], dpi: int) -> None:
    """Write a figure as PNG whose bytes depend on the figure alone: no date and no program version.

    Parameters
    ----------
    figure
        What to write.
    path
        File to write, whatever its suffix, or a stream.
    dpi
        Dots per inch.
    """
    figure.savefig(path, format="png", dpi=dpi, metadata={"Software": None})


def counts_norm(maximum: float) -> FuncNorm:
    """Return the scale log(1 + counts) from 0 to `maximum`, so that empty pixels have a colour of their own."""
    return FuncNorm((np.log1p, np.expm1), vmin=0.0, vmax=max(float(maximum), 1.0))


def counts_cmap(look: Look) -> Colormap:
    """Return the map for images drawn with `counts_norm`: white where nothing was counted, grey in gaps.

    Parameters
    ----------
    look
        Colour maps.
    """
    colours = mpl.colormaps[look.intensity_cmap](np.linspace(0, 1, 256))
    colours[0] = to_rgba(EMPTY_WHITE)
    return ListedColormap(colours).with_extremes(bad=GAP_GREY)


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


def relative_colorbar(image: AxesImage, axes: Axes | Sequence[Axes], **options: Any) -> None:
    """Add a colour bar for images that were each drawn with `counts_norm` to their own largest value."""
    figure = image.get_figure(root=True)
    assert isinstance(figure, Figure)  # noqa: S101
    mappable = ScalarMappable(Normalize(0, 1), image.get_cmap())
    bar = figure.colorbar(mappable, ax=axes, **{"pad": 0.01, "shrink": 0.8, **options})
    bar.set_ticks([0, 1], labels=["0", "max"])
    bar.set_label("log(1 + counts) / its maximum")


def outline(axes: Axes, inside: NDArray[np.bool_], extent: tuple[float, ...] | None = None) -> None:
    """Draw the border of an object, so that its phase is told from the empty pixels around it.

    Parameters
    ----------
    axes
        Axes that show the slice.
    inside
        True in the object, shape (rows, columns).
    extent
        As in ``imshow``; None counts pixels.
    """
    if not inside.any() or inside.all():
        return
    rows, columns = inside.shape
    left, right, low, high = extent or (-0.5, columns - 0.5, -0.5, rows - 0.5)
    # Much finer than the pixels, so that the line keeps to their edges.
    fine = np.kron(inside, np.ones((8, 8)))
    x = left + (np.arange(8 * columns) + 0.5) * (right - left) / (8 * columns)
    y = low + (np.arange(8 * rows) + 0.5) * (high - low) / (8 * rows)
    axes.contour(x, y, fine, levels=[0.5], colors="black", linewidths=0.5)


def power_text(value: float) -> str:
    """Return a number with two digits, as a multiple of a power of ten."""
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"${mantissa}\\times10^{{{int(exponent)}}}$"


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
    bar = figure.colorbar(image, ax=None if "cax" in options else axes, **options)
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


def panel_title(axes: Axes, letter: str, title: str) -> None:
    """Write a panel's letter and title above it, from its left edge."""
    axes.set_title(f"$\\bf{{{letter}}}$  {title}", loc="left")


def corner_text(axes: Axes, text: str, colour: str = "white") -> None:
    """Write a short text into the upper left corner, on a dark plate that keeps it readable on any image."""
    plate = {"boxstyle": "round,pad=0.2", "facecolor": "black", "edgecolor": "none", "alpha": 0.6}
    axes.text(
        0.03, 0.97, text, transform=axes.transAxes, ha="left", va="top", color=colour, fontsize=7, bbox=plate, zorder=5
    )


def error_bars(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return lengths of error bars from (mean, low, high); zero where an interval is not defined."""
    return np.asarray(np.nan_to_num(np.clip([values[0] - values[1], values[2] - values[0]], 0, None)))
