"""The network against the place of the gap, the oversampling, and the pixels skipped between windows."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from braggworks.figures.style import (
    COLOURS,
    WIDE_MM,
    Look,
    counts_cmap,
    counts_colorbar,
    counts_norm,
    new_figure,
    styled,
)

_PCC = "mean PCC in the gap (dimensionless)"
_PLANES = 4  # of the fillings with windows ever farther apart, at most


@dataclass(frozen=True)
class Positions:
    """Scores by the place of a gap and by oversampling.

    Parameters
    ----------
    position
        Gap's centre from the pattern's, shape (P,), in pixels.
    pcc
        By method: mean and the bounds of its 95 % interval, (3, P).
    ratio
        Mean oversampling ratio of each class of patterns, shape (R,).
    ratio_pcc
        By method: the same for each class, (3, R).
    gap_px
        Width of the gap.
    patterns
        How many were scored.
    """

    position: NDArray[np.float64]
    pcc: dict[str, NDArray[np.float64]]
    ratio: NDArray[np.float64]
    ratio_pcc: dict[str, NDArray[np.float64]]
    gap_px: int
    patterns: int


@dataclass(frozen=True)
class Oversampling:
    """Scores of whole predicted patterns.

    Parameters
    ----------
    ratio
        Oversampling ratios, shape (R,).
    widths
        Gap widths, shape (W,), in pixels.
    pcc
        By method: mean over patterns, (W, R).
    patterns
        How many were scored.
    """

    ratio: NDArray[np.float64]
    widths: NDArray[np.int64]
    pcc: dict[str, NDArray[np.float64]]
    patterns: int


@dataclass(frozen=True)
class Skipping:
    """Fillings of one gap with ever fewer windows.

    Parameters
    ----------
    skipped
        Pixels between windows, shape (S,).
    seconds, error
        Wall time, and the sum of absolute errors of log(1 + counts), shape (S,).
    plane
        Counts in a plane of the gap as it was filled, shape (S, z, y).
    measured
        What was measured there, shape (z, y).
    voxels
        How many the gap has.
    """

    skipped: NDArray[np.int64]
    seconds: NDArray[np.float64]
    error: NDArray[np.float64]
    plane: NDArray[np.floating]
    measured: NDArray[np.floating]
    voxels: int


@styled
def draw_position(found: Positions, look: Look) -> Figure:
    """Draw accuracy against the gap's place, and against oversampling; after Masto's thesis, Fig. 3.6 and 3.7."""
    del look
    figure = new_figure(WIDE_MM, 76)
    left, right = figure.subplots(1, 2, sharey=True)
    for x, scores, axes in ((found.position, found.pcc, left), (found.ratio, found.ratio_pcc, right)):
        for name, (mean, low, high) in scores.items():
            axes.fill_between(x, low, high, color=COLOURS[name], alpha=0.2, linewidth=0)
            axes.plot(x, mean, color=COLOURS[name], label=name, marker="." if axes is right else "")
        axes.grid(alpha=0.25, linewidth=0.5)
    left.set_xlabel("centre of the gap from that of the pattern (px)")
    left.set_ylabel(_PCC)
    right.set_xlabel("oversampling ratio (dimensionless)")
    _legend(figure, left)
    figure.suptitle(
        f"Gap of {found.gap_px} px at every place of {found.patterns} held-out patterns; "
        "bands: 95 % bootstrap interval over particles"
    )
    return figure


@styled
def draw_oversampling(found: Oversampling, look: Look) -> Figure:
    """Draw the accuracy of whole predicted patterns against oversampling; after Masto's thesis, Fig. 3.17."""
    figure = new_figure(WIDE_MM, 80)
    left, right = figure.subplots(1, 2)
    colours = mpl.colormaps[look.intensity_cmap](np.linspace(0.0, 0.85, len(found.widths)))
    for k, (width, colour) in enumerate(zip(found.widths, colours, strict=True)):
        left.plot(found.ratio, found.pcc["network"][k], marker="o", color=colour, label=f"network, {width} px")
        left.plot(found.ratio, found.pcc["linear"][k], linestyle=":", color=colour, label=f"linear, {width} px")
        errors = {name: 1 - pcc[k] for name, pcc in found.pcc.items()}
        removed = 1 - errors["network"] / np.maximum(errors["linear"], np.finfo(float).tiny)
        right.plot(found.ratio, removed, marker="o", color=colour)
    right.axhline(0, color="black", linewidth=0.6)
    left.set_ylabel("PCC of the whole pattern (dimensionless)")
    right.set_ylabel("share of linear interpolation's error\nthat is removed (dimensionless)")
    for axes in (left, right):
        axes.set_xlabel("oversampling ratio (dimensionless)")
        axes.grid(alpha=0.25, linewidth=0.5)
    _legend(figure, left)
    patterns = f"{found.patterns} patterns" if found.patterns > 1 else "one pattern"
    figure.suptitle(f"Every plane predicted behind a gap; {patterns}, noise-free, the same range of q at every ratio")
    return figure


@styled
def draw_skipped(found: Skipping, look: Look) -> Figure:
    """Draw time, error and fillings against the pixels skipped; after Masto's thesis, Fig. 3.13 and 3.14."""
    figure = new_figure(WIDE_MM, 118)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 0.8))[:, 0]
    left, right = above.subplots(1, 2)
    for axes, values, label in (
        (left, found.seconds, "time for the whole gap (s)"),
        (right, found.error, "sum of the errors' absolute values,\nof log(1 + counts) (dimensionless)"),
    ):
        axes.plot(found.skipped, values, marker="o", color=COLOURS["network"])
        axes.set_xlabel("pixels skipped between windows (px)")
        axes.set_ylabel(label)
        axes.grid(alpha=0.25, linewidth=0.5)
    left.set_yscale("log")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter(NullFormatter())
    right.ticklabel_format(useOffset=False)
    _draw_planes(below, found, look)
    figure.suptitle(f"A gap of {found.voxels} voxels, filled with windows ever farther apart")
    return figure


def _draw_planes(figure: SubFigure, found: Skipping, look: Look) -> None:
    """Draw a plane of the gap as it was measured, and as it was filled by some of the settings."""
    chosen = np.unique(np.linspace(0, len(found.skipped) - 1, min(_PLANES, len(found.skipped))).round().astype(int))
    titles = [f"{found.skipped[k]} px skipped, {found.seconds[k]:.3g} s" for k in chosen]
    norm = counts_norm(found.measured.max())
    axes = figure.subplots(1, 1 + len(chosen), sharey=True, squeeze=False)[0]
    for each, plane, title in zip(axes, [found.measured, *found.plane[chosen]], ["measured", *titles], strict=True):
        image = each.imshow(plane, norm=norm, cmap=counts_cmap(look))
        each.set_title(title, fontsize=7)
        each.set_xlabel("y (px)")
    axes[0].set_ylabel("z (px)")
    counts_colorbar(image, list(axes))


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4))
