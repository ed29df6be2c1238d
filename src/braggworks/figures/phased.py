"""A phased object: modulus, phase, strain and uncertainty in three slices, its surface, and how far runs agree."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter
from skimage.measure import marching_cubes

from braggworks.figures.style import (
    DIVERGING_CMAP,
    OUTSIDE_GREY,
    WIDE_MM,
    Look,
    new_figure,
    outline,
    phase_colorbar,
    phase_scale,
    styled,
)

_LEVEL = 0.5  # of the support, where its surface lies
_QUANTILE = 0.98
_SOLID = 0.5  # of the median modulus, below which a voxel is more gap than crystal
_SMOOTH = 1.0  # voxels, of the surface, which else is a staircase


@dataclass(frozen=True)
class PhasedObject:
    """What is known of a crystal.

    Parameters
    ----------
    modulus, phase
        (z, y, x), any scale, and radians; NaN outside the support.
    strain
        Along G, dimensionless, NaN where it is not known; None without a geometry.
    uncertainty
        Standard deviation of the phase over the runs, in radians, NaN where it is not known; None for a single run.
    support
        True inside.
    voxel_nm
        Edge of a voxel; None if it is not known, and axes are in voxels of the array.
    prtf_q, prtf
        Phase retrieval transfer function by |q|, in units of the nearest edge's distance; NaN for a single run.
    prtf_chance
        What it would be for runs that know nothing of each other.
    title
        What was measured.
    """

    modulus: NDArray[np.float64]
    phase: NDArray[np.float64]
    strain: NDArray[np.float64] | None
    uncertainty: NDArray[np.float64] | None
    support: NDArray[np.bool_]
    voxel_nm: float | None
    prtf_q: NDArray[np.float64]
    prtf: NDArray[np.float64]
    prtf_chance: float
    title: str


@styled
def draw(found: PhasedObject, look: Look) -> Figure:
    """Draw the object.

    Parameters
    ----------
    found
        What to draw.
    look
        Colour map of phases.
    """
    rows = 2 + (found.strain is not None) + (found.uncertainty is not None)
    figure = new_figure(WIDE_MM, 42 * rows + 12)
    grid = figure.add_gridspec(rows, 5, width_ratios=(1, 1, 1, 0.07, 1.4))
    slices = np.array([[figure.add_subplot(grid[row, column]) for column in range(3)] for row in range(rows)])
    for column, (axis, names) in enumerate(((0, "yx"), (1, "zx"), (2, "zy"))):
        images = _column(found, slices[:, column], axis, names, look)
    _colorbars([figure.add_subplot(grid[row, 3]) for row in range(rows)], images, found)
    figure.suptitle(found.title)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02)  # type: ignore[union-attr, call-arg]
    _surface(figure.add_subplot(grid[:-1, 4], projection="3d"), found, look)
    curve = figure.add_subplot(grid[-1, 4])
    _transfer(curve, found)
    return figure


def _transfer(axes: Axes, found: PhasedObject) -> None:
    """Draw how far the runs' phases agree by |q|, with the level of chance."""
    axes.set(xlim=(0, 1), ylim=(0, 1.15), xlabel="|q| (of the nearest edge)", ylabel="transfer function (1)")
    if not np.isfinite(found.prtf).any():
        axes.text(0.5, 0.5, "not known\nfrom one run", ha="center", va="center", transform=axes.transAxes)
        return
    axes.plot(found.prtf_q, found.prtf, color="black", linewidth=1)
    axes.axhline(found.prtf_chance, color="0.5", linewidth=0.7, linestyle=":")
    axes.annotate("chance", (0.02, found.prtf_chance), va="bottom", color="0.4")


def _column(found: PhasedObject, axes: NDArray[np.object_], axis: int, names: str, look: Look) -> list[AxesImage]:
    """Draw the slices through the middle of the object, normal to one axis; return what they are coloured by."""
    middle = int(np.round(np.argwhere(found.support).mean(axis=0)[axis]))
    cut: tuple[slice | int, ...] = tuple(middle if a == axis else slice(None) for a in range(3))
    step = found.voxel_nm or 1.0
    support = found.support[cut]
    rows, columns = (np.array([-0.5, n - 0.5]) - n // 2 for n in support.shape)
    extent = (*(columns * step), *(rows * step))
    reach = _reach(found)
    where = {"origin": "lower", "extent": extent, "interpolation": "nearest"}
    unit = "nm" if found.voxel_nm else "voxels"
    typical = float(np.quantile(found.modulus[found.support], _QUANTILE))
    images = [axes[0].imshow(found.modulus[cut] / typical, cmap="gray", vmin=0, vmax=1.1, **where)]
    scale = phase_scale(_typical(found.phase, found), look)
    phase = np.ma.array(_wrapped(found.phase[cut], scale["vmax"]), mask=~support)
    cmap = mpl.colormaps[scale["cmap"]].with_extremes(bad=OUTSIDE_GREY)
    images.append(axes[1].imshow(phase, **{**scale, "cmap": cmap}, **where))
    if found.strain is not None:
        largest = _typical(found.strain, found)
        strain = np.ma.masked_invalid(found.strain[cut])
        cmap = mpl.colormaps[DIVERGING_CMAP].with_extremes(bad=OUTSIDE_GREY)
        images.append(axes[2].imshow(strain, cmap=cmap, vmin=-largest, vmax=largest, **where))
    if found.uncertainty is not None:
        spread = np.ma.masked_invalid(found.uncertainty[cut])
        most = _typical(found.uncertainty, found)
        shades = mpl.colormaps[look.intensity_cmap].with_extremes(bad=OUTSIDE_GREY)
        images.append(axes[-1].imshow(spread, cmap=shades, vmin=0, vmax=most, **where))
    for each in axes[1:]:
        outline(each, support, extent)
    for each in axes:
        each.set(xlim=(-reach, reach), ylim=(-reach, reach), facecolor="black" if each is axes[0] else OUTSIDE_GREY)
        each.set_ylabel(f"{names[0]} ({unit})")
    axes[-1].set_xlabel(f"{names[1]} ({unit})")
    return images


def _typical(values: NDArray[np.float64], found: PhasedObject) -> float:
    """Return how far values reach inside; the outermost voxels, and those that hold little, may have any."""
    known = np.isfinite(values) & found.support
    inside = _interior(known) & (found.modulus > _SOLID * np.median(found.modulus[found.support]))
    return float(np.quantile(np.abs(values[inside if inside.any() else known]), _QUANTILE)) or 1e-9


def _interior(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return all but the outermost voxels, or all if there are no others."""
    within = binary_erosion(inside)
    return np.asarray(within if within.any() else inside, bool)


def _reach(found: PhasedObject) -> float:
    """Return the largest distance of the object from the middle along any axis, and a little more."""
    inside = np.argwhere(found.support) - np.array(found.support.shape) // 2
    return float(np.abs(inside).max() + 2) * (found.voxel_nm or 1.0)


def _colorbars(axes: list[Axes], images: list[AxesImage], found: PhasedObject) -> None:
    figure = axes[0].figure
    figure.colorbar(images[0], cax=axes[0]).set_label("modulus (1)")
    phase_colorbar(
        images[1],
        axes[1],
        cax=axes[1],
        extend="neither" if images[1].get_clim()[1] == np.pi else "both",
        extendfrac=0.03,
    )
    if found.strain is not None:
        bar = figure.colorbar(images[2], cax=axes[2], extend="both", extendfrac=0.03)
        bar.ax.ticklabel_format(axis="y", scilimits=(-2, 2))
        bar.set_label("strain (1)")
    if found.uncertainty is not None:
        figure.colorbar(images[-1], cax=axes[-1], extend="max", extendfrac=0.03).set_label(
            "phase scatter of runs (rad)"
        )


def _wrapped(phase: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Return a phase as the scale shows it: within a turn on a cyclic one, as it is on another."""
    return np.angle(np.exp(1j * phase)) if limit == np.pi else phase


def _surface(axes: Axes, found: PhasedObject, look: Look) -> None:
    """Draw the surface of the smoothed support, coloured by the phase beneath its outermost voxels."""
    assert isinstance(axes, Axes3D)  # noqa: S101
    padded = gaussian_filter(np.pad(found.support.astype(np.float32), 2), _SMOOTH)
    vertices, faces, _, _ = marching_cubes(padded, _LEVEL)  # type: ignore[no-untyped-call]
    vertices = (vertices - 2) - (np.array(found.support.shape) // 2)
    scale = phase_scale(_typical(found.phase, found), look)
    centres = np.round(vertices[faces].mean(axis=1) + np.array(found.support.shape) // 2).astype(int)
    centres = np.clip(centres, 0, np.array(found.support.shape) - 1)
    beneath = distance_transform_edt(~_interior(found.support), return_distances=False, return_indices=True)
    phase = _wrapped(found.phase[tuple(beneath[:, *centres.T])], scale["vmax"])
    normals = np.cross(vertices[faces][:, 1] - vertices[faces][:, 0], vertices[faces][:, 2] - vertices[faces][:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    shade = 0.65 + 0.35 * np.abs(normals @ np.array([0.4, 0.8, 0.45]))
    colours = mpl.colormaps[scale["cmap"]]((phase - scale["vmin"]) / (scale["vmax"] - scale["vmin"]))
    colours[:, :3] *= shade[:, None]
    step = found.voxel_nm or 1.0
    axes.add_collection3d(Poly3DCollection(vertices[faces][..., ::-1] * step, facecolors=colours, linewidths=0))
    reach = 0.85 * _reach(found)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach))
    unit = "nm" if found.voxel_nm else "voxels"
    axes.set_xlabel(f"x ({unit})", labelpad=-6)
    axes.set_ylabel(f"y ({unit})", labelpad=-6)
    axes.set_zlabel(f"z ({unit})", labelpad=-6)
    axes.tick_params(pad=-3)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_major_locator(MaxNLocator(3))
    axes.set_box_aspect((1, 1, 1), zoom=1.25)
