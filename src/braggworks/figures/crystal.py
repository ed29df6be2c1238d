"""Relaxed particles, cut open, with every atom coloured by its displacement along the reflection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.atoms import atom_count, behind_cut, draw_atoms, draw_scale, view
from braggworks.figures.style import DIVERGING_CMAP, WIDE_MM, Look, new_figure, styled

MOST = 3


@dataclass(frozen=True)
class Crystal:
    """One relaxed particle.

    Parameters
    ----------
    label
        What it is, such as ``"winterbottom, clamped"``.
    positions
        Atoms, shape (N, 3), columns (x, y, z), in angstrom, centred on the centre of mass.
    displacement
        Relaxed minus reference positions, shape (N, 3), in angstrom.
    direction
        Unit vector of the reflection in the same frame, shape (3,).
    lattice_constant
        Edge of the cubic cell, in angstrom.
    """

    label: str
    positions: NDArray[np.float64]
    displacement: NDArray[np.float64]
    direction: NDArray[np.float64]
    lattice_constant: float

    @property
    def diameter(self) -> float:
        """Distance of nearest neighbours, in angstrom."""
        return self.lattice_constant / math.sqrt(2)


@styled
def draw(crystals: Sequence[Crystal], look: Look, reflection: str = "[111]") -> Figure:
    """Draw up to three particles side by side at one scale.

    Parameters
    ----------
    crystals
        What to draw.
    look
        Not used: displacement has a sign, so its map diverges from zero.
    reflection
        Name of the direction, for the colour bar.
    """
    if not 0 < len(crystals) <= MOST:
        raise ValueError(f"{len(crystals)} crystals where 1 to {MOST} fit")
    figure = new_figure(18 + (WIDE_MM - 18) * len(crystals) / MOST, 67)
    row = np.atleast_1d(figure.subplots(1, len(crystals)))
    along_pm = [100.0 * crystal.displacement @ crystal.direction for crystal in crystals]
    largest = float(np.percentile(np.abs(np.concatenate(along_pm)), 99.5)) or 1.0
    norm = Normalize(-largest, largest)
    views = [view() @ crystal.positions.T for crystal in crystals]
    reach = 1.04 * max(float(np.abs(seen[:2]).max()) for seen in views) / 10 + 0.2
    for axes, crystal, seen, values in zip(row, crystals, views, along_pm, strict=True):
        left = behind_cut(crystal.positions)
        draw_atoms(axes, seen[:, left], mpl.colormaps[DIVERGING_CMAP](norm(values[left])), crystal.diameter)
        axes.set_title(f"{crystal.label}\n{atom_count(len(crystal.positions))}")
        axes.set(xlim=(-reach, reach), ylim=(-1.14 * reach, reach), aspect="equal", anchor="N")
        axes.set_axis_off()
        _draw_arrow(axes, crystal, reach, reflection)
    draw_scale(row[0], reach)
    bar = figure.colorbar(
        ScalarMappable(norm, DIVERGING_CMAP), ax=list(row), extend="both", shrink=0.8, pad=0.01, panchor=False
    )
    bar.set_label(f"displacement along {reflection} (pm)")
    return figure


def _draw_arrow(axes: Axes, crystal: Crystal, reach: float, reflection: str) -> None:
    """Show the reflection's direction in the lower right corner; a short arrow points at or away from the viewer."""
    across, up, towards = view() @ crystal.direction
    x, y = 0.84 * reach, -0.98 * reach
    dx, dy = 0.13 * reach * across, 0.13 * reach * up
    axes.annotate(
        "",
        (x + dx, y + dy),
        (x - dx, y - dy),
        arrowprops={"arrowstyle": "-|>", "linewidth": 0.9, "color": "black", "shrinkA": 0, "shrinkB": 0},
        annotation_clip=False,
    )
    side = "towards viewer" if towards > 0 else "away from viewer"
    name = reflection if np.hypot(across, up) > 0.5 else f"{reflection}\n{side}"
    axes.text(x - 0.2 * reach, y, name, ha="right", va="center", fontsize=7)
