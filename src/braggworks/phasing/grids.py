"""The grid that a pattern is phased on: how finely it is sampled, and how much of it is taken, how coarsely.

Arrays are (z, y, x), with the peak near voxel n // 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, uniform_filter

from braggworks.errors import PhasingError
from braggworks.inpainting.interpolation import interpolate
from braggworks.scans.prepare import without_spikes

_EDGES = (0.02, 0.005)  # of the autocorrelation's maximum, above which it is taken for the object's
_NOISE = 4.0  # standard deviations of the noise of counts, above which a value is not chance
_LEAST = 2.0  # oversampling that phase retrieval needs
_JUST_BELOW = 1.95  # what it is at most where the autocorrelation fills the axis
_STEEPER = 1.25  # than a box's, an autocorrelation falls off
_WANTED = 3.0  # and that binning leaves, by the lower of two estimates
_BRIGHT = 0.3  # of the peak: a second maximum as bright is a second crystal
_APART = 0.25  # of the array: nearer maxima are fringes of one peak
_BYTES_PER_VOXEL = 120

#: Sizes with small prime factors, which Fourier transforms are fast for and PyNX accepts.
SIZES = sorted(
    2 ** (a + 2) * 3**b * 5**c * 7**d
    for a in range(10)
    for b in range(5)
    for c in range(4)
    for d in range(3)
    if 2 ** (a + 2) * 3**b * 5**c * 7**d <= 4096
)


@dataclass(frozen=True)
class Grid:
    """Which voxels of a scan are phased.

    Parameters
    ----------
    start, extent
        First voxel and voxels of the part that is taken, (z, y, x).
    bins
        Voxels that are summed along each axis.
    """

    start: tuple[int, ...]
    extent: tuple[int, ...]
    bins: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis of what is phased."""
        return tuple(n // b for n, b in zip(self.extent, self.bins, strict=True))

    def take(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the part of an array, its voxels summed."""
        part = values[tuple(slice(first, first + n) for first, n in zip(self.start, self.extent, strict=True))]
        blocks = [size for n, b in zip(self.shape, self.bins, strict=True) for size in (n, b)]
        return np.asarray(part.reshape(blocks).sum(axis=tuple(range(1, 2 * part.ndim, 2))))


class Sampling(NamedTuple):
    """How many times more finely a pattern is sampled than its object's extent needs, along each axis, from and to."""

    least: tuple[float, ...]
    most: tuple[float, ...]

    @property
    def likely(self) -> tuple[float, ...]:
        """The geometric mean of both."""
        return tuple(math.sqrt(low * high) for low, high in zip(self.least, self.most, strict=True))


def oversampling(counts: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> Sampling:
    """Return how many times more finely a pattern is sampled along each axis than its object's extent needs.

    The extent is half that of the autocorrelation, the Fourier transform of the intensity, where it exceeds a share of
    its maximum and its noise. Where a crystal is strained, the autocorrelation falls far below its maximum long before
    it ends: at a share of 0.02, the ratio is too large by a fifth in the median of simulated ones, and up to twofold.
    Stray light and background have a tail of a few thousandths: at 0.005, the ratio is too large by a tenth for
    simulated crystals, but may be too small by half for measured ones. An autocorrelation that fills an axis is that of
    an object sampled less than twice too finely; its extent is then told from how it falls off.

    Parameters
    ----------
    counts
        (z, y, x); single bright voxels are dimmed.
    mask
        True where nothing was measured, and what is beside is continued.
    """
    values = without_spikes(counts if mask is None else np.where(mask, 0, counts)).astype(np.float32)
    if mask is not None and mask.any():
        logs = interpolate(np.log1p(values), mask, "linear")
        values = np.where(mask, np.expm1(np.maximum(logs, 0)), values)
    found = np.abs(np.fft.fftshift(np.fft.fftn(values)))
    found /= found.max()
    noise = _NOISE / np.sqrt(values.sum(dtype=np.float64))
    most, least = (_ratios(found, max(edge, noise)) for edge in _EDGES)
    return Sampling(least, most)


def _ratios(found: NDArray[np.float32], level: float) -> tuple[float, ...]:
    """Return the oversampling along each axis, of an autocorrelation that ends where it falls below a level."""
    parts, _ = label(found > level)
    inside = parts == parts[tuple(n // 2 for n in found.shape)]
    ratios = []
    for axis, size in enumerate(found.shape):
        line = np.flatnonzero(inside.any(axis=tuple(a for a in range(found.ndim) if a != axis)))
        extent = line[-1] - line[0] + 1
        ratios.append(2 * size / extent if extent < size - 1 else _coarse(found, axis))
    return tuple(float(ratio) for ratio in ratios)


def _coarse(found: NDArray[np.float32], axis: int) -> float:
    """Return the oversampling of an autocorrelation that fills an axis, from how it falls off from its middle.

    That of a box falls linearly to 0 at the box's extent, that of a ball one and a half times as steeply; a faceted
    crystal is taken to lie between.
    """
    middle = found.shape[axis] // 2
    away = max(1, middle // 2)
    left = float(np.take(found, middle - away, axis).max())
    told: float = 2 * middle * (1 - left) / away / _STEEPER
    return min(told, _JUST_BELOW)


def choose_grid(
    counts: NDArray[Any],
    mask: NDArray[np.bool_],
    peak: tuple[int, ...],
    size: int,
    bins: tuple[int, ...] | None = None,
) -> Grid:
    """Choose the part around the peak, and the binning that leaves an oversampling of 3 or more.

    What is refused and what is binned go by the estimate of `oversampling` that makes either rare: strained crystals
    look smaller than they are, and those in stray light larger.

    Parameters
    ----------
    counts, mask
        The scan, and true where nothing was measured.
    peak
        Voxel (z, y, x) of the Bragg peak.
    size
        Voxels per axis at most, before binning.
    bins
        Voxels to sum along each axis; None to choose.

    Raises
    ------
    PhasingError
        If an axis is sampled less than twice as finely as the object needs, has fewer than 8 voxels around the peak,
        or the array does not fit into memory.
    """
    names = "zyx"
    room = [2 * min(at, n - at) for at, n in zip(peak, counts.shape, strict=True)]
    extent = [max((each for each in SIZES if each <= min(size, n)), default=0) for n in room]
    for axis, n in enumerate(extent):
        if n < 8:
            raise PhasingError(
                f"The peak is {room[axis] // 2} voxels from the edge of axis {names[axis]}, and phasing needs 4: "
                "take a scan in which it lies further inside."
            )
    start = [at - n // 2 for at, n in zip(peak, extent, strict=True)]
    whole = Grid(tuple(start), tuple(extent), (1,) * len(extent))
    part, hidden = whole.take(counts), whole.take(mask) > 0
    ratios = oversampling(part, hidden)
    check_oversampling(ratios.most)
    if bins is None:
        bins = tuple(max(1, int(ratio / _WANTED)) for ratio in ratios.least)
    check_oversampling(tuple(ratio / b for ratio, b in zip(ratios.most, bins, strict=True)), "after binning ")
    extent = [max((each * b for each in SIZES if each * b <= n), default=b) for n, b in zip(extent, bins, strict=True)]
    start = [at - n // 2 for at, n in zip(peak, extent, strict=True)]
    return Grid(tuple(start), tuple(extent), bins)


def extents(support: NDArray[np.bool_]) -> tuple[int, ...]:
    """Return how many voxels a support spans along each axis."""
    axes = range(support.ndim)
    lines = [np.flatnonzero(support.any(axis=tuple(b for b in axes if b != a))) for a in axes]
    return tuple(int(line[-1] - line[0]) + 1 if line.size else 0 for line in lines)


def check_oversampling(ratios: tuple[float, ...], when: str = "") -> None:
    """Raise `PhasingError` if an axis is sampled less than twice as finely as the object needs."""
    # An axis that is sampled much too coarsely folds its autocorrelation over the others, which then look coarse, too.
    ratio = min(ratios)
    if ratio < _LEAST:
        axis = "zyx"[ratios.index(ratio)]
        finer = "in finer steps" if axis == "z" else "from further away"
        raise PhasingError(
            f"Axis {axis} is {when}oversampled about {ratio:.2f} times, {_LEAST - ratio:.2f} less than the {_LEAST:g} "
            f"that phase retrieval needs: {'bin less' if when else f'measure {finer}'}."
        )


def check_one_peak(counts: NDArray[Any], mask: NDArray[np.bool_], peak: tuple[int, ...]) -> None:
    """Raise `PhasingError` if there is a second peak, nearly as bright, far from the first."""
    smooth = uniform_filter(without_spikes(np.where(mask, 0, counts)), 3, mode="constant")
    parts, number = label(smooth > _BRIGHT * smooth.max())
    for part in range(1, number + 1):
        place = np.unravel_index(int(np.where(parts == part, smooth, -1).argmax()), smooth.shape)
        if any(abs(a - b) > _APART * n for a, b, n in zip(place, peak, smooth.shape, strict=True)):
            raise PhasingError(
                f"The scan has two peaks, at (z, y, x) = {tuple(map(int, peak))} and {tuple(map(int, place))}: two "
                "crystals are in the beam; mask one of them, or crop the scan around the other."
            )


def check_memory(shape: tuple[int, ...], starts: int, available: int) -> None:
    """Raise `PhasingError` if objects of a shape do not fit into memory, with the size that does.

    Parameters
    ----------
    shape
        Of the pattern.
    starts
        Objects that are held.
    available
        Bytes.
    """
    each = _BYTES_PER_VOXEL + 10 * starts
    if each * float(np.prod(shape)) > available:
        fits = max(size for size in SIZES if each * size**3 <= available or size == SIZES[0])
        raise PhasingError(
            f"{'x'.join(map(str, shape))} voxels and {starts} starts need {each * float(np.prod(shape)) / 2**30:.1f} "
            f"GiB, and {available / 2**30:.1f} GiB are free: give --crop {fits}, or fewer --starts."
        )
