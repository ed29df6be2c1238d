"""What makes a gap impossible or doubtful to fill, said before anything is filled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_opening

from braggworks.errors import ScanError
from braggworks.inpainting.slabs import SMALLEST, cut_mask, find_slabs
from braggworks.scans.prepare import brightest

Bool = NDArray[np.bool_]

_NEAR_PX = 2  # a maximum this close to a gap is the flank of a peak inside of it
_LEAST_HIDING = 27  # masked voxels that can hide a peak
_BESIDE_PX = 8  # measured pixels on either side of a gap that must hold a count


def check_peak(counts: NDArray[Any], mask: Bool, source: str, remedy: str = "move the detector") -> None:
    """Refuse a gap that covers the Bragg peak.

    The pattern falls off from its peak, so that where the gap covers it, the brightest measured voxel, hot pixels left
    out, lies at the gap's edge.

    Parameters
    ----------
    counts
        (z, y, x) counts; what lies under the mask is not looked at.
    mask
        (z, y, x), true where nothing was measured.
    source
        The scan's name, for the sentence.
    remedy
        What to do, for the sentence.

    Raises
    ------
    ScanError
        If the peak is covered.
    """
    peak = brightest(counts, mask)
    around = mask[tuple(slice(max(0, n - 2 * _NEAR_PX), n + 2 * _NEAR_PX + 1) for n in peak)]
    # Hot pixels are masked in every frame, but nothing as thin as they are hides a peak.
    thick = binary_opening(around, np.ones((2, 2, 2), bool))
    start = [max(0, n - 2 * _NEAR_PX) for n in peak]
    near = tuple(slice(max(0, n - _NEAR_PX - at), n + _NEAR_PX + 1 - at) for n, at in zip(peak, start, strict=True))
    if thick[near].any() and thick.sum() >= _LEAST_HIDING:
        place = ", ".join(map(str, peak))
        raise ScanError(
            f"{source}: the brightest measured voxel, (z, y, x) = ({place}), lies at the edge of the gap, so that the "
            f"gap covers the Bragg peak, which nothing beside it tells: {remedy}."
        )


def check_signal(counts: NDArray[Any], mask: Bool, source: str) -> None:
    """Raise `ScanError` if nothing was counted beside the gap; parameters as for `check_peak`."""
    for slab in find_slabs(mask):
        view, hidden = np.moveaxis(counts, slab.axis, 0), np.moveaxis(mask, slab.axis, 0)
        beside = slice(max(0, slab.start - _BESIDE_PX), slab.start + slab.width + _BESIDE_PX)
        if not np.where(hidden[beside], 0, view[beside]).any():
            raise ScanError(
                f"{source}: no pixel within {_BESIDE_PX} px of the gap normal to {'zyx'[slab.axis]} at {slab.start} "
                "counted anything, so that there is nothing to continue: check the mask, or crop the scan."
            )


def interpolated(mask: Bool) -> tuple[int, int]:
    """Return how many masked voxels no network fills: those in bands at the array's edge, and in small groups."""
    reached, filled = np.zeros(mask.shape, bool), np.zeros(mask.shape, bool)
    for part in (part for parts in cut_mask(mask) for part in parts):
        reached.reshape(-1)[part.voxels] = True
        if part.voxels.size >= SMALLEST:
            filled.reshape(-1)[part.voxels] = True
    return int((mask & ~reached).sum()), int((reached & ~filled).sum())
