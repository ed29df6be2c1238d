"""Two scattering engines on the same patterns: both results, their difference, and the error of every pattern."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from braggworks.figures.style import COLOURS, WIDE_MM, Look, new_figure, styled

_DECADES = 7
_ERROR_DECADES = 4
_TITLES = {"nufft": "NUFFT", "pynx": "PyNX"}
# What a float32 engine must reach, relative to the peak.
TOLERANCE = 5e-5


@dataclass(frozen=True)
class Comparison:
    """One batch computed twice.

    Parameters
    ----------
    names
        Names of both engines, the reference first.
    amplitudes
        F(q) of one pattern by each engine, shape (2, n, n, n), axes (z, y, x), peak at n//2.
    dq
        Voxel size of that pattern, in 1/angstrom.
    label
        Which pattern it is.
    errors
        Largest difference of each pattern, relative to its peak, shape (P,).
    seconds
        Time that each engine took for the batch.
    """

    names: tuple[str, str]
    amplitudes: NDArray[np.complexfloating]
    dq: float
    label: str
    errors: NDArray[np.float64]
    seconds: tuple[float, float]


@styled
def draw(comparison: Comparison, look: Look) -> Figure:
    """Draw one pattern's central slice by both engines, the difference over the peak, and the errors of all patterns.

    Parameters
    ----------
    comparison
        What to draw.
    look
        Colour maps.
    """
    figure = new_figure(WIDE_MM, 100)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.1, 1))[:, 0]
    row = list(upper.subplots(1, 3))
    _draw_slices(row, comparison, look)
    upper.suptitle(f"{comparison.label}, slice $\\Delta q_z = 0$")
    axes = lower.subplots()
    _draw_errors(axes, comparison)
    reference, other = (_TITLES.get(name, name) for name in comparison.names)
    first, second = comparison.seconds
    axes.set_title(
        f"{len(comparison.errors)} patterns: {reference} {first:.3g} s, {other} {second:.3g} s "
        f"({second / first:.3g} times as long)"
    )
    return figure


def _draw_slices(row: list[Axes], comparison: Comparison, look: Look) -> None:
    n = comparison.amplitudes.shape[-1]
    planes = comparison.amplitudes[:, n // 2].astype(np.complex128)
    peak = float(np.abs(comparison.amplitudes[0]).max())
    intensity = np.abs(planes) ** 2
    norm = LogNorm(peak**2 / 10**_DECADES, peak**2, clip=True)
    half = (np.array([-0.5, n - 0.5]) - n // 2) * comparison.dq
    extent = (half[0], half[1], half[0], half[1])
    for axes, plane, name in zip(row, intensity, comparison.names, strict=False):
        image = axes.imshow(plane, norm=norm, cmap=look.intensity_cmap, extent=extent)
        axes.set_title(_TITLES.get(name, name))
    figure = row[0].get_figure()
    assert figure is not None  # noqa: S101
    figure.colorbar(image, ax=row[:2], extend="min", pad=0.02).set_label("$|F|^2$ (atoms$^2$; $f = 1$)")
    error = np.abs(planes[1] - planes[0]) / peak
    top = max(float(error.max()), 1e-12)
    image = row[2].imshow(
        error, norm=LogNorm(top / 10**_ERROR_DECADES, top, clip=True), cmap=look.intensity_cmap, extent=extent
    )
    row[2].set_title("difference")
    figure.colorbar(image, ax=row[2], extend="min", pad=0.04).set_label("$|\\Delta F|$ / peak $|F|$ (dimensionless)")
    for axes in row:
        axes.set(xlabel="$\\Delta q_x$ (1/Å)", ylabel="$\\Delta q_y$ (1/Å)")
        axes.locator_params(nbins=4)


def _draw_errors(axes: Axes, comparison: Comparison) -> None:
    number = np.arange(1, len(comparison.errors) + 1)
    axes.plot(number, comparison.errors, "o", color=COLOURS["linear"], label="largest difference in a pattern")
    axes.axhline(TOLERANCE, color=COLOURS["network"], linestyle="--", label=f"tolerance {TOLERANCE:.0e}")
    axes.set_yscale("log")
    low = min(float(comparison.errors.min()), TOLERANCE)
    axes.set_ylim(low / 4, 8 * max(float(comparison.errors.max()), TOLERANCE))
    axes.set_xlabel("number of the pattern (in the batch)")
    axes.set_ylabel("max $|\\Delta F|$ / peak $|F|$\n(dimensionless)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.legend(loc="upper right", ncols=2)
