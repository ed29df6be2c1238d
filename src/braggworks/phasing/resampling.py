"""A pattern on the grid that a network was trained on, and the network's object back on the pattern's own.

Cropping in reciprocal space is interpolation in real space, and the other way round (Masto's thesis, section 4.9).
Along each axis, the intensity is sampled as coarsely as the network knows it, by cropping its autocorrelation; then it
is cropped, or padded with zeros, to the network's voxels. Nothing is lost as long as the object still fits:
oversampling stays above 2. Arrays are (z, y, x), the peak and the object's centre at voxel n // 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complexfloating[Any, Any]]
Float = NDArray[np.floating[Any]]

WANTED = 3.5
"""Oversampling that the network sees, as it is estimated; in truth somewhat less, the middle of its training."""


@dataclass(frozen=True)
class NetworkGrid:
    """How a pattern comes to the network's grid.

    Parameters
    ----------
    shape
        Voxels of the pattern.
    samples
        Voxels along each axis that the same range of q has when it is sampled as coarsely as the network knows it.
    size
        Voxels per axis of the network.
    centre
        Where the mean of the intensity lies, in voxels of the pattern from n // 2; the network's patterns have it at 0.
    """

    shape: tuple[int, ...]
    samples: tuple[int, ...]
    size: int
    centre: tuple[float, ...] = (0.0, 0.0, 0.0)

    def to_network(self, counts: Float) -> Float:
        """Return the counts on the network's grid, (size, size, size)."""
        wave = np.fft.ifftn(np.fft.ifftshift(np.asarray(counts, np.float64)))
        wave = np.fft.fftshift(wave) * self._ramp(self.shape, -1)
        coarse = _resized(wave, self.samples)
        values = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(coarse))).real
        return np.asarray(np.maximum(_resized(values, (self.size,) * values.ndim), 0))

    def to_pattern(self, found: Complex) -> Complex:
        """Return an object of the network's grid on the pattern's; its scale is not that of the counts."""
        wave = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(found), norm="ortho"))
        fine = np.fft.ifftn(np.fft.ifftshift(_resized(wave, self.samples)), norm="ortho")
        whole = _resized(np.fft.fftshift(fine), self.shape)
        return np.asarray(whole * self._ramp(self.shape, 1))

    def _ramp(self, shape: tuple[int, ...], sign: int) -> Complex:
        """Return the plane wave that moves a pattern by its centre."""
        axes = (
            np.exp(sign * 2j * np.pi * at * (np.arange(n) - n // 2) / n)
            for at, n in zip(self.centre, shape, strict=True)
        )
        ramp: Complex = np.ones((), np.complex128)
        for wave in axes:
            ramp = np.multiply.outer(ramp, wave)
        return ramp


def choose_network_grid(counts: Float, ratios: tuple[float, ...], size: int, wanted: float = WANTED) -> NetworkGrid:
    """Choose the grid on which a pattern looks like those of the training.

    Parameters
    ----------
    counts
        The pattern, gaps filled.
    ratios
        Its oversampling along each axis.
    size
        Voxels per axis of the network.
    wanted
        Oversampling that the network knows; an axis that has less keeps its own.
    """
    samples = tuple(min(n, 2 * round(n * wanted / ratio / 2)) for n, ratio in zip(counts.shape, ratios, strict=True))
    total = counts.sum(dtype=np.float64)
    centre = []
    for axis, n in enumerate(counts.shape):
        profile = counts.sum(axis=tuple(a for a in range(counts.ndim) if a != axis), dtype=np.float64)
        centre.append(float((profile * (np.arange(n) - n // 2)).sum() / total))
    return NetworkGrid(counts.shape, samples, size, tuple(centre))


def _resized(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return an array cropped, or padded with zeros, around voxel n // 2."""
    for axis, n in enumerate(shape):
        before = values.shape[axis] // 2 - n // 2
        if before >= 0:
            values = np.take(values, range(before, before + n), axis)
        else:
            widths = [(0, 0)] * values.ndim
            widths[axis] = (-before, n - values.shape[axis] + before)
            values = np.pad(values, widths)
    return values
