"""What a gap does to the reconstructed object, and what filling it mends, with the phase in reciprocal space known.

The procedure is that of Carnis et al., Sci. Rep. 9, 17357 (2019), 10.1038/s41598-019-53774-2, and of M. Masto's thesis,
3.8: the diffraction of an object whose phase is zero is cut by a gap, or filled where it was cut, and transformed back
with the phase it had. Whatever phase and strain the object then shows is an artefact. Arrays are (z, y, x), with the
peak and the object's centre at voxel n//2, and the reciprocal lattice vector G lies along one of the axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

Float = NDArray[np.float64]
Complex = NDArray[np.complexfloating[Any, Any]]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class StrainError:
    """Artefacts of the strain along G inside a support.

    Parameters
    ----------
    rmse
        Root mean square of the strain, whose truth is zero.
    mean
        Mean strain.
    """

    rmse: float
    mean: float


def diffract(modulus: Float) -> Complex:
    """Return the complex diffraction of an object of zero phase: its discrete Fourier transform, centred."""
    return np.asarray(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(modulus))))


def reconstruct(intensity: NDArray[Any], amplitude: Complex) -> Complex:
    """Return the object of an intensity with the phase of an amplitude.

    Parameters
    ----------
    intensity
        (z, y, x), at least 0; 0 where a gap is left as it is.
    amplitude
        (z, y, x), whose phase is taken.
    """
    turned = np.sqrt(np.asarray(intensity, dtype=np.float64)) * np.exp(1j * np.angle(amplitude))
    return np.asarray(np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(turned))))


def strain(found: Complex, g_per_angstrom: float, voxel_angstrom: float, axis: int = 0) -> Float:
    """Return the strain along G of an object: the derivative along G of the displacement, -phase / (2 pi |G|).

    Parameters
    ----------
    found
        (z, y, x) object; its phase may wrap, but not by more than pi over two voxels.
    g_per_angstrom
        Length of G, without 2 pi.
    voxel_angstrom
        Edge of a voxel.
    axis
        That G lies along.
    """
    turn = np.angle(np.roll(found, -1, axis) * np.conj(np.roll(found, 1, axis)))
    return np.asarray(-turn / (4 * np.pi * g_per_angstrom * voxel_angstrom))


def strain_error(
    found: Complex, support: Bool, g_per_angstrom: float, voxel_angstrom: float, axis: int = 0
) -> StrainError:
    """Return the artefacts inside a support, without its outermost voxels, whose neighbours lie outside.

    Parameters
    ----------
    found
        (z, y, x) object whose true phase is zero.
    support
        (z, y, x), true in the object.
    g_per_angstrom, voxel_angstrom, axis
        As for `strain`.
    """
    inside = strain(found, g_per_angstrom, voxel_angstrom, axis)[binary_erosion(support)]
    return StrainError(float(np.sqrt(np.mean(inside**2))), float(inside.mean()))
