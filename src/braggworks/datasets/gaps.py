"""Gap masks of detectors made of modules, and how they are shared out over the patches of a campaign.

A gap is a mask of the detector's plane (y, x). In samples with a rocking axis it is the same at every angle; in two
dimensions the plane is the sample. Shapes:

- vertical: an arm of full height, `width` columns wide;
- horizontal: an arm of full width, `width` rows high;
- cross: both;
- tee: a vertical arm of full height, and a horizontal one that starts at one edge and ends at it;
- layout: a piece of a real detector; see `braggworks.datasets.layouts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from braggworks.campaigns import GapShape
from braggworks.datasets.layouts import BORDER_PX, LAYOUTS, draw_regions
from braggworks.errors import ConfigError

if TYPE_CHECKING:
    from braggworks.campaigns import GapConfig

__all__ = ["BORDER_PX", "GAP_SHAPES", "NO_GAP", "GapPlan", "cross_gap", "gap_pixels", "gap_planes", "plan_gaps"]

#: Names of the shapes, by the number that stands for each in a shard.
GAP_SHAPES: tuple[GapShape, ...] = get_args(GapShape)
#: Stands for no gap.
NO_GAP = 255

_VERTICAL, _HORIZONTAL, _CROSS, _TEE, _LAYOUT = range(len(GAP_SHAPES))
# Sides from which the half arm of a tee comes.
_LOW, _HIGH = 0, 1


def vertical_gap(shape: tuple[int, ...], start: int, width: int) -> NDArray[np.bool_]:
    """Return the mask of a gap slab normal to the last axis.

    Parameters
    ----------
    shape
        Shape of the patch, frame or scan; the last axis is the detector's x.
    start
        First masked index along the last axis.
    width
        Width in pixels.

    Returns
    -------
    numpy.ndarray
        Boolean array of `shape`, true in the gap (not measured).

    Raises
    ------
    ConfigError
        If the gap does not lie inside the array.
    """
    mask = np.zeros(shape, bool)
    mask[..., _slab(shape[-1], start, width, "x")] = True
    return mask


def horizontal_gap(shape: tuple[int, ...], start: int, width: int) -> NDArray[np.bool_]:
    """Return the mask of a gap slab normal to the last axis but one, the detector's y; else as `vertical_gap`."""
    mask = np.zeros(shape, bool)
    mask[..., _slab(shape[-2], start, width, "y"), :] = True
    return mask


def cross_gap(shape: tuple[int, ...], start: tuple[int, int], width: int) -> NDArray[np.bool_]:
    """Return the mask of a cross: slabs normal to the last two axes (y, x), extending over all others.

    Parameters
    ----------
    shape
        Shape of the patch, frame or scan; the last two axes are the detector's y and x.
    start
        First masked index along y and x.
    width
        Width of both arms, in pixels.

    Returns
    -------
    numpy.ndarray
        Boolean array of `shape`, true in the gap (not measured).

    Raises
    ------
    ConfigError
        If the gap does not lie inside the array.
    """
    return vertical_gap(shape, start[1], width) | horizontal_gap(shape, start[0], width)


def tee_gap(shape: tuple[int, ...], start: tuple[int, int], width: int, *, high: bool) -> NDArray[np.bool_]:
    """Return the mask of a tee: a slab normal to x, and half a slab normal to y on one side of it.

    Parameters
    ----------
    shape, start, width
        As for `cross_gap`.
    high
        Whether the half arm lies at high x; else at low x.
    """
    mask, arm = vertical_gap(shape, start[1], width), horizontal_gap(shape, start[0], width)
    side = slice(start[1], None) if high else slice(0, start[1])
    mask[..., side] |= arm[..., side]
    return mask


def gap_planes(shape: int, size: int, width: int, start: Sequence[int]) -> list[NDArray[np.bool_]]:
    """Return the (size, size) planes that a gap may have: two for a tee, none for a layout, else one.

    Parameters
    ----------
    shape
        Number in `GAP_SHAPES`.
    size
        Pixels per axis.
    width
        Width of the arms.
    start
        First masked index along y and x.
    """
    plane, (y, x) = (size, size), start
    if shape == _VERTICAL:
        return [vertical_gap(plane, x, width)]
    if shape == _HORIZONTAL:
        return [horizontal_gap(plane, y, width)]
    if shape == _CROSS:
        return [cross_gap(plane, (y, x), width)]
    if shape == _TEE:
        return [tee_gap(plane, (y, x), width, high=high) for high in (False, True)]
    return [np.zeros(plane, bool)] if shape == NO_GAP else []


def gap_pixels(shape: int, size: int, width: int, start: Sequence[int]) -> set[int]:
    """Return how many pixels of a plane of size p a gap of width w can cover; arguments as for `gap_planes`.

    An arm covers w p pixels; the two arms of a cross share w^2; the half arm of a tee has the length x, or p - x - w.
    A layout has no formula, and any number is returned.
    """
    w, p, x = width, size, start[1]
    return {
        _VERTICAL: {w * p},
        _HORIZONTAL: {w * p},
        _CROSS: {2 * w * p - w * w},
        _TEE: {w * p + w * x, w * p + w * (p - x - w)},
        NO_GAP: {0},
    }.get(shape, set(range(1, p * p + 1)))


@dataclass(frozen=True)
class GapPlan:
    """The gaps of the S patches of one particle.

    Parameters
    ----------
    size
        Pixels per axis of a patch.
    shape
        (S,) numbers in `GAP_SHAPES`.
    width
        (S,) widths in pixels; 0 for layouts.
    start
        (S, 2) first masked index along y and x; -1 where there is no such arm.
    side
        (S,) 1 where the half arm of a tee lies at high x.
    layout
        (S,) names of the layouts, empty for other shapes.
    origin
        (S, 2) first pixel (y, x) of the patch on a layout's detector.
    """

    size: int
    shape: NDArray[np.uint8]
    width: NDArray[np.int32]
    start: NDArray[np.int32]
    side: NDArray[np.uint8]
    layout: tuple[str, ...]
    origin: NDArray[np.int32]

    def planes(self, rows: slice = slice(None)) -> NDArray[np.bool_]:
        """Return the (k, size, size) detector planes of some rows, true in the gap."""
        return np.stack([self._plane(row) for row in range(len(self.shape))[rows]])

    def _plane(self, row: int) -> NDArray[np.bool_]:
        if self.layout[row]:
            y, x = self.origin[row].tolist()
            return LAYOUTS[self.layout[row]].tile((self.size, self.size), (y, x))
        options = gap_planes(int(self.shape[row]), self.size, int(self.width[row]), self.start[row].tolist())
        return options[int(self.side[row])]


def plan_gaps(index: int, count: int, config: GapConfig, size: int, rng: np.random.Generator) -> GapPlan:
    """Share gap shapes, widths and layouts out over the patches of one particle.

    Shapes come in turn, and the widths in turn among the samples of each shape, so that every shape has every width.
    Both go on from one particle to the next: a campaign holds them in the wanted parts, to within the rounding of one
    sample per shape and width. They are then shuffled within the particle.

    Parameters
    ----------
    index
        Index of the particle in its campaign.
    count
        Number of its patches, equal for all particles of the campaign.
    config
        Shapes, widths, position and layouts.
    size
        Pixels per axis of a patch.
    rng
        Source of the shuffling, and of what is drawn.

    Raises
    ------
    ConfigError
        If a gap and its measured borders are wider than the patch, or no piece of a layout fits.
    """
    _check_widths(config, size)
    tails = _tails(index * count + np.arange(count + 1), config)
    ordered = np.diff(tails[1:]).sum(axis=0).astype(np.uint8)
    # How many samples of each shape the campaign holds before each of these.
    before = tails - np.vstack([tails[1:], np.zeros_like(tails[:1])])
    rank = before[ordered, np.arange(count)]
    widths = np.asarray(config.widths_px, np.int32)[rank % len(config.widths_px)]
    shuffled = rng.permutation(count)
    shape = ordered[shuffled]
    width = np.where(shape == _LAYOUT, 0, widths[shuffled]).astype(np.int32)
    start = _draw_starts(shape, width, config, size, rng)
    side = rng.integers(0, 2, count, dtype=np.uint8) if config.shapes.get("tee") else np.zeros(count, np.uint8)
    layout, origin = _draw_layouts(shape, int(tails[_LAYOUT, 0]), config, size, rng)
    for row in np.flatnonzero(shape == _LAYOUT).tolist():
        y, x = origin[row].tolist()
        start[row] = LAYOUTS[layout[row]].first_gap((size, size), (y, x))
    return GapPlan(size, shape, width, start, np.where(shape == _TEE, side, 0), tuple(layout), origin)


def _tails(place: NDArray[np.int64], config: GapConfig) -> NDArray[np.int64]:
    """Return how many of a campaign's first n samples have shape k or a later one, (K, n), for each n of `place`.

    Row k is that share of row k - 1, rounded, so that a sample is counted in a row only if it is in the one before.
    """
    weights = np.array([config.shapes.get(name, 0.0) for name in GAP_SHAPES])
    sums = np.cumsum(weights[::-1])[::-1]
    rows = [place]
    for later, all_from in zip(sums[1:], sums[:-1], strict=True):
        rows.append(np.rint(rows[-1] * (later / all_from if all_from else 0.0)).astype(np.int64))
    return np.stack(rows)


def _draw_starts(
    shape: NDArray[np.uint8], width: NDArray[np.int32], config: GapConfig, size: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Return the first masked (y, x) of each gap, with measured borders on either side; -1 where there is no arm."""

    def anywhere() -> NDArray[np.int32]:
        last = size - width - BORDER_PX
        return np.asarray(rng.integers(BORDER_PX, last, endpoint=True, dtype=np.int32))

    centre = (size - width) // 2
    y = anywhere()
    if config.position == "anywhere":
        x = anywhere()
    else:
        x, y = centre, np.where(shape == _HORIZONTAL, centre, y)
    return np.stack([np.where(shape == _VERTICAL, -1, y), np.where(shape == _HORIZONTAL, -1, x)], axis=1)


def _draw_layouts(
    shape: NDArray[np.uint8], before: int, config: GapConfig, size: int, rng: np.random.Generator
) -> tuple[list[str], NDArray[np.int32]]:
    """Return each sample's layout, and where the patch lies on it; `before` samples of the campaign had one."""
    names, origin = [""] * len(shape), np.zeros((len(shape), 2), np.int32)
    rows = np.flatnonzero(shape == _LAYOUT)
    turn = rng.permutation((before + np.arange(len(rows))) % len(config.layouts)) if len(rows) else rows
    for number, name in enumerate(config.layouts):
        own = rows[turn == number]
        if len(own):
            origin[own] = draw_regions(LAYOUTS[name], size, len(own), rng)
        for row in own.tolist():
            names[row] = name
    return names, origin


def _check_widths(config: GapConfig, size: int) -> None:
    for px in config.widths_px:
        if not 1 <= px <= size - 2 * BORDER_PX:
            raise ConfigError(
                f"A gap of {px} px does not fit in a patch of {size} px: "
                f"use gap widths of 1 to {size - 2 * BORDER_PX} px, or a larger patch."
            )


def _slab(size: int, start: int, width: int, axis: str) -> slice:
    if width < 1 or start < 0 or start + width > size:
        raise ConfigError(
            f"A gap of {width} px that starts at {axis} = {start} does not fit in {size} px: "
            "use a narrower gap, or another place."
        )
    return slice(start, start + width)
