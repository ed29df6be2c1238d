"""From a scan as recorded to counts around the peak: dark field, white field, hot pixels, peak, crop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, rank_filter, uniform_filter

from braggworks.errors import ScanError
from braggworks.scans.scan import Scan

# A peak has at least this many counts in its brightest 5^3 voxels, ...
_PEAK_COUNTS = 100
# ... twice the background there, and lies this many standard deviations of Poisson noise above it.
_PEAK_SIGMA = 8
_PEAK_BOX = 5
# A pixel answers to light if its white field is at least this fraction of the median.
_WHITE_FIELD_FLOOR = 0.1
# A hot pixel exceeds its second brightest neighbour by this factor and by this many standard deviations, ...
_HOT_FACTOR, _HOT_SIGMA = 5, 10
# ... and its median frame holds this fraction of its mean one: fringes can be one pixel wide, but they come and go.
_HOT_STEADINESS = 0.25
# A voxel this much brighter than the median around it does not count towards the peak.
_SPIKE_FACTOR = 10
_MOST_SPIKES = 1000
# One that no diffraction explains: this much brighter, with this many counts.
_SPARK_FACTOR, _SPARK_COUNTS = 100, 1000
_NEIGHBOURS = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)


@dataclass(frozen=True)
class Peak:
    """Where a scan's Bragg peak lies.

    Parameters
    ----------
    position
        Voxel (z, y, x) of the maximum, not counting single bright voxels.
    centre
        Centre of mass (z, y, x) of the counts above the background in the box of 11 voxels around it.
    maximum
        Counts at `position`.
    signal
        Counts in the brightest 5^3 voxels, without spikes.
    background
        Counts expected there from the rest of the scan.
    """

    position: tuple[int, int, int]
    centre: tuple[float, float, float]
    maximum: float
    signal: float
    background: float


@dataclass(frozen=True)
class Prepared:
    """A corrected and cropped scan.

    Parameters
    ----------
    scan
        Counts around the peak.
    peak
        The peak in the scan as recorded.
    window
        First (z, y, x) voxel of the crop in the scan as recorded.
    notes
        What was done, a sentence each.
    """

    scan: Scan
    peak: Peak
    window: tuple[int, int, int]
    notes: tuple[str, ...]


def find_peak(counts: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> Peak:
    """Find the Bragg peak, undisturbed by hot pixels.

    Voxels that are far brighter than the median of their 26 neighbours are dimmed; then the brightest voxel of the
    brightest 5^3 voxels is taken.

    Parameters
    ----------
    counts
        (z, y, x) counts.
    mask
        True where nothing was measured; the counts there must be 0.

    Raises
    ------
    ScanError
        If there is no peak: fewer than 100 counts in the brightest 5^3 voxels, or no more than twice, or no more than
        8 standard deviations of Poisson noise above, what the rest of the scan lets expect.
    """
    clean = without_spikes(counts)
    boxes = uniform_filter(clean, _PEAK_BOX, mode="constant") * _PEAK_BOX**3
    at = np.unravel_index(int(boxes.argmax()), boxes.shape)
    around = _box(counts.shape, at, _PEAK_BOX // 2)
    signal = float(clean[around].sum())
    measured = counts.size if mask is None else int((~mask).sum())
    volume = _PEAK_BOX**3
    background = max(float(clean.sum()) - signal, 0.0) / max(measured - volume, 1) * volume
    needed = max(_PEAK_COUNTS, 2 * background, background + _PEAK_SIGMA * np.sqrt(background + 1))
    if signal < needed:
        raise ScanError(
            f"The scan has no peak: its brightest {_PEAK_BOX}^3 voxels, around (z, y, x) = {tuple(map(int, at))}, hold "
            f"{signal:.0f} counts, and a peak above its background of {background:.0f} needs {needed:.0f}: "
            "check that this is the right scan and dataset."
        )
    offset = np.unravel_index(int(clean[around].argmax()), clean[around].shape)
    z, y, x = (int(part.start + step) for part, step in zip(around, offset, strict=True))
    centre = _centre_of_mass(clean, (z, y, x), background / volume)
    return Peak((z, y, x), centre, float(counts[z, y, x]), signal, background)


def without_spikes(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return (z, y, x) counts in which voxels far brighter than the median of their neighbours are dimmed."""
    smooth = median_filter(counts, 3, mode="nearest").astype(np.float64)
    return np.asarray(np.minimum(counts, _SPIKE_FACTOR * smooth + _HOT_SIGMA * np.sqrt(smooth + 1)))


def spikes(counts: NDArray[Any]) -> NDArray[np.intp]:
    """Return the voxels, (number, 3), that no diffraction explains: a hundred times brighter than those around."""
    smooth = median_filter(counts, 3, mode="nearest").astype(np.float64)
    return np.argwhere((counts > _SPARK_FACTOR * (smooth + 1)) & (counts > _SPARK_COUNTS))


def brightest(counts: NDArray[Any], mask: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Return the brightest measured voxel that is not far brighter than the median of its measured neighbours.

    Parameters
    ----------
    counts
        (z, y, x) counts; what lies under the mask is not looked at.
    mask
        True where nothing was measured.
    """
    seen = np.where(mask, counts.dtype.type(0), counts)
    first: tuple[int, int, int] | None = None
    for _ in range(_MOST_SPIKES):
        z, y, x = (int(n) for n in np.unravel_index(int(seen.argmax()), seen.shape))
        first = first or (z, y, x)
        around = _box(counts.shape, (z, y, x), 1)
        beside = np.where(mask[around], np.nan, counts[around].astype(np.float64))
        beside[tuple(at - part.start for at, part in zip((z, y, x), around, strict=True))] = np.nan
        level = float(np.nanmedian(beside)) if np.isfinite(beside).any() else 0.0
        if seen[z, y, x] <= _SPIKE_FACTOR * level + _HOT_SIGMA * np.sqrt(level + 1):
            return z, y, x
        seen[z, y, x] = 0
    return first or (0, 0, 0)


def correct(scan: Scan, roi_origin: tuple[int, int] = (0, 0), *, hot_pixels: bool = True) -> tuple[Scan, list[str]]:
    """Subtract the dark field, divide by the white field and mask pixels that cannot be trusted.

    Parameters
    ----------
    scan
        Scan with usable counts; see `braggworks.scans.readers.usable`. Its fields are applied where it has any.
    roi_origin
        First (row, column) of the scan's frames in fields that are larger than a frame.
    hot_pixels
        Mask pixels that are far brighter than their neighbours throughout the scan, or than others in the dark field.

    Returns
    -------
    scan
        The scan without its fields; float32 if any was applied, and 0 where masked.
    notes
        What was done, a sentence each.

    Raises
    ------
    ScanError
        If a field does not cover the frames or has no usable pixel.
    """
    counts, frame, notes = scan.counts, scan.counts.shape[1:], []
    bad = np.zeros(frame, bool)
    if scan.dark is not None:
        dark = _region(scan.dark, frame, roi_origin, "dark field").astype(np.float32)
        counts = np.maximum(counts.astype(np.float32) - dark, 0)
        hot = _above(dark, np.full(frame, np.median(dark)), 1) if hot_pixels else bad
        bad = bad | hot | ~np.isfinite(dark)
        notes.append(f"dark field subtracted, {int(hot.sum())} hot pixels in it masked")
    if scan.white_field is not None:
        white = _region(scan.white_field, frame, roi_origin, "white field").astype(np.float32)
        relative, dead = _relative_response(white)
        counts = counts.astype(np.float32) / relative
        bad = bad | dead
        notes.append(f"divided by the white field, {int(dead.sum())} pixels that do not answer to light masked")
    if hot_pixels:
        hot = _hot(counts, bad | scan.gap.all(axis=0))
        bad = bad | hot
        notes.append(f"{int(hot.sum())} hot pixels masked")
    gap = scan.gap | bad
    counts = np.where(gap, counts.dtype.type(0), counts)
    return replace(scan, counts=counts, mask=gap if gap.any() else None, dark=None, white_field=None), notes


def crop_window(
    shape: tuple[int, ...], centre: tuple[int, ...], size: int
) -> tuple[tuple[int, ...], tuple[int, ...], list[str]]:
    """Place a crop of even size so that the peak lies at index n//2, or as near to it as the array allows.

    Parameters
    ----------
    shape
        Shape of the array.
    centre
        Voxel of the peak.
    size
        Wanted voxels per axis, even.

    Returns
    -------
    start, extent, notes
        First voxel and voxels per axis, and a sentence for each axis where the array is too small.
    """
    start, extent, notes = [], [], []
    for axis, (available, middle) in enumerate(zip(shape, centre, strict=True)):
        length = min(size, available - available % 2)
        first = int(np.clip(middle - length // 2, 0, available - length))
        if length < size:
            notes.append(f"axis {'zyx'[axis]} has {available} of the {size} voxels of the crop, so {length} are kept")
        elif first != middle - length // 2:
            notes.append(f"the peak lies near the edge of axis {'zyx'[axis]}, so it is at index {middle - first} there")
        start.append(first)
        extent.append(length)
    return tuple(start), tuple(extent), notes


def crop(scan: Scan, start: tuple[int, ...], extent: tuple[int, ...]) -> Scan:
    """Return a part of a scan (see `crop_window`), with the angles of its steps and its place on the detector."""
    window = tuple(slice(first, first + length) for first, length in zip(start, extent, strict=True))
    steps = scan.counts.shape[0]
    angles = {name: value[window[0]] if value.shape == (steps,) else value for name, value in scan.angles.items()}
    mask = None if scan.mask is None else scan.mask[window]
    rows, columns = scan.middle()
    middle = (rows - start[1], columns - start[2])
    return replace(scan, counts=scan.counts[window], mask=mask, angles=angles, middle_px=middle)


def prepare(scan: Scan, size: int, roi_origin: tuple[int, int] = (0, 0), *, hot_pixels: bool = True) -> Prepared:
    """Correct a scan, find its peak, and crop around it; see `correct`, `find_peak` and `crop_window`.

    Raises
    ------
    ScanError
        If a field does not fit, there is no peak, or an axis has a single voxel.
    """
    if min(scan.counts.shape) < 2:
        raise ScanError(f"{scan.source} is {'x'.join(map(str, scan.counts.shape))}: a scan needs two voxels per axis.")
    corrected, notes = correct(scan, roi_origin, hot_pixels=hot_pixels)
    peak = find_peak(corrected.counts, corrected.mask)
    start, extent, cropped = crop_window(corrected.counts.shape, peak.position, size)
    z, y, x = start
    return Prepared(crop(corrected, start, extent), peak, (z, y, x), (*notes, *cropped))


def _region(field: NDArray[Any], frame: tuple[int, ...], origin: tuple[int, int], name: str) -> NDArray[Any]:
    part = field[origin[0] : origin[0] + frame[0], origin[1] : origin[1] + frame[1]]
    if part.shape != frame:
        raise ScanError(
            f"The {name} is {'x'.join(map(str, field.shape))} and does not cover frames of {'x'.join(map(str, frame))} "
            f"that start at {origin} in it: give the right --roi-origin or another field."
        )
    return part


def _relative_response(white: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the white field over its median, 1 where it is of no use, and where that is."""
    answers = np.isfinite(white) & (white > 0)
    if not answers.any():
        raise ScanError("The white field has no pixel above 0: give another one, or pass --no-white-field.")
    median = np.median(white[answers])
    dead = ~answers | (white < _WHITE_FIELD_FLOOR * median)
    return np.where(dead, np.float32(1), white / median).astype(np.float32), dead


def _hot(counts: NDArray[Any], bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which pixels are much brighter than their neighbours throughout the scan."""
    total = np.where(bad, 0, counts.sum(axis=0, dtype=np.float64))
    hot = _above(total, rank_filter(total, -2, footprint=_NEIGHBOURS, mode="nearest"), _HOT_FACTOR)
    frames = counts[:, hot].astype(np.float64)
    hot[hot] = np.median(frames, axis=0) > _HOT_STEADINESS * frames.mean(axis=0)
    return hot


def _above(values: NDArray[Any], usual: NDArray[Any], factor: float) -> NDArray[np.bool_]:
    """Return where counts are far above what is usual, beyond Poisson noise."""
    return np.asarray(values > factor * usual + _HOT_SIGMA * np.sqrt(np.maximum(usual, 0) + 1))


def _box(shape: tuple[int, ...], centre: tuple[Any, ...], radius: int) -> tuple[slice, ...]:
    return tuple(
        slice(max(int(middle) - radius, 0), min(int(middle) + radius + 1, size))
        for middle, size in zip(centre, shape, strict=True)
    )


def _centre_of_mass(
    counts: NDArray[Any], position: tuple[int, int, int], background: float
) -> tuple[float, float, float]:
    box = _box(counts.shape, position, 5)
    weights = np.maximum(counts[box].astype(np.float64) - background, 0)
    grids = np.meshgrid(*[np.arange(part.start, part.stop) for part in box], indexing="ij")
    z, y, x = (float((grid * weights).sum() / weights.sum()) for grid in grids)
    return z, y, x
