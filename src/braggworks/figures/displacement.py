"""A particle, and the displacement of its atoms after relaxation (Masto, thesis, Fig. 3.8)."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.atoms import atom_count, behind_cut, draw_atoms, draw_scale, view
from braggworks.figures.crystal import Crystal
from braggworks.figures.style import WIDE_MM, Look, new_figure, panel_title, styled

_HEIGHT_CMAP = LinearSegmentedColormap.from_list("height", ["#6B4E0E", "#D9AE3C", "#FFF0BF"])
# Cells along the longer side of the section, each with one arrow.
_ARROWS = 12
# Rows: right and up in the section, and across it, as (x, y, z): the section holds the height z.
_SECTION = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


@styled
def draw(crystal: Crystal, look: Look) -> Figure:
    """Draw the particle by height, then cut open by displacement, then the plane of atoms through its centre.

    Parameters
    ----------
    crystal
        What to draw; z points away from the substrate, where there is one.
    look
        Colour maps.
    """
    figure = new_figure(WIDE_MM, 84)
    row = list(figure.subplots(1, 3))
    seen = view() @ crystal.positions.T
    reach = 1.04 * float(np.abs(crystal.positions).max(initial=np.abs(seen[:2]).max())) / 10 + 0.2
    size_pm = 100 * np.linalg.norm(crystal.displacement, axis=1)
    norm = Normalize(0, float(np.percentile(size_pm, 99)) or 1.0)
    _draw_height(figure, row[0], crystal, seen)
    left = behind_cut(crystal.positions)
    draw_atoms(row[1], seen[:, left], mpl.colormaps[look.intensity_cmap](norm(size_pm[left])), crystal.diameter)
    panel_title(row[1], "b", "displacement\nof the particle, cut open")
    _draw_section(row[2], crystal, size_pm, norm, look)
    for axes in row:
        axes.set(xlim=(-reach, reach), ylim=(-1.14 * reach, reach), aspect="equal", anchor="N")
        axes.set_axis_off()
    for axes in (row[0], row[2]):
        draw_scale(axes, reach)
    bar = figure.colorbar(
        ScalarMappable(norm, look.intensity_cmap), ax=row[1:], extend="max", location="bottom", shrink=0.6, pad=0.01
    )
    bar.set_label("displacement |u| (pm)")
    return figure


def _draw_height(figure: Figure, axes: Axes, crystal: Crystal, seen: NDArray[np.float64]) -> None:
    height = crystal.positions[:, 2] / 10
    norm = Normalize(float(height.min()), float(height.max()))
    draw_atoms(axes, seen, _HEIGHT_CMAP(norm(height)), crystal.diameter)
    panel_title(axes, "a", f"{crystal.label}\n{atom_count(len(height))}")
    bar = figure.colorbar(ScalarMappable(norm, _HEIGHT_CMAP), ax=axes, location="bottom", shrink=0.6, pad=0.01)
    bar.set_label("height z (nm)")


def _draw_section(axes: Axes, crystal: Crystal, size_pm: NDArray[np.float64], norm: Normalize, look: Look) -> None:
    seen = _SECTION @ crystal.positions.T
    inside = np.abs(seen[2] - np.median(seen[2])) <= crystal.diameter / 2
    seen = seen[:, inside]
    seen[2] = 0.0  # one plane of atoms: none is in the shade of another
    colours = mpl.colormaps[look.intensity_cmap](norm(size_pm[inside]))
    colours[:, :3] = 0.35 + 0.65 * colours[:, :3]
    draw_atoms(axes, seen, colours, crystal.diameter)
    points, arrows = mean_arrows(seen[:2], (_SECTION @ crystal.displacement[inside].T)[:2])
    longest = float(np.linalg.norm(arrows, axis=0).max())
    key_pm = _round_length(100 * longest)
    # The longest arrow is half as long again as a cell.
    cell = 1.5 * float(np.ptp(seen[:2], axis=1).max()) / _ARROWS / 10
    quiver = axes.quiver(
        *points / 10, *arrows, angles="xy", scale_units="xy", scale=longest / cell or 1.0, width=0.006, color="black"
    )
    if longest > 0:
        axes.quiverkey(quiver, 0.8, 0.03, key_pm / 100, f"{key_pm:g} pm", labelpos="N", fontproperties={"size": 7})
    panel_title(axes, "c", "central section,\nwith the displacement in its plane")


def mean_arrows(
    places: NDArray[np.float64], arrows: NDArray[np.float64], cells: int = _ARROWS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean places and arrows of square cells, for a picture in which every atom's arrow would be too small.

    Parameters
    ----------
    places
        Shape (2, N).
    arrows
        Shape (2, N).
    cells
        Number of cells along the longer side.

    Returns
    -------
    places, arrows : arrays, shape (2, cells that hold a place)
    """
    edge = float(np.ptp(places, axis=1).max()) / cells or 1.0
    index = np.floor((places - places.min(axis=1, keepdims=True)) / edge).astype(np.int64).clip(0, cells - 1)
    _, member, count = np.unique(index[0] * cells + index[1], return_inverse=True, return_counts=True)
    means = [np.stack([np.bincount(member, axis) for axis in values]) / count for values in (places, arrows)]
    return means[0], means[1]


def _round_length(length: float) -> float:
    """Return the largest of 1, 2, 5, 10, ... that is not above a length."""
    if length <= 0:
        return 1.0
    decade = 10.0 ** np.floor(np.log10(length))
    return float(next(step * decade for step in (5, 2, 1) if step * decade <= length * (1 + 1e-9)))
