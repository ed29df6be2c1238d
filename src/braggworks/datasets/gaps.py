"""Gap masks of detectors made of modules: a vertical slab, a cross, and how they are shared out over patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggworks.errors import ConfigError

# Measured pixels that the horizontal arm of a cross leaves on either side, so that it can be interpolated over.
BORDER_PX = 2


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
    mask = vertical_gap(shape, start[1], width)
    mask[..., _slab(shape[-2], start[0], width, "y"), :] = True
    return mask


def gap_voxels(size: int, width: NDArray[np.integer] | int, cross: NDArray[np.integer] | int) -> NDArray[np.int64]:
    """Return how many voxels a gap covers in a cubic patch of `size`, with a second arm where `cross` is 1."""
    w, c = np.asarray(width, np.int64), np.asarray(cross, np.int64)
    return np.asarray((w * size + c * w * (size - w)) * size, np.int64)


@dataclass(frozen=True)
class GapPlan:
    """The gaps of S patches.

    Parameters
    ----------
    width
        (S,) widths in pixels.
    cross
        (S,) 1 for a cross, 0 for a vertical slab.
    height
        (S,) first masked index along y of the cross's second arm; drawn, and unused, for vertical slabs, too.
    """

    width: NDArray[np.int32]
    cross: NDArray[np.uint8]
    height: NDArray[np.int32]

    def masks(self, size: int, rows: slice = slice(None)) -> NDArray[np.uint8]:
        """Return the (S, size, size, size) masks of some rows, 1 in the gap; vertical arms lie in the centre."""
        gaps = zip(self.width[rows].tolist(), self.cross[rows].tolist(), self.height[rows].tolist(), strict=True)
        shape = (size, size, size)
        return np.stack(
            [
                cross_gap(shape, (height, (size - width) // 2), width)
                if cross
                else vertical_gap(shape, (size - width) // 2, width)
                for width, cross, height in gaps
            ]
        ).astype(np.uint8)


def plan_gaps(
    particle: int, count: int, *, widths: Sequence[int], cross_fraction: float, size: int, rng: np.random.Generator
) -> GapPlan:
    """Share gap widths and crosses out over the patches of one particle.

    The widths come in turn, and every 1/`cross_fraction`-th patch is a cross; both go on from one particle to the
    next, so that a campaign holds them in the wanted parts exactly, and both are then shuffled within the particle.

    Parameters
    ----------
    particle
        Index of the particle in its campaign.
    count
        Number of its patches, equal for all particles of the campaign.
    widths
        Gap widths, in pixels.
    cross_fraction
        Share of patches with a cross.
    size
        Voxels per axis of a patch.
    rng
        Source of the shuffling and of the crosses' heights.

    Raises
    ------
    ConfigError
        If a gap and its measured borders are wider than the patch.
    """
    for px in widths:
        if not 1 <= px <= size - 2 * BORDER_PX:
            raise ConfigError(
                f"A gap of {px} px does not fit in a patch of {size} px: "
                f"use gap widths of 1 to {size - 2 * BORDER_PX} px, or a larger patch."
            )
    place = particle * count + np.arange(count + 1)
    width = rng.permutation(np.asarray(widths, np.int32)[place[:-1] % len(widths)])
    cross = rng.permutation(np.diff(np.rint(place * cross_fraction)).astype(np.uint8))
    height = np.asarray(rng.integers(BORDER_PX, size - width - BORDER_PX, endpoint=True, dtype=np.int32))
    return GapPlan(width, cross, height)


def _slab(size: int, start: int, width: int, axis: str) -> slice:
    if width < 1 or start < 0 or start + width > size:
        raise ConfigError(
            f"A gap of {width} px that starts at {axis} = {start} does not fit in {size} px: "
            "use a narrower gap, or another place."
        )
    return slice(start, start + width)
