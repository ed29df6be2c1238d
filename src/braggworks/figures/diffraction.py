"""One particle's diffraction around a reflection in three central slices, and the object behind it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.objects import SUPPORT_LEVEL, Pattern, object_from_amplitude, without_piston
from braggworks.figures.style import (
    OUTSIDE_GREY,
    WIDE_MM,
    Look,
    new_figure,
    outline,
    phase_colorbar,
    phase_scale,
    styled,
)

# Plane of each column: (fixed axis, horizontal axis, vertical axis), as indices of (z, y, x).
_PLANES = ((0, 2, 1), (1, 2, 0), (2, 1, 0))
_NAMES = "zyx"
_DECADES = 7


@styled
def draw(pattern: Pattern, look: Look) -> Figure:
    """Draw the intensity, and the modulus and phase of the object, in the three slices through their centres.

    Parameters
    ----------
    pattern
        What to draw.
    look
        Colour maps.
    """
    figure = new_figure(WIDE_MM, 156)
    axes = figure.subplots(3, 3)
    figure.suptitle(f"{pattern.label}\n{pattern.sampling}")
    intensity_row(figure, list(axes[0]), pattern, look)
    _object_rows(figure, axes[1:], pattern, look)
    return figure


def intensity_row(figure: Figure, row: list[Axes], pattern: Pattern, look: Look) -> None:
    """Draw the three central slices of |F|^2 on a logarithmic scale into three axes."""
    intensity = np.abs(pattern.amplitude.astype(np.complex128)) ** 2
    n = len(intensity)
    norm = LogNorm(intensity.max() / 10**_DECADES, intensity.max(), clip=True)
    half = (np.array([-0.5, n - 0.5]) - n // 2) * pattern.dq
    for axes, (fixed, across, up) in zip(row, _PLANES, strict=True):
        plane = intensity.take(n // 2, axis=fixed)
        image = axes.imshow(plane, norm=norm, cmap=look.intensity_cmap, extent=(*half, *half))
        axes.set_xlabel(f"$\\Delta q_{_NAMES[across]}$ (1/Å)")
        axes.set_ylabel(f"$\\Delta q_{_NAMES[up]}$ (1/Å)")
        axes.set_title(f"$\\Delta q_{_NAMES[fixed]} = 0$")
        axes.locator_params(nbins=4)
    bar = figure.colorbar(image, ax=row, extend="min", pad=0.015)
    bar.set_label("$|F|^2$ (atoms$^2$; $f = 1$)")


def _object_rows(figure: Figure, grid: NDArray[np.object_], pattern: Pattern, look: Look) -> None:
    density, voxel = object_from_amplitude(pattern.amplitude, pattern.dq, pad=2)
    density = without_piston(density)
    modulus = np.abs(density)
    inside = modulus >= SUPPORT_LEVEL * modulus.max()
    n = len(modulus)
    extent = max(np.abs(np.argwhere(inside) - n // 2).max() + 4, 4) * voxel
    half = (np.array([-0.5, n - 0.5]) - n // 2) * voxel
    phase = np.ma.array(np.angle(density), mask=~inside)
    largest = max(float(np.abs(phase.take(n // 2, axis=axis)).max()) for axis in range(3))
    scale = phase_scale(largest, look)
    for column, (fixed, across, up) in enumerate(_PLANES):
        top = grid[0, column].imshow(
            modulus.take(n // 2, axis=fixed),
            cmap=look.intensity_cmap,
            vmin=0,
            vmax=modulus.max(),
            extent=(*half, *half),
        )
        bottom = grid[1, column].imshow(phase.take(n // 2, axis=fixed), extent=(*half, *half), **scale)
        grid[1, column].set_facecolor(OUTSIDE_GREY)
        outline(grid[1, column], inside.take(n // 2, axis=fixed), (*half, *half))
        for axes in grid[:, column]:
            axes.set(xlim=(-extent, extent), ylim=(-extent, extent))
            axes.set_xlabel(f"${_NAMES[across]}$ (nm)")
            axes.set_ylabel(f"${_NAMES[up]}$ (nm)")
            axes.locator_params(nbins=4)
    figure.colorbar(top, ax=list(grid[0]), pad=0.015).set_label("density (atoms/nm$^3$)")
    phase_colorbar(bottom, list(grid[1]), pad=0.015)
