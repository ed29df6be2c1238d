"""The loss of a training by epoch, and the learning rate below it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from braggworks.figures.style import COLOURS, SINGLE_MM, Look, new_figure, styled


@dataclass(frozen=True)
class History:
    """What a training recorded, one entry per epoch.

    Parameters
    ----------
    epoch
        Number of the epoch, from 1 or 0, as recorded.
    train_loss, validation_loss
        Mean loss; not finite where it was not computed.
    learning_rate
        Adam's learning rate.
    """

    epoch: NDArray[np.float64]
    train_loss: NDArray[np.float64]
    validation_loss: NDArray[np.float64]
    learning_rate: NDArray[np.float64]


@styled
def draw(history: History, look: Look) -> Figure:
    """Draw training and validation loss, with the best epoch marked, and the learning rate.

    Parameters
    ----------
    history
        What to draw.
    look
        Not used: there is no image.
    """
    figure = new_figure(SINGLE_MM, 84)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for name, loss in (("train", history.train_loss), ("validation", history.validation_loss)):
        if np.isfinite(loss).any():
            upper.plot(history.epoch, loss, marker="o", markersize=2.5, color=COLOURS[name], label=name)
    if np.isfinite(history.validation_loss).any():
        best = int(np.nanargmin(np.where(np.isfinite(history.validation_loss), history.validation_loss, np.nan)))
        upper.plot(
            history.epoch[best],
            history.validation_loss[best],
            marker="o",
            markersize=7,
            markerfacecolor="none",
            markeredgecolor="black",
            linestyle="none",
            label=f"best: {history.validation_loss[best]:.4g}, epoch {history.epoch[best]:.0f}",
        )
    upper.set_yscale("log")
    low, high = upper.get_ylim()
    if high < 30 * low:
        upper.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        upper.yaxis.set_major_formatter("{x:g}")
        upper.yaxis.set_minor_locator(NullLocator())
    upper.set_ylabel("loss (dimensionless)")
    upper.legend()
    lower.step(history.epoch, history.learning_rate, where="mid", color="black", marker=".")
    lower.set_yscale("log")
    lower.set_ylabel("learning rate\n(dimensionless)")
    lower.set_xlabel("epoch (passes over the training samples)")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axes in (upper, lower):
        axes.grid(alpha=0.25, linewidth=0.5)
    figure.align_ylabels()
    return figure
