"""What a last step of consistency with the autocorrelation adds to a filled gap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.style import SERIES, WIDE_MM, Look, new_figure, styled

_MARKERS = "os^Dv"


@dataclass(frozen=True)
class Consistency:
    """Errors of the strain with and without the step.

    Parameters
    ----------
    share, weight
        Settings of the step, shapes (S,) and (C,).
    ratio, widths
        Oversampling ratios, (R,), and gap widths in pixels, (W,).
    rmse
        Without the step, (R, W, particles).
    rmse_after
        With it, (S, C, R, W, particles).
    """

    share: NDArray[np.float64]
    weight: NDArray[np.float64]
    ratio: NDArray[np.float64]
    widths: NDArray[np.int64]
    rmse: NDArray[np.float64]
    rmse_after: NDArray[np.float64]


@styled
def draw(found: Consistency, look: Look) -> Figure:
    """Draw the error without the step over that with it, of the particles' means, against gap width.

    Parameters
    ----------
    found
        What to draw.
    look
        Not used: there is no image.
    """
    del look
    figure = new_figure(WIDE_MM, 72)
    panels = figure.subplots(1, len(found.ratio), sharey=True, squeeze=False)[0]
    gains = found.rmse.mean(axis=-1) / found.rmse_after.mean(axis=-1)
    for row, (axes, ratio) in enumerate(zip(panels, found.ratio, strict=True)):
        for number, (s, c) in enumerate(np.ndindex(len(found.share), len(found.weight))):
            axes.plot(
                found.widths,
                gains[s, c, row],
                marker=_MARKERS[number % len(_MARKERS)],
                color=SERIES[number % len(SERIES)],
                label=f"share {found.share[s]:g}, weight {found.weight[c]:g}",
            )
        axes.axhline(1, color="black", linewidth=0.6)
        axes.set_title(f"oversampling {ratio:g}")
        axes.set_xlabel("gap width (px)")
        axes.set_xticks(found.widths)
        axes.grid(alpha=0.25, linewidth=0.5)
    panels[0].set_ylabel("strain's RMSE without / with the step\n(dimensionless)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    figure.suptitle(f"{found.rmse.shape[-1]} particles of zero phase, noise-free; above 1 the step helps")
    return figure
