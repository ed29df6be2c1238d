"""The steps that lead to a 2-D pattern, from a random polygon to counts behind a gap (Masto, thesis, Fig. 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.style import (
    WIDE_MM,
    Look,
    counts_cmap,
    counts_colorbar,
    counts_norm,
    new_figure,
    outline,
    panel_title,
    phase_colorbar,
    phase_scale,
    power_text,
    styled,
)

_DECADES = 8
# Empty pixels kept around the object where the grid reaches farther.
_MARGIN = 4


@dataclass(frozen=True)
class Steps:
    """What each step leaves, as images with axes (y, x).

    Parameters
    ----------
    modulus
        Modulus of the homogeneous polygon, dimensionless.
    phase
        Phase of the object, in radians.
    smoothed
        Modulus after the edge was smoothed and noise was added, dimensionless.
    intensity
        Squared modulus of the Fourier transform of the zero-padded object, peak at n//2.
    counts
        Counts after Poisson noise.
    mask
        True in the gap.
    oversampling
        Measured oversampling ratio along y and x.
    total_counts
        Photons in the whole pattern.
    label
        Which campaign and particle.
    """

    modulus: NDArray[np.floating]
    phase: NDArray[np.floating]
    smoothed: NDArray[np.floating]
    intensity: NDArray[np.floating]
    counts: NDArray[np.integer]
    mask: NDArray[np.bool_]
    oversampling: tuple[float, ...]
    total_counts: float
    label: str


@styled
def draw(steps: Steps, look: Look) -> Figure:
    """Draw the object in the upper row and its pattern in the lower one.

    Parameters
    ----------
    steps
        What to draw.
    look
        Colour maps.
    """
    figure = new_figure(WIDE_MM, 98)
    ratios = " × ".join(f"{value:.1f}" for value in steps.oversampling)
    figure.suptitle(f"{steps.label}: oversampling {ratios} (y, x), {power_text(steps.total_counts)} photons")
    grid = figure.subplots(2, 3)
    _draw_object(figure, list(grid[0]), steps, look)
    _draw_pattern(figure, list(grid[1]), steps, look)
    for axes in grid.flat:
        axes.set(xlabel="x (px)", ylabel="y (px)")
        axes.locator_params(nbins=4)
    return figure


def _draw_object(figure: Figure, row: list[Axes], steps: Steps, look: Look) -> None:
    inside = steps.modulus > 0
    window = _window(inside | (steps.smoothed > 0.01 * steps.smoothed.max()))
    extent = _extent(window)
    top = max(float(steps.modulus.max()), float(steps.smoothed.max()))
    phase = np.ma.array(steps.phase, mask=~inside)
    scale = phase_scale(float(np.abs(phase).max()), look)
    panels = ((row[0], steps.modulus, "a", "modulus"), (row[2], steps.smoothed, "c", "smoothed, with noise"))
    for axes, image, letter, title in panels:
        shown = axes.imshow(image[window], cmap=look.intensity_cmap, vmin=0, vmax=top, extent=extent)
        panel_title(axes, letter, title)
        figure.colorbar(shown, ax=axes, pad=0.02).set_label("modulus (dimensionless)")
    wrapped = np.angle(np.exp(1j * phase.filled(0.0)))
    shown = row[1].imshow(
        np.ma.array(wrapped, mask=~inside)[window] if scale["vmax"] == np.pi else phase[window],
        extent=extent,
        **scale,
    )
    outline(row[1], inside[window], extent)
    panel_title(row[1], "b", "phase")
    phase_colorbar(shown, row[1], pad=0.02)


def _draw_pattern(figure: Figure, row: list[Axes], steps: Steps, look: Look) -> None:
    peak = float(steps.intensity.max())
    norm = LogNorm(peak / 10**_DECADES, peak, clip=True)
    image = row[0].imshow(steps.intensity, norm=norm, cmap=look.intensity_cmap)
    panel_title(row[0], "d", "Fourier intensity")
    figure.colorbar(image, ax=row[0], extend="min", pad=0.02).set_label("intensity (arb. units)")
    counts_scale, cmap = counts_norm(steps.counts.max()), counts_cmap(look)
    panels = (("e", "Poisson noise", np.zeros_like(steps.mask)), ("f", _gap_title(steps), steps.mask))
    for axes, (letter, title, gap) in zip(row[1:], panels, strict=True):
        image = axes.imshow(np.ma.array(steps.counts, mask=gap), norm=counts_scale, cmap=cmap)
        panel_title(axes, letter, title)
    counts_colorbar(image, row[1:], pad=0.02)


def _gap_title(steps: Steps) -> str:
    columns = int(steps.mask.all(axis=0).sum())
    return f"vertical gap of {columns} px" if 0 < columns < steps.mask.shape[1] else "gap"


def _window(inside: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the rows and columns of a square that holds what is not empty, with a margin."""
    places = np.argwhere(inside) if inside.any() else np.argwhere(~inside)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    half = int((high - low).max() + 1) // 2 + _MARGIN
    middle = (low + high) // 2
    rows, columns = (
        slice(max(int(c) - half, 0), min(int(c) + half, n)) for c, n in zip(middle, inside.shape, strict=True)
    )
    return rows, columns


def _extent(window: tuple[slice, slice]) -> tuple[float, float, float, float]:
    rows, columns = window
    return columns.start - 0.5, columns.stop - 0.5, rows.start - 0.5, rows.stop - 0.5
