"""A sheet of one campaign's samples, drawn from its shard alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from braggworks.figures.style import (
    GAP_GREY,
    WIDE_MM,
    Look,
    counts_cmap,
    counts_norm,
    new_figure,
    outline,
    phase_colorbar,
    phase_scale,
    relative_colorbar,
    styled,
)
from braggworks.phasing.objects import object_of

# Samples of a sheet of the task inpaint, by columns and rows, and rows of one of the task phase.
COLUMNS, ROWS = 5, 3
PHASE_ROWS = 6
# Modulus, relative to the 99.9th percentile, above which a voxel belongs to the object.
_SUPPORT_LEVEL = 0.3
_MARGIN = 4
_PATTERN_TITLES = ("counts", "RSP")
_OBJECT_TITLES = ("modulus", "phase")


@dataclass(frozen=True)
class Sample:
    """One sample of a shard.

    Parameters
    ----------
    counts
        Shape (p, p) or (p, p, p), axes (y, x) or (z, y, x), peak at p//2 where it is a whole pattern.
    mask
        True where nothing was measured, same shape; None where everything was.
    phase
        Reciprocal-space phase (RSP), in radians, same shape; None for the task inpaint.
    lines
        What the sample is, in short lines.
    """

    counts: NDArray[np.integer]
    mask: NDArray[np.bool_] | None
    phase: NDArray[np.floating] | None
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """Samples of one campaign.

    Parameters
    ----------
    title
        Campaign, family and number of samples.
    samples
        At least one.
    whole
        The samples are whole patterns, so that their objects can be shown.
    """

    title: str
    samples: Sequence[Sample]
    whole: bool


@styled
def draw(sheet: Sheet, look: Look) -> Figure:
    """Draw the central slice of each sample and, for the task phase, its RSP and its object.

    Parameters
    ----------
    sheet
        What to draw.
    look
        Colour maps.
    """
    if sheet.samples[0].phase is None:
        return _draw_counts(sheet, look)
    return _draw_phases(sheet, look)


def support_of(modulus: NDArray[np.float64], level: float = _SUPPORT_LEVEL) -> NDArray[np.bool_]:
    """Return where the modulus is above a fraction of its 99.9th percentile, which one hot voxel does not move."""
    return np.asarray(modulus >= level * float(np.percentile(modulus, 99.9)))


# --- task inpaint ---


def _draw_counts(sheet: Sheet, look: Look) -> Figure:
    rows = -(-min(len(sheet.samples), COLUMNS * ROWS) // COLUMNS)
    figure = new_figure(WIDE_MM, 12 + 51 * rows)
    figure.suptitle(sheet.title)
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat[len(sheet.samples) :]:
        axes.set_axis_off()
    for axes, sample in zip(grid.flat, sheet.samples, strict=False):
        image = _show_counts(axes, sample, look)
        largest = f"largest value {int(_central(sample.counts).max())}"
        axes.set_title("\n".join((*sample.lines, largest)), fontsize=7, linespacing=1.1)
    _label_edges(grid, len(sheet.samples))
    relative_colorbar(image, list(grid.flat), shrink=min(0.8, 1.2 / rows))
    return figure


def _show_counts(axes: Axes, sample: Sample, look: Look) -> AxesImage:
    plane = _central(sample.counts)
    shown = np.ma.array(plane, mask=False if sample.mask is None else _central(sample.mask))
    norm = counts_norm(float(plane.max()))
    image = axes.imshow(shown, norm=norm, cmap=counts_cmap(look))
    axes.locator_params(nbins=3)
    return image


def _central(volume: NDArray[Any]) -> NDArray[Any]:
    """Return the slice (y, x) through the middle, or the image itself."""
    return volume[len(volume) // 2] if volume.ndim == 3 else volume


def _label_edges(grid: NDArray[np.object_], samples: int) -> None:
    columns = grid.shape[1]
    for number, axes in enumerate(grid.flat[:samples]):
        if number + columns >= samples:
            axes.set_xlabel("x (px)")
        if number % columns == 0:
            axes.set_ylabel("y (px)")


# --- task phase ---


def _draw_phases(sheet: Sheet, look: Look) -> Figure:
    titles = (*_PATTERN_TITLES, *(_OBJECT_TITLES if sheet.whole else ()))
    across = 1 if sheet.whole else 2
    samples = sheet.samples[: PHASE_ROWS * across]
    rows = -(-len(samples) // across)
    figure = new_figure(WIDE_MM, 28 + 35 * rows)
    figure.suptitle(sheet.title)
    grid = figure.subplots(rows, across * len(titles), squeeze=False)
    objects = [_object_slices(sample) for sample in samples] if sheet.whole else [None] * len(samples)
    largest = max((float(np.abs(found[1]).max()) for found in objects if found), default=np.pi)
    images: dict[str, AxesImage] = {}
    for number, (sample, found) in enumerate(zip(samples, objects, strict=True)):
        row, place = divmod(number, across)
        axes = grid[row, place * len(titles) : (place + 1) * len(titles)]
        images["counts"] = _show_counts(axes[0], sample, look)
        images["RSP"] = _show_rsp(axes[1], sample, look)
        if found:
            images |= _show_object(axes[2:], found, largest, look)
        axes[0].set_ylabel("\n".join((*sample.lines, "y (px)")), fontsize=7, linespacing=1.1)
    for axes in grid.flat[len(samples) * len(titles) :]:
        axes.set_axis_off()
    for column, axes in enumerate(grid[0]):
        axes.set_title(titles[column % len(titles)])
    for axes in grid[-1]:
        axes.set_xlabel("x (px)")
    _add_bars(figure, grid[:, : len(titles)], titles, images)
    return figure


def _show_rsp(axes: Axes, sample: Sample, look: Look) -> AxesImage:
    assert sample.phase is not None  # noqa: S101
    plane = _central(sample.phase)
    shown = np.ma.array(plane, mask=False if sample.mask is None else _central(sample.mask))
    axes.set_facecolor(GAP_GREY)
    axes.locator_params(nbins=3)
    return axes.imshow(shown, cmap=look.phase_cmap, vmin=-np.pi, vmax=np.pi)


_Slices = tuple[NDArray[np.float64], "np.ma.MaskedArray[tuple[int, ...], np.dtype[np.float64]]", tuple[float, ...]]


def _object_slices(sample: Sample) -> _Slices:
    """Return modulus, relative to its largest, and phase inside the support of the central slice, and its extent."""
    assert sample.phase is not None  # noqa: S101
    found = object_of(sample.counts, sample.phase)
    modulus = np.abs(found)
    inside = support_of(modulus)
    n = inside.shape[-1]
    reach = min(int(np.abs(np.argwhere(inside) - n // 2).max(initial=4)) + _MARGIN, n // 2)
    window = slice(n // 2 - reach, n // 2 + reach)
    plane, support, phase = (_central(part)[window, window] for part in (modulus, inside, np.angle(found)))
    top = float(modulus.max()) or 1.0
    half = (n // 2 - reach - 0.5, n // 2 + reach - 0.5)
    return np.asarray(plane / top), np.ma.array(phase, mask=~support), (*half, *half)


def _show_object(row: NDArray[np.object_], found: _Slices, largest: float, look: Look) -> dict[str, AxesImage]:
    modulus, phase, extent = found
    images = {
        "modulus": row[0].imshow(modulus, cmap=look.intensity_cmap, vmin=0, vmax=1, extent=extent),
        "phase": row[1].imshow(phase, extent=extent, **phase_scale(largest, look)),
    }
    outline(row[1], ~np.ma.getmaskarray(phase), extent)
    for axes in row:
        axes.locator_params(nbins=3)
    return images


def _add_bars(figure: Figure, grid: NDArray[np.object_], titles: Sequence[str], images: dict[str, AxesImage]) -> None:
    """Put one colour bar below each kind of picture."""
    options: dict[str, Any] = {"location": "bottom", "shrink": 0.8, "pad": 0.01, "aspect": 18}
    for column, title in enumerate(titles):
        axes = list(grid[:, column])
        if title == "counts":
            relative_colorbar(images[title], axes, **options)
        elif title == "modulus":
            figure.colorbar(images[title], ax=axes, **options).set_label("modulus (of its largest)")
        else:
            phase_colorbar(images[title], axes, f"{title} (rad)", **options)
