"""What phase retrieval makes of a pattern with a gap, by how the gap is masked or filled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.style import (
    DIVERGING_CMAP,
    WIDE_MM,
    Look,
    counts_cmap,
    counts_colorbar,
    counts_norm,
    mark_gap,
    new_figure,
    outline,
    power_text,
    styled,
)

_CALLED = {
    "truth": "truth",
    "complete": "no gap",
    "free": "gap free",
    "streaks": "streaks free",
    "zeros": "gap zero",
}
_ZOOM = 0.75  # share of the pattern that is shown


@dataclass(frozen=True)
class Strategies:
    """Objects by strategy S, the truth first, in the plane through the centre (rows, columns).

    Parameters
    ----------
    names
        Strategies.
    modulus
        Shape (S, rows, columns), relative to the mean modulus of the object.
    strain
        Along G, dimensionless, the same shape.
    support
        True in the object, (rows, columns).
    projection
        Calculated counts summed along the rocking curve, shape (S, n, n).
    gap
        True in the gap of the detector image, (n, n).
    strain_rmse, modulus_rmse
        Differences from the truth, means over the particles, shape (S,).
    """

    names: list[str]
    modulus: NDArray[np.float64]
    strain: NDArray[np.float64]
    support: NDArray[np.bool_]
    projection: NDArray[np.float64]
    gap: NDArray[np.bool_]
    strain_rmse: NDArray[np.float64]
    modulus_rmse: NDArray[np.float64]


@styled
def draw(found: Strategies, look: Look) -> Figure:
    """Draw pattern, modulus and strain of every strategy; after Masto's thesis, Fig. 3.24 and 3.25.

    Parameters
    ----------
    found
        What to draw.
    look
        Colour map of intensities.
    """
    columns = len(found.names)
    figure = new_figure(WIDE_MM, 84)
    grid = figure.subplots(3, columns, squeeze=False)
    margin = round(found.projection.shape[1] * (1 - _ZOOM) / 2)
    inner = slice(margin, found.projection.shape[1] - margin)
    norm = counts_norm(found.projection.max())
    largest = float(np.quantile(np.abs(found.strain[:, found.support]), 0.98)) or 1.0
    for column, name in enumerate(found.names):
        pattern, modulus, strain = grid[:, column]
        shown = pattern.imshow(found.projection[column, inner, inner], cmap=counts_cmap(look), norm=norm)
        mark_gap(pattern, found.gap[inner, inner])
        pattern.set_title(_CALLED.get(name, name))
        moduli = modulus.imshow(found.modulus[column], cmap="gray", vmin=0, vmax=1.3)
        masked = np.ma.array(found.strain[column], mask=~found.support)
        strains = strain.imshow(masked, cmap=DIVERGING_CMAP, vmin=-largest, vmax=largest)
        outline(strain, found.support)
        if column:
            _below(modulus, f"{found.modulus_rmse[column]:.3f}")
            _below(strain, power_text(found.strain_rmse[column]))
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    for row, label in zip(grid, ("$q_y$ (px)", "y, along G (px)", "y, along G (px)"), strict=True):
        row[0].set_ylabel(label)
    grid[0, 0].set_xlabel("$q_x$ (px)")
    grid[2, 0].set_xlabel("x (px)")
    bar = counts_colorbar(shown, list(grid[0]), label="sum along z\n(counts)", pad=0.01)
    bar.set_ticks(list(map(float, bar.get_ticks()[::2])))
    figure.colorbar(moduli, ax=list(grid[1]), pad=0.01).set_label("modulus\n(of its mean)")
    figure.colorbar(strains, ax=list(grid[2]), pad=0.01).set_label("strain\n(dimensionless)")
    return figure


def _below(axes: Axes, error: str) -> None:
    """Write an error under a picture."""
    axes.text(0.5, -0.06, f"RMSE {error}", transform=axes.transAxes, ha="center", va="top", fontsize=7)
