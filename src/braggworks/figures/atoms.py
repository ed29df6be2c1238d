"""Particles as spheres, seen from one side, for the figures that show atoms."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

# The viewer looks from this azimuth and elevation; the quarter of the particle that faces the viewer is cut away.
_AZIMUTH_DEG = -52.0
_ELEVATION_DEG = 24.0
_CUT_SKEW_DEG = 12.0
# Farther atoms are drawn darker, down to this factor.
_DARKEST = 0.82
# Atoms farther behind the nearest one than this, in diameters, cannot be seen through the gaps of a close packing.
_DEPTH_DIAMETERS = 2.5


def view() -> NDArray[np.float64]:
    """Return the rotation to the viewer's frame: rows are right, up and towards the viewer."""
    azimuth, elevation = np.deg2rad([_AZIMUTH_DEG, _ELEVATION_DEG])
    towards = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    return np.stack([right, np.cross(towards, right), towards])


def behind_cut(positions: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which atoms are left when the vertical quarter that faces the viewer is taken out.

    Parameters
    ----------
    positions
        Atoms, shape (N, 3), columns (x, y, z), centred on the particle.
    """
    sides = np.deg2rad(_AZIMUTH_DEG + _CUT_SKEW_DEG + np.array([-45.0, 45.0]))
    beyond = [positions[:, 0] * np.cos(side) + positions[:, 1] * np.sin(side) > 1e-6 for side in sides]
    return np.asarray(~(beyond[0] & beyond[1]))


def in_sight(seen: NDArray[np.float64], diameter: float) -> NDArray[np.bool_]:
    """Return which atoms are not hidden deep behind others, so that large particles are drawn quickly.

    Parameters
    ----------
    seen
        Atoms in the viewer's frame, shape (3, N): right, up, towards the viewer.
    diameter
        Diameter of an atom, in the unit of `seen`.
    """
    cells = np.floor((seen[:2] - seen[:2].min(axis=1, keepdims=True)) / diameter).astype(np.int64)
    nearest = np.full(cells.max(axis=1) + 1, -np.inf)
    np.maximum.at(nearest, tuple(cells), seen[2])
    # An atom beside an edge is seen past it: it is hidden only where all cells around it are covered.
    covered = minimum_filter(nearest, size=3, mode="constant", cval=-np.inf)
    return np.asarray(seen[2] > covered[tuple(cells)] - _DEPTH_DIAMETERS * diameter)


def draw_atoms(axes: Axes, seen: NDArray[np.float64], colours: NDArray[np.float64], diameter: float) -> None:
    """Draw atoms as discs, the farthest first and darkest, into axes in nanometres.

    Parameters
    ----------
    axes
        Where to draw.
    seen
        Atoms in the viewer's frame, shape (3, N), in angstrom.
    colours
        RGBA of each atom, shape (N, 4).
    diameter
        Diameter of an atom, in angstrom.
    """
    shown = np.flatnonzero(in_sight(seen, diameter))
    order = shown[np.argsort(seen[2, shown])]
    depth = seen[2, order]
    faces = colours[order].copy()
    faces[:, :3] *= (_DARKEST + (1 - _DARKEST) * (depth - depth[0]) / max(float(np.ptp(depth)), 1e-9))[:, None]
    edges = faces.copy()
    edges[:, :3] *= 0.55
    across = np.full(len(order), diameter / 10)
    axes.add_collection(
        EllipseCollection(
            across,
            across,
            np.zeros(len(order)),
            units="xy",
            offsets=seen[:2, order].T / 10,
            offset_transform=axes.transData,
            facecolors=faces,
            edgecolors=edges,
            linewidths=0.15,
        )
    )


def draw_scale(axes: Axes, reach: float) -> None:
    """Draw a bar of a round length, in nanometres, into the lower left corner of axes that reach so far."""
    length = next(step for step in (20, 10, 5, 2, 1, 0.5) if step <= reach or step == 0.5)
    left, low = -0.98 * reach, -1.08 * reach
    axes.plot([left, left + length], [low, low], color="black", linewidth=2, solid_capstyle="butt")
    axes.text(left + length / 2, low + 0.03 * reach, f"{length:g} nm", ha="center", va="bottom", fontsize=7)


def atom_count(atoms: int) -> str:
    """Return a number of atoms with thin spaces between its thousands."""
    return f"{atoms:,} atoms".replace(",", "\N{THIN SPACE}")
