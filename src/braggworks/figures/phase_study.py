"""Networks for phases that are trained alike but for some keys: losses, accuracies, and one pattern by each."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.gallery import support_of
from braggworks.figures.phases import PhaseExamples, around, central, nearest
from braggworks.figures.style import COLOURS, OUTSIDE_GREY, WIDE_MM, Look, corner_text, error_bars, new_figure, styled
from braggworks.phasing.alignment import align
from braggworks.phasing.objects import object_of

_FLAT = "flat phase"
_ROWS = ("RSP (rad)", "modulus (1)", "phase (rad)")


@dataclass(frozen=True)
class PhaseStudy:
    """Scores of every variant on the same held-out patterns.

    Parameters
    ----------
    wca, accuracy
        By variant: mean, and the bounds of its 95 % interval, (3,); of a phase of 0 under ``flat phase``.
    examples
        By variant, of the same patterns.
    patterns, particles
        How many were scored.
    """

    wca: Mapping[str, NDArray[np.float64]]
    accuracy: Mapping[str, NDArray[np.float64]]
    examples: Mapping[str, PhaseExamples]
    patterns: int
    particles: int


@styled
def draw(study: PhaseStudy, look: Look) -> Figure:
    """Draw losses and accuracies of the variants, and below the pattern of the middle phase range by each.

    Parameters
    ----------
    study
        What to draw.
    look
        Colour map of phases.
    """
    columns = len(study.examples) + 1
    size = min(36.0, (WIDE_MM - 8) / columns)
    figure = new_figure(WIDE_MM, 26 + 6 * len(study.wca) + 3 * size + 8)
    parts = figure.subfigures(2, 1, height_ratios=(26 + 6 * len(study.wca), 3 * size + 8), squeeze=False)
    upper, lower = parts[:, 0]
    left, right = upper.subplots(1, 2, sharey=True)
    _dots(left, study.wca, "loss WCA, of the root of the counts (1)")
    _dots(right, study.accuracy, "accuracy of the object (%)")
    left.invert_yaxis()
    upper.suptitle(
        f"{study.patterns} held-out patterns of {study.particles} particles; bars: 95 % bootstrap interval over them"
    )
    grid = lower.subplots(len(_ROWS), columns, squeeze=False)
    _pictures(grid, study, look)
    return figure


def _dots(axes: Axes, scores: Mapping[str, NDArray[np.float64]], label: str) -> None:
    for row, (name, score) in enumerate(scores.items()):
        colour = COLOURS["linear"] if name == _FLAT else COLOURS["network"]
        axes.errorbar([score[0]], [row], xerr=error_bars(score[:, None]), marker="o", color=colour, capsize=2)
    axes.set_yticks(range(len(scores)), labels=list(scores))
    axes.set_xlabel(label)
    axes.grid(alpha=0.25, linewidth=0.5)


def _pictures(grid: NDArray[np.object_], study: PhaseStudy, look: Look) -> None:
    first = next(iter(study.examples.values()))
    index = int(np.argsort(first.phase_range)[len(first.phase_range) // 2])
    counts, truth = first.counts[index], first.phase[index]
    true_object = object_of(counts, truth)
    box = around(support_of(np.abs(central(true_object))))
    _column(grid[:, 0], truth, true_object, box, look)
    grid[0, 0].set_title(f"truth, {first.phase_range[index]:.1f} rad", fontsize=7)
    for column, (name, examples) in zip(grid.T[1:], study.examples.items(), strict=True):
        found = examples.network[index]
        moved = align(object_of(counts, found), true_object)
        _column(column, nearest(found, truth, counts), moved, box, look)
        # As many letters as a column is wide.
        title = textwrap.fill(name.replace("-", " "), max(10, 90 // grid.shape[1]))
        column[0].set_title(title, fontsize=7, linespacing=1.0)
        corner_text(column[0], f"{examples.wca[index]:.2f}")
        corner_text(column[1], f"{examples.accuracy[index]:.0f} %")
    for axes, name in zip(grid[:, 0], _ROWS, strict=True):
        axes.set_ylabel(name)


def _column(
    axes: NDArray[np.object_],
    phase: NDArray[np.floating],
    found: NDArray[np.complexfloating],
    box: tuple[slice, ...],
    look: Look,
) -> None:
    cyclic = {"cmap": look.phase_cmap, "vmin": -np.pi, "vmax": np.pi, "interpolation": "nearest"}
    axes[0].imshow(np.angle(np.exp(1j * central(phase))), **cyclic)
    part = central(found)[box]
    axes[1].imshow(np.abs(part) / np.abs(part).max(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes[2].imshow(np.ma.array(np.angle(part), mask=~support_of(np.abs(part))), **cyclic)
    axes[2].set_facecolor(OUTSIDE_GREY)
    for each in axes:
        each.set_xticks([])
        each.set_yticks([])
