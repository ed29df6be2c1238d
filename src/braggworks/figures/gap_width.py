"""Accuracy in the gap against its width, and the network's gain over linear interpolation by intensity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.style import COLOURS, WIDE_MM, Look, error_bars, new_figure, styled
from braggworks.reporting.published import INPAINTING_PCC

_MARKERS = {"network": "o", "linear": "s", "cubic": "^", "nearest": "v"}
_BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.15)}


@dataclass(frozen=True)
class Sweep:
    """Scores of every method at every gap width.

    Parameters
    ----------
    widths
        Gap widths, shape (W,), in pixels.
    methods
        Names of the M methods.
    pcc
        Mean Pearson correlation of log(1 + counts) in the gap, and the bounds of its 95 % interval, shape (3, M, W).
    stratum_counts
        Mean counts per voxel in each stratum of patches, shape (S,).
    gain
        Mean over patches of network minus linear, and the bounds of its 95 % interval, shape (3, W, S).
    patches, particles
        How many were scored.
    """

    widths: NDArray[np.int64]
    methods: tuple[str, ...]
    pcc: NDArray[np.float64]
    stratum_counts: NDArray[np.float64]
    gain: NDArray[np.float64]
    patches: int
    particles: int


@styled
def draw(sweep: Sweep, look: Look) -> Figure:
    """Draw accuracy against gap width beside the published curve, and the gain by stratum of intensity.

    Parameters
    ----------
    sweep
        What to draw.
    look
        The intensity map's colours tell gap widths apart.
    """
    figure = new_figure(WIDE_MM, 86)
    left, right = figure.subplots(1, 2)
    _draw_accuracy(left, sweep)
    _draw_gain(right, sweep, look)
    figure.suptitle(
        f"PCC of log(1 + counts) on {sweep.patches} held-out patches of {sweep.particles} particles; "
        "bars: 95 % bootstrap interval over particles"
    )
    for axes in (left, right):
        axes.grid(alpha=0.25, linewidth=0.5)
    return figure


def _draw_accuracy(axes: Axes, sweep: Sweep) -> None:
    published = [(width, anchor.value) for width, anchor in INPAINTING_PCC.items()]
    axes.plot(
        *np.array(published, dtype=np.float64).T,
        marker="D",
        linestyle=":",
        color=COLOURS["published"],
        label="Masto et al. 2024, noise-free",
    )
    order = sorted(range(len(sweep.methods)), key=lambda k: -float(np.nansum(sweep.pcc[0, k])))
    # Methods stand side by side, so that no bar hides another.
    step = 0.04 * float(np.ptp(sweep.widths) or 1) / max(len(order), 1)
    for place, k in enumerate(order):
        name = sweep.methods[k]
        x = sweep.widths + step * (place - (len(order) - 1) / 2)
        axes.errorbar(
            x,
            sweep.pcc[0, k],
            yerr=error_bars(sweep.pcc[:, k]),
            marker=_MARKERS.get(name, "o"),
            color=COLOURS.get(name, "black"),
            label=name if name == "network" else f"{name} interpolation",
            capsize=2,
        )
    axes.set_xlabel("gap width (px)")
    axes.set_ylabel("mean PCC in the gap (dimensionless)")
    axes.set_xticks(sweep.widths)
    axes.legend(ncols=2, **_BELOW)


def _draw_gain(axes: Axes, sweep: Sweep, look: Look) -> None:
    colours = mpl.colormaps[look.intensity_cmap](np.linspace(0.0, 0.85, len(sweep.widths)))
    counts = np.maximum(sweep.stratum_counts, 1e-3)
    for k, (width, colour) in enumerate(zip(sweep.widths, colours, strict=True)):
        shift = 1 + 0.07 * (k - (len(sweep.widths) - 1) / 2)
        axes.errorbar(
            counts * shift,
            sweep.gain[0, k],
            yerr=error_bars(sweep.gain[:, k]),
            marker="o",
            color=colour,
            label=f"{width} px",
            capsize=2,
        )
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_xscale("log")
    axes.set_xlabel("mean counts per voxel of the stratum (counts)")
    axes.set_ylabel("network − linear, PCC (dimensionless)")
    axes.legend(title="gap width", ncols=max(len(sweep.widths), 1), columnspacing=1.2, **_BELOW)
