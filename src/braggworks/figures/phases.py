"""What a network for reciprocal-space phases finds on held-out patterns, and how good that is by phase range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from braggworks.figures.gallery import support_of
from braggworks.figures.style import (
    OUTSIDE_GREY,
    SERIES,
    WIDE_MM,
    Look,
    corner_text,
    counts_cmap,
    counts_norm,
    new_figure,
    phase_colorbar,
    styled,
)
from braggworks.phasing.alignment import align
from braggworks.phasing.objects import object_of

_MOST = 5
_MARGIN = 3
_ROWS = (
    "counts (1)",
    "true\nRSP (rad)",
    "network's\nRSP (rad)",
    "true\nmodulus (1)",
    "network's\nmodulus (1)",
    "true\nphase (rad)",
    "network's\nphase (rad)",
)
_MARKERS = "osD^vP*"


@dataclass(frozen=True)
class PhaseExamples:
    """Patterns with true and found phases.

    Parameters
    ----------
    counts, phase, network
        (k, z, y, x) or (k, y, x): counts, and phases in radians.
    phase_range
        (k,) span of the object's phase, in radians.
    wca, accuracy
        (k,) loss of the network's phase, and accuracy of its object in percent.
    """

    counts: NDArray[np.number]
    phase: NDArray[np.float32]
    network: NDArray[np.float32]
    phase_range: NDArray[np.float64]
    wca: NDArray[np.float64]
    accuracy: NDArray[np.float64]


@dataclass(frozen=True)
class RangeScores:
    """Scores of held-out patterns.

    Parameters
    ----------
    campaign
        (n,) name of each pattern's campaign.
    phase_range
        (n,) span of the object's phase, in radians.
    wca, accuracy
        By method, (n,) each.
    isotropy, true_isotropy
        (n,) share of the amplitude that is coherent in shells of equal |q|: of the network's phase, and of the truth.
    """

    campaign: NDArray[np.str_]
    phase_range: NDArray[np.float64]
    wca: dict[str, NDArray[np.float64]]
    accuracy: dict[str, NDArray[np.float64]]
    isotropy: NDArray[np.float64]
    true_isotropy: NDArray[np.float64]


@styled
def draw_examples(examples: PhaseExamples, look: Look) -> Figure:
    """Draw central slices of patterns, phases and objects; the network's object is the better twin, moved in place.

    Parameters
    ----------
    examples
        What to draw; up to five that span the phase ranges.
    look
        Colour maps.
    """
    figure = new_figure(WIDE_MM, 30 * len(_ROWS))
    draw_columns(figure, examples, look)
    return figure


def draw_columns(figure: Figure | SubFigure, examples: PhaseExamples, look: Look) -> None:
    """Draw a column for each of up to five patterns that span the phase ranges."""
    order = np.argsort(examples.phase_range)
    chosen = order[np.unique(np.linspace(0, len(order) - 1, _MOST).round().astype(int))]
    grid = figure.subplots(len(_ROWS), len(chosen), squeeze=False)
    for column, index in enumerate(chosen):
        images = _column(grid[:, column], examples, int(index), look)
    for axes, name in zip(grid[:, 0], _ROWS, strict=True):
        axes.set_ylabel(name)
    bar = figure.colorbar(images[0], ax=list(grid[0]), shrink=0.9)
    bar.set_ticks([0, float(images[0].get_clim()[1])], labels=["0", "max"])
    bar.set_label("counts (log scale)")
    phase_colorbar(images[1], list(grid[1:3].flat), shrink=0.6)
    figure.colorbar(images[3], ax=list(grid[3:5].flat), shrink=0.6).set_label("modulus (of the largest)")
    phase_colorbar(images[5], list(grid[5:].flat), shrink=0.6)


def _column(axes: NDArray[np.object_], examples: PhaseExamples, index: int, look: Look) -> list[AxesImage]:
    counts, truth, found = examples.counts[index], examples.phase[index], examples.network[index]
    true_object = object_of(counts, truth)
    moved = align(object_of(counts, found), true_object)
    shown = nearest(found, truth, counts)
    images = [axes[0].imshow(central(counts), norm=counts_norm(float(counts.max())), cmap=counts_cmap(look))]
    cyclic = {"cmap": look.phase_cmap, "vmin": -np.pi, "vmax": np.pi, "interpolation": "nearest"}
    images += [
        each.imshow(np.angle(np.exp(1j * central(p))), **cyclic)
        for each, p in zip(axes[1:3], (truth, shown), strict=True)
    ]
    objects = [central(each) for each in (true_object, moved)]
    inside = around(support_of(np.abs(central(true_object))))
    for place, each in enumerate(objects):
        part = each[inside]
        modulus = np.abs(part) / np.abs(part).max()
        images.append(axes[3 + place].imshow(modulus, cmap="gray", vmin=0, vmax=1, interpolation="nearest"))
    for place, each in enumerate(objects):
        part = each[inside]
        phase = np.ma.array(np.angle(part), mask=~support_of(np.abs(part)))
        images.append(axes[5 + place].imshow(phase, **cyclic))
        axes[5 + place].set_facecolor(OUTSIDE_GREY)
    axes[0].set_title(f"range {examples.phase_range[index]:.1f} rad")
    corner_text(axes[2], f"WCA {examples.wca[index]:.2f}")
    corner_text(axes[4], f"{examples.accuracy[index]:.0f} %")
    for each in axes:
        each.set_xticks([])
        each.set_yticks([])
    return images


@styled
def draw_range(scores: RangeScores, look: Look) -> Figure:
    """Draw the mean loss and accuracy against the phase range, by campaign, and how spherical phases are found.

    Parameters
    ----------
    scores
        What to draw.
    look
        Not used: there is no image.
    """
    figure = new_figure(WIDE_MM, 84)
    left, middle, right = figure.subplots(1, 3)
    edges = np.linspace(0, np.ceil(scores.phase_range.max()), 9)
    for axes, values, name in ((left, scores.wca, "loss WCA (1)"), (middle, scores.accuracy, "accuracy (%)")):
        _curves(axes, scores, values, edges)
        axes.set_xlabel("phase range of the object (rad)")
        axes.set_ylabel(name)
        axes.grid(alpha=0.25, linewidth=0.5)
    for number, campaign in enumerate(np.unique(scores.campaign)):
        mine = scores.campaign == campaign
        right.plot(
            scores.true_isotropy[mine], scores.isotropy[mine], ".", color=SERIES[number % len(SERIES)], markersize=3
        )
    right.plot([0, 1], [0, 1], color="black", linewidth=0.6)
    right.set(xlim=(0, 1), ylim=(0, 1), xlabel="isotropy of the true RSP (1)", ylabel="of the network's (1)")
    right.grid(alpha=0.25, linewidth=0.5)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    figure.suptitle(
        f"{len(scores.phase_range)} held-out patterns; marks are means over a range, bars 95 % of the mean's error"
    )
    return figure


def _curves(
    axes: Axes, scores: RangeScores, values: dict[str, NDArray[np.float64]], edges: NDArray[np.float64]
) -> None:
    bins = np.digitize(scores.phase_range, edges[1:-1])
    middle = (edges[:-1] + edges[1:]) / 2
    for number, campaign in enumerate(np.unique(scores.campaign)):
        mine = scores.campaign == campaign
        for method, found in values.items():
            main = method == "network"
            groups = [found[mine & (bins == k)] for k in range(len(middle))]
            mean = np.array([group.mean() if group.size else np.nan for group in groups])
            error = np.array([1.96 * group.std() / np.sqrt(group.size) if group.size else 0 for group in groups])
            axes.errorbar(
                middle + 0.12 * number,
                mean,
                yerr=error if main else None,
                marker=_MARKERS[number % len(_MARKERS)] if main else None,
                linestyle="-" if main else ":",
                color=SERIES[number % len(SERIES)],
                capsize=2,
                label=f"{campaign}, {method}",
            )


def nearest(found: NDArray[Any], truth: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return a phase or its twin's, turned to be nearest to the truth: what the loss compares."""
    overlaps = {sign: (np.sqrt(counts) * np.exp(1j * (truth - sign * found))).sum() for sign in (1, -1)}
    sign = max(overlaps, key=lambda each: abs(overlaps[each]))
    return np.asarray(sign * found + np.angle(overlaps[sign]))


def central(values: NDArray[Any]) -> NDArray[Any]:
    """Return the central plane of an array, (y, x)."""
    return np.asarray(values[values.shape[0] // 2] if values.ndim == 3 else values)


def around(inside: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the square around a support and a margin, its centre that of the array."""
    half = int(np.abs(np.argwhere(inside) - np.array(inside.shape) // 2).max()) + _MARGIN
    return tuple(slice(max(0, n // 2 - half), n // 2 + half) for n in inside.shape)
