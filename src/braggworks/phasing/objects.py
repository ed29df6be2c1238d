"""What an object says of its crystal: phase, displacement and strain along the scattering vector G.

The phase of an object is -2 pi G.u. Arrays are (z, y, x).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

Complex = NDArray[np.complexfloating[Any, Any]]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


def object_of(counts: NDArray[Any], phase: NDArray[Any]) -> NDArray[np.complex128]:
    """Return the object of measured moduli and a phase, of the scale of the counts (Masto's thesis, equation 4.1)."""
    wave = np.sqrt(np.asarray(counts, np.float64)) * np.exp(1j * np.asarray(phase, np.float64))
    return np.asarray(np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(wave), norm="ortho")))


def phase_of(found: Complex) -> NDArray[np.float32]:
    """Return the reciprocal-space phase of an object: the inverse of `object_of`."""
    wave = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(found), norm="ortho"))
    return np.asarray(np.angle(wave), np.float32)


def centred(found: Complex, support: Bool) -> tuple[Complex, Bool]:
    """Return the object and its support moved, by whole voxels, so that the support's centre of mass is at n // 2."""
    shift, axes = [], tuple(range(found.ndim))
    for axis, size in enumerate(found.shape):
        # On a circle, because a support may leave on one side and enter on the other.
        turn = np.exp(2j * np.pi * np.arange(size) / size)
        profile = support.sum(axis=tuple(a for a in axes if a != axis))
        middle = np.angle((turn * profile).sum()) / (2 * np.pi) * size
        shift.append(size // 2 - round(float(middle)))
    return np.roll(found, shift, axes), np.roll(support, shift, axes)


def without_ramp(found: Complex) -> Complex:
    """Return the object with the centre of mass of its diffraction at q = 0: G is then that of the mean lattice."""
    shape = found.shape
    intensity = np.abs(np.fft.fftn(np.fft.ifftshift(found))) ** 2
    for axis, size in enumerate(shape):
        q = np.fft.fftfreq(size)
        profile = intensity.sum(axis=tuple(a for a in range(len(shape)) if a != axis))
        centre = (q * profile).sum() / profile.sum()
        turn = np.exp(-2j * np.pi * centre * (np.arange(size) - size // 2))
        found = found * turn.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return found


def without_piston(found: Complex, support: Bool) -> Complex:
    """Return the object with a mean phase of 0 in its support, weighted by its modulus."""
    return np.asarray(found * np.exp(-1j * np.angle(found[support].sum())))


def unwrapped(found: Complex, support: Bool) -> Float:
    """Return the phase in radians without jumps of 2 pi inside the support, NaN outside.

    By skimage.restoration.unwrap_phase (Herraez et al., Appl. Opt. 41, 7437 (2002), 10.1364/AO.41.007437).
    """
    from skimage.restoration import unwrap_phase

    values = np.ma.array(np.angle(found), mask=~support)
    phase = np.ma.filled(unwrap_phase(values, rng=0).astype(np.float64), np.nan)  # type: ignore[no-untyped-call]
    weight = np.abs(found) * support
    # The mean phase is known to a multiple of 2 pi only.
    mean = float(np.nansum(phase * weight) / weight.sum())
    return np.asarray(phase - 2 * np.pi * np.round(mean / (2 * np.pi)))


def displacement(phase: Float, g_per_angstrom: float) -> Float:
    """Return the displacement along G in angstrom: -phase / (2 pi |G|)."""
    return -phase / (2 * np.pi * g_per_angstrom)


def strain_along(found: Complex, support: Bool, direction: Float, g_per_angstrom: float, voxel: float) -> Float:
    """Return the strain along G: the derivative along G of the displacement along it, by central differences.

    Parameters
    ----------
    found
        (z, y, x) object on cubes.
    support
        True inside.
    direction
        Unit vector of G, (x, y, z).
    g_per_angstrom
        Length of G, without 2 pi.
    voxel
        Edge of a voxel in angstrom.

    Returns
    -------
    ndarray
        Dimensionless; NaN outside the support and next to its surface, where a neighbour is missing.
    """
    slope = np.zeros(found.shape)
    for axis, along in enumerate(direction[::-1]):
        turn = np.angle(np.roll(found, -1, axis) * np.conj(np.roll(found, 1, axis)))
        slope += along * turn / (2 * voxel)
    inside = binary_erosion(support)
    return np.where(inside, -slope / (2 * np.pi * g_per_angstrom), np.nan)
