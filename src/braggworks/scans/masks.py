"""Masks that are not in a file: found in the counts themselves, or those of a known detector."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggworks.datasets.layouts import LAYOUTS
from braggworks.errors import ConfigError, ScanError
from braggworks.scans.scan import Scan

AUTO = "auto"

_EXPECTED = 20.0
"""Counts in a whole line, by its neighbours, from which on chance does not explain that it has none: exp(-20)."""

_NEIGHBOURS = 2


def is_known(name: str) -> bool:
    """Return whether a mask's name is `auto` or a detector's, and no file's."""
    return name == AUTO or name in LAYOUTS


def with_known_mask(scan: Scan, name: str, origin: tuple[int, int] = (0, 0)) -> Scan:
    """Return the scan with a further mask.

    Parameters
    ----------
    scan
        The scan as read.
    name
        ``auto`` for dead bands, see `dead_bands`, or the name of a detector of `braggworks.datasets.layouts`.
    origin
        First pixel (y, x) of the frames on the detector.

    Raises
    ------
    ScanError
        If neither a dead band is found nor the file holds a mask, or the frames do not lie on the detector.
    """
    frame = scan.counts.shape[1:]
    if name == AUTO:
        if not np.where(scan.gap, 0, scan.counts).any():
            raise ScanError(f"{scan.source} holds no counts: check that this is the right scan and dataset.")
        found = dead_bands(scan.counts, scan.gap)
        if not found.any() and not scan.gap.any():
            raise ScanError(
                f"{scan.source} has no dead band: no run of full rows or columns without counts, with counts on both "
                "sides. Give a --mask file of what was not measured, or a detector's name; bands of NaN or of negative "
                "numbers are masked by --bad-to-mask instead."
            )
    else:
        try:
            found = LAYOUTS[name].tile((frame[0], frame[1]), origin)
        except ConfigError:
            full = LAYOUTS[name].shape
            raise ScanError(
                f"{scan.source}: frames of {frame[0]} x {frame[1]} px at {origin} do not lie on the "
                f"{LAYOUTS[name].name} of {full[0]} x {full[1]} px: give their first pixel with --roi-origin Y X, "
                "or another detector."
            ) from None
    return replace(scan, mask=scan.gap | found)


def dead_bands(counts: NDArray[Any], gap: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of full rows and columns that counted nothing, though their neighbours did.

    A line is dead if all its pixels, in all frames, hold 0 or the largest number of the counts' type, as detectors
    write where they have none. A band is a run of dead lines with living ones on both sides; it counts if the lines
    next to it hold so many counts that chance does not explain it.

    Parameters
    ----------
    counts
        (z, y, x) counts.
    gap
        (z, y, x), true where nothing was measured; these voxels are not looked at.

    Returns
    -------
    ndarray
        (y, x), true in dead bands.
    """
    most = np.iinfo(counts.dtype).max if np.issubdtype(counts.dtype, np.integer) else np.inf
    found = np.zeros(counts.shape[1:], bool)
    for axis in (0, 1):
        across = (0, 2 - axis)
        silent = np.asarray(((counts == 0) | (counts == most) | gap).all(axis=across))
        hidden = np.asarray(gap.all(axis=across))
        sums = np.where(gap | (counts == most), 0, counts).sum(axis=across, dtype=np.float64)
        lines = silent & ~hidden
        edges = np.flatnonzero(np.diff(np.concatenate([[False], lines, [False]]).astype(np.int8)))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            beside = [sums[max(0, start - _NEIGHBOURS) : start], sums[stop : stop + _NEIGHBOURS]]
            if all(len(side) and side.mean() >= _EXPECTED for side in beside):
                np.moveaxis(found, axis, 0)[start:stop] = True
    return found
