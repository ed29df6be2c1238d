"""Held-out patches: truth, what the network sees, linear interpolation and the network's answer."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.style import (
    GAP_GREY,
    WIDE_MM,
    Look,
    corner_text,
    counts_colorbar,
    counts_norm,
    mark_gap,
    new_figure,
    styled,
)

_ROWS = 3
_GAP_PX = 6
_COLUMNS = ("truth", "masked input", "linear interpolation", "network")


@dataclass(frozen=True)
class Examples:
    """Patches with their gaps filled.

    Parameters
    ----------
    truth, linear, network
        Counts, shape (k, p, p, p), axes (z, y, x); the gap is normal to x, and a cross gap to y as well.
    mask
        True where nothing was measured, same shape.
    gap_width
        Width of each gap, shape (k,), in pixels.
    pcc_linear, pcc_network
        Pearson correlation of log(1 + counts) inside the gap, shape (k,).
    """

    truth: NDArray[np.float32]
    mask: NDArray[np.bool_]
    linear: NDArray[np.float32]
    network: NDArray[np.float32]
    gap_width: NDArray[np.int64]
    pcc_linear: NDArray[np.float64]
    pcc_network: NDArray[np.float64]


@styled
def draw(examples: Examples, look: Look) -> Figure:
    """Draw up to three patches of different intensity, dimmest first, in the central slice across the gap.

    Parameters
    ----------
    examples
        Patches to choose from; those with a gap of 6 px are preferred.
    look
        Colour maps.
    """
    chosen = choose(examples)
    figure = new_figure(WIDE_MM, 8 + 40 * len(chosen))
    grid = figure.subplots(len(chosen), 4, squeeze=False, sharex=True, sharey=True)
    for row, index in zip(grid, chosen, strict=True):
        _draw_row(row, examples, int(index), look)
    for axes, title in zip(grid[0], _COLUMNS, strict=True):
        axes.set_title(title)
    for axes in grid[-1]:
        axes.set_xlabel("x (px)")
    return figure


def choose(examples: Examples, rows: int = _ROWS) -> NDArray[np.intp]:
    """Return the indices of up to `rows` patches that span the range of mean counts, in rising order."""
    usable = np.flatnonzero(examples.gap_width == _GAP_PX)
    if usable.size == 0:
        usable = np.arange(len(examples.gap_width))
    order = usable[np.argsort(examples.truth[usable].mean(axis=(1, 2, 3)), kind="stable")]
    picks = np.unique(np.round(np.linspace(0, len(order) - 1, min(rows, len(order)))).astype(np.intp))
    return np.asarray(order[picks], dtype=np.intp)


def _draw_row(row: NDArray[np.object_], examples: Examples, index: int, look: Look) -> None:
    middle = examples.truth.shape[1] // 2
    gap = examples.mask[index, middle].astype(bool)
    truth = examples.truth[index, middle]
    planes = (truth, np.ma.array(truth, mask=gap), examples.linear[index, middle], examples.network[index, middle])
    norm = counts_norm(truth.max())
    cmap = mpl.colormaps[look.intensity_cmap].with_extremes(bad=GAP_GREY)
    scores = (None, None, examples.pcc_linear[index], examples.pcc_network[index])
    axes: Axes
    for axes, plane, score in zip(row, planes, scores, strict=True):
        image = axes.imshow(np.ma.clip(plane, 0, None), norm=norm, cmap=cmap)
        if plane is not planes[1]:
            mark_gap(axes, gap)
        if score is not None:
            corner_text(axes, f"PCC {score:.3f}")
    mean = float(examples.truth[index].mean())
    row[0].set_ylabel(f"mean {mean:.0f} counts\ny (px)" if mean >= 10 else f"mean {mean:.2g} counts\ny (px)")
    counts_colorbar(image, list(row), pad=0.01)
