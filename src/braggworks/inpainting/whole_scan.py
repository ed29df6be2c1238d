"""Filling the gaps of a whole scan by a network that knows patches.

A gap between detector modules is a slab through the scan. The network is trained on patches with a slab in their
centre, normal to the last axis, so windows of that size walk along the slab, centred on it, and their predictions are
averaged where they overlap (Masto et al., doi:10.1107/S1600576724004163). For a slab normal to another axis, that axis
changes places with the last one. The crossing of two slabs is predicted by the windows of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggworks.datasets.gaps import BORDER_PX
from braggworks.errors import ScanError
from braggworks.inpainting.interpolation import interpolate
from braggworks.inpainting.slabs import Slab, find_slabs

Fill = Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.floating[Any]]]
"""Fills gaps: counts (batch, z, y, x), 0 in the gap, and the mask, true in the gap, to counts."""

Progress = Callable[[int], object]
"""Told how many steps of the work were just done."""


@dataclass(frozen=True)
class Inpainted:
    """A scan without gaps.

    Parameters
    ----------
    counts
        (z, y, x) counts; measured voxels are unchanged, bit for bit.
    uncertainty
        (z, y, x) standard deviation of ``log(1 + counts)`` over overlapping predictions; 0 in measured voxels, NaN
        where there is a single prediction or an interpolation.
    predictions
        (z, y, x) number of predictions of the network; 0 in measured voxels and where interpolation had to do.
    steps
        Number of windows or slabs that the network has filled.
    """

    counts: NDArray[Any]
    uncertainty: NDArray[np.float32]
    predictions: NDArray[np.uint16]
    steps: int


def window_count(shape: tuple[int, ...], slabs: list[Slab], patch: int, stride: int) -> int:
    """Return how many windows `fill_scan` shows to the network."""
    return sum(
        int(np.prod([len(_steps(shape[axis], patch, stride)) for axis in range(3) if axis != slab.axis]))
        for slab in slabs
    )


def check_slabs(shape: tuple[int, ...], slabs: list[Slab], patch: int) -> None:
    """Raise `ScanError` if the scan is smaller than a patch, or a slab too wide for it."""
    if slabs and min(shape) < patch:
        raise ScanError(
            f"The scan is {'x'.join(map(str, shape))}, and the network fills windows of {patch} voxels per axis: "
            f"use a crop of at least {patch}."
        )
    for slab in slabs:
        if slab.width > patch - 2 * BORDER_PX:
            raise ScanError(
                f"The gap normal to {'zyx'[slab.axis]} at {slab.start} is {slab.width} px wide, and windows of {patch} "
                f"voxels allow {patch - 2 * BORDER_PX}: use a network with larger patches, or interpolate."
            )


def fill_scan(
    counts: NDArray[Any],
    mask: NDArray[np.bool_],
    fill: Fill,
    *,
    patch: int,
    stride: int,
    progress: Progress = lambda windows: None,
    batch: int = 32,
) -> Inpainted:
    """Fill the gaps of a scan.

    Slabs are filled by the network; other masked voxels, such as hot pixels or planes at the edge, by linear
    interpolation of ``log(1 + counts)``, also before the network sees them.

    Parameters
    ----------
    counts
        (z, y, x) counts; what lies under the mask is not looked at.
    mask
        (z, y, x), true where nothing was measured.
    fill
        The network.
    patch
        Voxels per axis of a window.
    stride
        Step between windows along a slab, in voxels.
    progress
        Called with the number of windows just filled.
    batch
        Windows given to the network at once.

    Raises
    ------
    ScanError
        If the scan is smaller than a patch, a slab too wide for it, or everything is masked.
    """
    slabs = find_slabs(mask)
    check_slabs(counts.shape, slabs, patch)
    in_slab = np.zeros(mask.shape, bool)
    for slab in slabs:
        np.moveaxis(in_slab, slab.axis, 0)[slab.start : slab.start + slab.width] = True
    logs: NDArray[np.floating[Any]] = interpolate(
        np.log1p(np.where(mask, 0, counts).astype(np.float64)), mask, "linear"
    )
    known = np.where(in_slab, 0, np.where(mask, np.expm1(logs), counts)).astype(np.float32)
    sums = _Sums(in_slab)
    for slab in slabs:
        windows = list(_windows(slab, counts.shape, patch, stride))
        for start in range(0, len(windows), batch):
            part = windows[start : start + batch]
            # The slab's normal becomes the last axis, as in training.
            views = [np.swapaxes(array, slab.axis, 2) for array in (known, in_slab)]
            inputs, gaps = (np.stack([view[window] for window in part]) for view in views)
            for window, filled in zip(part, fill(inputs, gaps), strict=True):
                _add_window(sums, slab, window, counts.shape, filled)
            progress(len(part))
    return _assemble(counts, mask, logs, sums, window_count(counts.shape, slabs, patch, stride))


class _Sums:
    """Weighted sums of the predictions of each voxel that lies in a slab."""

    def __init__(self, in_slab: NDArray[np.bool_]) -> None:
        self.place = np.flatnonzero(in_slab)
        self.weight, self.value, self.square = np.zeros((3, self.place.size))
        self.number = np.zeros(self.place.size, np.uint16)

    def add(self, voxels: NDArray[np.intp], logs: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        """Add the predictions of one window, whose voxels are all different."""
        at = np.searchsorted(self.place, voxels)
        self.weight[at] += weights
        self.value[at] += weights * logs
        self.square[at] += weights * logs**2
        self.number[at] += 1


def _steps(length: int, patch: int, stride: int) -> list[int]:
    """Return where windows start along an axis; the last one is flush with the array's edge."""
    return sorted({*range(0, length - patch, stride), length - patch})


def _windows(slab: Slab, shape: tuple[int, ...], patch: int, stride: int) -> Iterator[tuple[slice, slice, slice]]:
    """Yield windows centred on a slab, in axes of which the slab's normal has changed places with the last one."""
    lengths = list(shape)
    lengths[slab.axis], lengths[2] = lengths[2], lengths[slab.axis]
    across = int(np.clip(slab.start - (patch - slab.width) // 2, 0, lengths[2] - patch))
    for first in _steps(lengths[0], patch, stride):
        for second in _steps(lengths[1], patch, stride):
            yield slice(first, first + patch), slice(second, second + patch), slice(across, across + patch)


def _add_window(
    sums: _Sums, slab: Slab, window: tuple[slice, slice, slice], shape: tuple[int, ...], filled: NDArray[Any]
) -> None:
    """Add what a window predicts in its slab, with less weight towards its border, where it knows less."""
    inside = slice(slab.start - window[2].start, slab.start - window[2].start + slab.width)
    logs = np.log1p(np.maximum(filled[:, :, inside].astype(np.float64), 0))
    ramp = np.minimum(np.arange(len(filled)) + 1, len(filled) - np.arange(len(filled))).astype(np.float64)
    weights = np.broadcast_to((ramp[:, None] * ramp)[:, :, None], logs.shape)
    grids = list(np.ogrid[window[0], window[1], slab.start : slab.start + slab.width])
    grids[slab.axis], grids[2] = grids[2], grids[slab.axis]
    voxels = np.ravel_multi_index(np.broadcast_arrays(*grids), shape)
    sums.add(voxels.ravel(), logs.ravel(), weights.ravel())


def _assemble(
    counts: NDArray[Any], mask: NDArray[np.bool_], logs: NDArray[np.floating[Any]], sums: _Sums, windows: int
) -> Inpainted:
    """Put measured counts, predictions and interpolations together."""
    result = counts.astype(np.result_type(counts.dtype, np.float32))
    result[mask] = np.expm1(logs[mask])
    uncertainty, number = np.zeros(counts.shape, np.float32), np.zeros(counts.shape, np.uint16)
    mean = sums.value / sums.weight
    result.reshape(-1)[sums.place] = np.expm1(mean)
    uncertainty.reshape(-1)[sums.place] = np.sqrt(np.maximum(sums.square / sums.weight - mean**2, 0))
    number.reshape(-1)[sums.place] = sums.number
    uncertainty[mask & (number < 2)] = np.nan
    return Inpainted(result, uncertainty, number, windows)
