"""From a measured scan to a pattern whose patches hold measured voxels only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggworks.datasets.samples import Pattern
from braggworks.errors import ScanError
from braggworks.scans.prepare import correct, find_peak
from braggworks.scans.readers import usable
from braggworks.scans.scan import Scan

# Counts that a row or column must be expected to have before their absence means that it does not measure: a Poisson
# variable of this mean is 0 once in 10^21 times.
_SILENT_COUNTS = 50
# Largest distance of a count from a whole number.
_FRACTION = 1e-3


def scan_pattern(scan: Scan) -> Pattern:
    """Return a scan as a pattern, of which no patch may hold a voxel that was not measured.

    Not measured are the scan's own mask, unusable counts (not finite or negative), hot pixels, and rows and columns
    that stay dark among bright ones; see `silent_lines`. Dark field and white field are not applied, because samples
    are counts.

    Parameters
    ----------
    scan
        The scan as read.

    Returns
    -------
    Pattern
        With the peak where it is; the values that nobody knows of a measurement are 0, and ``total_counts`` is the
        sum of the counts.

    Raises
    ------
    ScanError
        If the scan has no peak, nothing measured, or counts that are no whole numbers of 32 bits.
    """
    found = usable(scan, bad_to_mask=True)
    found, _ = correct(replace(found, dark=None, white_field=None))
    dark = found.gap | silent_lines(found.counts, found.gap)
    counts = np.where(dark, 0, _whole(found.counts, scan.source))
    return Pattern(
        counts.astype(np.uint32),
        values={
            "oversampling": 0.0,
            "total_counts": float(counts.sum(dtype=np.float64)),
            "phase_range": 0.0,
            "gradient": 0.0,
        },
        unmeasured=dark if dark.any() else None,
        peak=find_peak(counts, dark).position,
    )


def silent_lines(counts: NDArray[Any], gap: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the rows and columns of the detector that count nothing although their neighbours do: gaps without a mask.

    A row (or column) without any count in the whole scan is silent if the dimmer of the nearest ones with counts, on
    either side, has at least 50.

    Parameters
    ----------
    counts
        (z, y, x) counts.
    gap
        (z, y, x), true where it is known that nothing was measured.

    Returns
    -------
    numpy.ndarray
        (y, x), true in silent rows and columns.
    """
    frame = np.where(gap, 0, counts).sum(axis=0, dtype=np.float64)
    rows, columns = (_silent(frame.sum(axis=axis)) for axis in (1, 0))
    return rows[:, None] | columns[None, :]


def _silent(sums: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which entries are 0 between entries of `_SILENT_COUNTS` or more."""
    bright = np.flatnonzero(sums > 0)
    silent = np.zeros(len(sums), bool)
    for low, high in zip(bright[:-1].tolist(), bright[1:].tolist(), strict=True):
        if min(sums[low], sums[high]) >= _SILENT_COUNTS:
            silent[low + 1 : high] = True
    return silent


def _whole(counts: NDArray[Any], source: str) -> NDArray[Any]:
    whole: NDArray[Any] = np.rint(counts)
    if counts.dtype.kind == "f" and np.abs(counts - whole).max() > _FRACTION:
        raise ScanError(f"{source} holds counts that are no whole numbers: give the scan as it was counted.")
    if whole.max() > np.iinfo(np.uint32).max:
        raise ScanError(f"{source} holds {whole.max():.6g} counts in one voxel: samples hold at most 32 bits.")
    return whole
