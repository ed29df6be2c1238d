"""What makes a gap impossible or doubtful to fill, said before anything is filled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_opening, center_of_mass

from braggworks.errors import ScanError
from braggworks.inpainting.slabs import SMALLEST, cut_mask, find_slabs
from braggworks.scans.prepare import brightest, without_spikes

Bool = NDArray[np.bool_]

_NEAR_PX = 2  # a maximum this close to a gap is the flank of a peak inside of it
_LEAST_HIDING = 27  # masked voxels that can hide a peak
_BRIGHT = 0.01  # of the brightest: so that neither background nor another crystal's flank moves the middle
_BESIDE_PX = 8  # measured pixels on either side of a gap that must hold a count


def check_peak(counts: NDArray[Any], mask: Bool, source: str, remedy: str = "move the detector") -> None:
    """Refuse a gap that covers the Bragg peak.

    The pattern falls off from its peak, so that where the gap covers it, the brightest measured voxel, hot pixels left
    out, lies at the gap's edge; or, where that edge runs between fringes, the centre of mass of what is bright lies in
    the gap, since what is left is on both sides of it.

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
    middle = _middle(counts, mask)
    if _hides(mask, peak, _NEAR_PX):
        sign = f"the brightest measured voxel, (z, y, x) = {peak}, lies at the edge of the gap"
    elif _hides(mask, middle, 0):
        sign = f"the centre of mass of what was counted, (z, y, x) = {middle}, lies in the gap"
    else:
        return
    raise ScanError(
        f"{source}: {sign}, so that the gap covers the Bragg peak, whose height nothing else tells: {remedy}."
    )


def _hides(mask: Bool, place: tuple[int, int, int], within: int) -> bool:
    """Return whether a gap that is thick enough to hide a peak lies at most so many voxels from a place."""
    start = [max(0, n - 2 * _NEAR_PX) for n in place]
    around = mask[tuple(slice(at, n + 2 * _NEAR_PX + 1) for n, at in zip(place, start, strict=True))]
    # Hot pixels are masked in every frame, but nothing as thin as they are hides a peak.
    thick = binary_opening(around, np.ones((2, 2, 2), bool))
    near = tuple(slice(max(0, n - within - at), n + within + 1 - at) for n, at in zip(place, start, strict=True))
    return bool(thick[near].any()) and int(thick.sum()) >= _LEAST_HIDING


def _middle(counts: NDArray[Any], mask: Bool) -> tuple[int, int, int]:
    """Return the voxel at the centre of mass of the bright measured counts, hot pixels dimmed."""
    seen = without_spikes(np.where(mask, 0, counts))
    seen[seen < _BRIGHT * seen.max()] = 0
    z, y, x = (round(n) for n in center_of_mass(seen)) if seen.any() else (0, 0, 0)
    return z, y, x


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
