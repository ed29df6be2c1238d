"""A network's phases of particles whose phase grows in steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braggworks.figures.phases import PhaseExamples, draw_columns
from braggworks.figures.style import COLOURS, WIDE_MM, Look, new_figure, styled


@dataclass(frozen=True)
class PhaseSteps:
    """Scores of P particles in S steps.

    Parameters
    ----------
    phase_range, accuracy, wca
        (P, S): span of the object's phase in radians, accuracy in percent, and loss.
    example
        The first particle's patterns.
    title
        What was phased.
    """

    phase_range: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    wca: NDArray[np.float64]
    example: PhaseExamples
    title: str


@styled
def draw(found: PhaseSteps, look: Look) -> Figure:
    """Draw accuracy and loss from step to step, and one particle; after Masto's thesis, Fig. 4.43 to 4.46.

    Parameters
    ----------
    found
        What to draw.
    look
        Colour maps.
    """
    figure = new_figure(WIDE_MM, 252)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 3.4))[:, 0]
    for axes, values, name in zip(
        above.subplots(1, 2), (found.accuracy, found.wca), ("accuracy (%)", "loss WCA (1)"), strict=True
    ):
        axes.plot(found.phase_range.T, values.T, color="grey", linewidth=0.5, alpha=0.6)
        axes.plot(found.phase_range.mean(axis=0), values.mean(axis=0), marker="o", color=COLOURS["network"])
        axes.set_xlabel("phase range of the object (rad)")
        axes.set_ylabel(name)
        axes.grid(alpha=0.25, linewidth=0.5)
    draw_columns(below, found.example, look)
    number = len(found.accuracy)
    several = f"{number} particles (grey) and their mean; below, the first one"
    figure.suptitle(f"{found.title}: {'one particle' if number == 1 else several}")
    return figure
