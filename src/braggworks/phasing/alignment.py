"""Reconstructions moved onto each other: phase retrieval knows neither place, nor twin, nor constant phase.

Arrays are (z, y, x) or (y, x), with the object's centre near voxel n // 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complexfloating[Any, Any]]
Float = NDArray[np.floating[Any]]

_FINE = 20  # steps of a voxel to which shifts are found
_REACH = 1.5  # voxels around the coarse maximum that are searched finely


def twin(found: Complex) -> Complex:
    """Return the twin, of equal diffraction: the complex conjugate of the object turned through its centre n // 2."""
    turned = np.conj(np.flip(found))
    even = [axis for axis, size in enumerate(found.shape) if size % 2 == 0]
    return np.roll(turned, [1] * len(even), even)


def align(found: Complex, reference: Complex, *, fine: bool = True, ramp: bool = False) -> Complex:
    """Return a reconstruction moved onto a reference, or its twin if that is more alike; phase 0 against it.

    Parameters
    ----------
    found, reference
        Objects of the same shape.
    fine
        Whether to shift by parts of voxels, which wraps around the array, instead of whole ones.
    ramp
        Whether to take off the linear phase by which the two differ, as they do if their patterns were centred
        differently.

    Returns
    -------
    ndarray
        complex128; its scale is kept.
    """
    best, largest = np.asarray(found, np.complex128), -1.0
    reference = np.asarray(reference, np.complex128)
    for each in (np.asarray(found, np.complex128), twin(np.asarray(found, np.complex128))):
        # A ramp hides the overlap of the objects, but not of their moduli.
        shift = _shift(np.abs(each), np.abs(reference), fine=fine) if ramp else _shift(each, reference, fine=fine)
        moved = _moved(each, shift)
        if ramp:
            moved = _without_ramp(moved, reference)
        overlap = complex(np.vdot(moved, reference))
        if abs(overlap) > largest:
            best, largest = moved * np.exp(1j * np.angle(overlap)), abs(overlap)
    return best


def correlation(first: Float, second: Float) -> float:
    """Return Pearson's coefficient of two moduli over all voxels."""
    a, b = (np.asarray(each, np.float64) - np.mean(each, dtype=np.float64) for each in (first, second))
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


def likeness(found: Complex, reference: Complex) -> float:
    """Return the normalised overlap |<a, b>| / (|a| |b|) of aligned objects, 1 if one is the other times a number."""
    norm = np.linalg.norm(found) * np.linalg.norm(reference)
    return float(abs(np.vdot(found, reference)) / norm)


def _shift(found: Complex | Float, reference: Complex | Float, *, fine: bool) -> NDArray[np.float64]:
    """Return by how many voxels to move the first array for the largest overlap with the second."""
    spectrum = np.fft.fftn(reference) * np.conj(np.fft.fftn(found))
    overlap = np.abs(np.fft.ifftn(spectrum))
    shape = np.array(overlap.shape)
    coarse = np.array(np.unravel_index(int(overlap.argmax()), overlap.shape), np.float64)
    coarse -= np.where(coarse > shape / 2, shape, 0)
    if not fine:
        return coarse
    # The matrix Fourier transform of Guizar-Sicairos et al., Opt. Lett. 33, 156 (2008), 10.1364/OL.33.000156.
    steps = np.arange(-_REACH, _REACH + 0.5 / _FINE, 1 / _FINE)
    for axis, size in enumerate(overlap.shape):
        turn = np.exp(2j * np.pi * np.outer(coarse[axis] + steps, np.fft.fftfreq(size)))
        spectrum = np.moveaxis(np.tensordot(turn, spectrum, (1, axis)), 0, axis)
    place = np.unravel_index(int(np.abs(spectrum).argmax()), spectrum.shape)
    return np.asarray(coarse + steps[list(place)])


def _moved(found: Complex, shift: NDArray[np.float64]) -> Complex:
    if (shift == np.round(shift)).all():
        return np.roll(found, shift.astype(int), range(found.ndim))
    wave = np.fft.fftn(found)
    for axis, (size, by) in enumerate(zip(found.shape, shift, strict=True)):
        turn = np.exp(-2j * np.pi * np.fft.fftfreq(size) * by)
        wave = wave * turn.reshape([-1 if each == axis else 1 for each in range(found.ndim)])
    return np.asarray(np.fft.ifftn(wave))


def _without_ramp(found: Complex, reference: Complex) -> Complex:
    """Return the object times the plane wave that makes it most alike to the reference."""
    shift = _shift(*(np.fft.fftn(np.fft.ifftshift(each)) for each in (found, reference)), fine=True)
    for axis, (size, by) in enumerate(zip(found.shape, shift, strict=True)):
        turn = np.exp(2j * np.pi * np.arange(size) * by / size)
        found = found * turn.reshape([-1 if each == axis else 1 for each in range(found.ndim)])
    return found
