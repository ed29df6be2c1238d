"""Where training samples are cut from a pattern, with their gaps, and the gaps filled (Masto, thesis, Fig. 3.9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from braggworks.figures.objects import Pattern
from braggworks.figures.style import (
    SERIES,
    WIDE_MM,
    Look,
    counts_cmap,
    counts_norm,
    mark_gap,
    new_figure,
    relative_colorbar,
    styled,
)

#: Patches of one figure at most.
MOST = 5
_DECADES = 8
# Planes of the projections: (axis along which the maximum is taken, horizontal axis, vertical axis), of (z, y, x).
_PLANES = ((0, 2, 1), (1, 2, 0), (2, 1, 0))
_NAMES = "zyx"


@dataclass(frozen=True)
class Cut:
    """One sample of a pattern.

    Parameters
    ----------
    corner
        First voxel of the patch in the pattern, (z, y, x); None where the patch is of another pattern.
    counts
        Counts, shape (p, p, p), axes (z, y, x).
    mask
        True in the gap, same shape.
    gap
        What the gap is, such as ``"cross, 9 px"``.
    filled
        Counts with the gap filled by a network, same shape; None where it was not asked.
    """

    corner: tuple[int, int, int] | None
    counts: NDArray[np.floating]
    mask: NDArray[np.bool_]
    gap: str
    filled: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class CutPattern:
    """A pattern and samples of it.

    Parameters
    ----------
    pattern
        The amplitude that the counts were drawn from.
    cuts
        Samples with their gaps.
    filled
        Samples whose gaps are filled: those of `cuts` where the network was asked for these, else held-out ones.
    """

    pattern: Pattern
    cuts: Sequence[Cut]
    filled: Sequence[Cut] = ()


@styled
def draw(cut: CutPattern, look: Look) -> Figure:
    """Draw the pattern's projections with outlines of patches, the patches with gaps, and, if given, the filled ones.

    Parameters
    ----------
    cut
        What to draw.
    look
        Colour maps.
    """
    rows = [cut.cuts[:MOST], *([cut.filled[:MOST]] if cut.filled else [])]
    same = bool(cut.filled) and cut.filled[0].corner is not None
    figure = new_figure(WIDE_MM, 66 + 46 * len(rows))
    parts = figure.subfigures(1 + len(rows), 1, squeeze=False, height_ratios=(66, *[46] * len(rows)))[:, 0]
    _draw_projections(parts[0], cut, look)
    titles = ["patches with gaps (central slices)"]
    titles.append("the same patches, filled" if same else "held-out patches of the release, filled by the network")
    for part, cuts, letter, title in zip(parts[1:], rows, "bc", titles, strict=False):
        _draw_cuts(part, cuts, look, filled=letter == "c", outlined=letter == "b" or same)
        part.suptitle(f"$\\bf{{{letter}}}$  {title}", x=0.01, ha="left")
    return figure


def _draw_projections(part: Figure, cut: CutPattern, look: Look) -> None:
    intensity = np.abs(cut.pattern.amplitude.astype(np.complex128)) ** 2
    peak = float(intensity.max())
    shown = [intensity.max(axis=along) for along, _, _ in _PLANES]
    norm = LogNorm(max(float(np.percentile(shown, 1)), peak / 10**_DECADES), peak, clip=True)
    row = list(part.subplots(1, 3))
    for axes, plane, (along, across, up) in zip(row, shown, _PLANES, strict=True):
        image = axes.imshow(plane, norm=norm, cmap=look.intensity_cmap)
        axes.set(xlabel=f"{_NAMES[across]} (px)", ylabel=f"{_NAMES[up]} (px)")
        axes.set_title(f"largest value along {_NAMES[along]}")
        axes.locator_params(nbins=4)
        for sample, colour in zip(cut.cuts[:MOST], SERIES, strict=False):
            if sample.corner is not None:
                _outline(axes, sample.corner[across], sample.corner[up], len(sample.counts), colour)
    part.suptitle(f"$\\bf{{a}}$  {cut.pattern.label}; {cut.pattern.sampling}", x=0.01, ha="left")
    part.colorbar(image, ax=row, extend="min", pad=0.01, shrink=0.8).set_label("$|F|^2$ (atoms$^2$; $f = 1$)")


def _outline(axes: Axes, left: int, low: int, size: int, colour: str) -> None:
    for width, edge in ((2.4, "black"), (1.4, colour)):
        axes.add_patch(Rectangle((left - 0.5, low - 0.5), size, size, fill=False, edgecolor=edge, linewidth=width))


def _draw_cuts(part: Figure, cuts: Sequence[Cut], look: Look, *, filled: bool, outlined: bool) -> None:
    row = np.atleast_1d(part.subplots(1, MOST))
    cmap = counts_cmap(look)
    for axes, sample, colour in zip(row, cuts, SERIES, strict=False):
        middle = len(sample.counts) // 2
        gap = sample.mask[middle]
        shown = sample.filled if filled and sample.filled is not None else np.ma.array(sample.counts, mask=sample.mask)
        norm = counts_norm(float(sample.counts[middle].max()))
        image = axes.imshow(np.ma.clip(shown[middle], 0, None), norm=norm, cmap=cmap)
        if filled:
            mark_gap(axes, gap, colour="black")
        axes.set_title(f"{sample.gap}\n≤ {int(sample.counts[middle].max())} counts", fontsize=7)
        axes.set(xlabel="x (px)")
        axes.locator_params(nbins=4)
        if outlined:
            for spine in axes.spines.values():
                spine.set(edgecolor=colour, linewidth=2)
    row[0].set_ylabel("y (px)")
    for axes in row[len(cuts) :]:
        axes.set_axis_off()
    relative_colorbar(image, list(row))
