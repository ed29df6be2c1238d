"""Relaxed particles, cut open, with every atom coloured by its displacement along the reflection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import EllipseCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.style import DIVERGING_CMAP, WIDE_MM, Look, new_figure, styled

MOST = 3
# The viewer looks from this azimuth and elevation; the quarter of the particle that faces the viewer is cut away.
_AZIMUTH_DEG = -52.0
_ELEVATION_DEG = 24.0
_CUT_SKEW_DEG = 12.0
# Farther atoms are drawn darker, down to this factor.
_DARKEST = 0.82


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
    views = [_view() @ crystal.positions.T for crystal in crystals]
    reach = 1.04 * max(float(np.abs(view[:2]).max()) for view in views) / 10 + 0.2
    for axes, crystal, view, values in zip(row, crystals, views, along_pm, strict=True):
        _draw_atoms(axes, crystal, view, values, norm)
        atoms = f"{len(crystal.positions):,}".replace(",", "\N{THIN SPACE}")
        axes.set_title(f"{crystal.label}\n{atoms} atoms")
        axes.set(xlim=(-reach, reach), ylim=(-1.14 * reach, reach), aspect="equal", anchor="N")
        axes.set_axis_off()
        _draw_arrow(axes, crystal, reach, reflection)
    _draw_scale(row[0], reach)
    bar = figure.colorbar(
        ScalarMappable(norm, DIVERGING_CMAP), ax=list(row), extend="both", shrink=0.8, pad=0.01, panchor=False
    )
    bar.set_label(f"displacement along {reflection} (pm)")
    return figure


def _view() -> NDArray[np.float64]:
    """Return the rotation to the viewer's frame: rows are right, up and towards the viewer."""
    azimuth, elevation = np.deg2rad([_AZIMUTH_DEG, _ELEVATION_DEG])
    towards = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    return np.stack([right, np.cross(towards, right), towards])


def _kept(positions: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which atoms are left when the vertical quarter that faces the viewer is taken out."""
    sides = np.deg2rad(_AZIMUTH_DEG + _CUT_SKEW_DEG + np.array([-45.0, 45.0]))
    beyond = [positions[:, 0] * np.cos(side) + positions[:, 1] * np.sin(side) > 1e-6 for side in sides]
    return np.asarray(~(beyond[0] & beyond[1]))


def _draw_atoms(
    axes: Axes, crystal: Crystal, view: NDArray[np.float64], values: NDArray[np.float64], norm: Normalize
) -> None:
    kept = np.flatnonzero(_kept(crystal.positions))
    order = kept[np.argsort(view[2, kept])]
    depth = view[2, order]
    shade = _DARKEST + (1 - _DARKEST) * (depth - depth[0]) / max(float(np.ptp(depth)), 1e-9)
    colours = mpl.colormaps[DIVERGING_CMAP](norm(values[order]))
    colours[:, :3] *= shade[:, None]
    edges = colours.copy()
    edges[:, :3] *= 0.55
    diameter_nm = crystal.lattice_constant / np.sqrt(2) / 10
    atoms = EllipseCollection(
        np.full(len(order), diameter_nm),
        np.full(len(order), diameter_nm),
        np.zeros(len(order)),
        units="xy",
        offsets=view[:2, order].T / 10,
        offset_transform=axes.transData,
        facecolors=colours,
        edgecolors=edges,
        linewidths=0.15,
    )
    axes.add_collection(atoms)


def _draw_arrow(axes: Axes, crystal: Crystal, reach: float, reflection: str) -> None:
    """Show the reflection's direction in the lower right corner; a short arrow points at or away from the viewer."""
    across, up, towards = _view() @ crystal.direction
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


def _draw_scale(axes: Axes, reach: float) -> None:
    length = next(step for step in (20, 10, 5, 2, 1, 0.5) if step <= reach or step == 0.5)
    left, low = -0.98 * reach, -1.08 * reach
    axes.plot([left, left + length], [low, low], color="black", linewidth=2, solid_capstyle="butt")
    axes.text(left + length / 2, low + 0.03 * reach, f"{length:g} nm", ha="center", va="bottom", fontsize=7)
