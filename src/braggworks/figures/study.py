"""Networks that are trained alike but for some keys: their accuracies in the gap, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.style import COLOURS, WIDE_MM, Look, new_figure, styled

_MARKERS = "osD^vP*X<>"


@dataclass(frozen=True)
class Study:
    """Scores of every variant at every gap width.

    Parameters
    ----------
    widths
        Gap widths, shape (W,), in pixels.
    pcc
        By variant: mean Pearson correlation of log(1 + counts) in the gap, and the bounds of its 95 % interval, (3, W).
    linear
        The same of linear interpolation, (3, W).
    patches, particles
        How many were scored.
    """

    widths: NDArray[np.int64]
    pcc: dict[str, NDArray[np.float64]]
    linear: NDArray[np.float64]
    patches: int
    particles: int


@styled
def draw(study: Study, look: Look) -> Figure:
    """Draw the accuracy of every variant against gap width, and on the right its gain over linear interpolation.

    Parameters
    ----------
    study
        What to draw.
    look
        The intensity map's colours tell variants apart.
    """
    figure = new_figure(WIDE_MM, 86)
    left, right = figure.subplots(1, 2)
    colours = mpl.colormaps[look.intensity_cmap](np.linspace(0.0, 0.85, len(study.pcc)))
    step = 0.03 * float(np.ptp(study.widths) or 1) / max(len(study.pcc), 1)
    left.plot(study.widths, study.linear[0], linestyle=":", marker=".", color=COLOURS["linear"], label="linear")
    for place, ((name, pcc), colour) in enumerate(zip(study.pcc.items(), colours, strict=True)):
        x = study.widths + step * (place - (len(study.pcc) - 1) / 2)
        bars = np.nan_to_num(np.clip([pcc[0] - pcc[1], pcc[2] - pcc[0]], 0, None))
        style = {"marker": _MARKERS[place % len(_MARKERS)], "color": colour, "label": name}
        left.errorbar(x, pcc[0], yerr=bars, capsize=2, **style)
        right.plot(study.widths, pcc[0] - study.linear[0], **style)
    right.axhline(0, color="black", linewidth=0.6)
    left.set_ylabel("mean PCC in the gap (dimensionless)")
    right.set_ylabel("network − linear, PCC (dimensionless)")
    for axes in (left, right):
        axes.set_xlabel("gap width (px)")
        axes.set_xticks(study.widths)
        axes.grid(alpha=0.25, linewidth=0.5)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5))
    figure.suptitle(
        f"PCC of log(1 + counts) on {study.patches} held-out patches of {study.particles} particles; "
        "bars: 95 % bootstrap interval over particles"
    )
    return figure
