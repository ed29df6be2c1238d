"""From the amplitude around a reflection to the object that scatters, for the figures that show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Density, relative to the largest, above which a voxel belongs to the particle; half lies on a blurred flat surface.
SUPPORT_LEVEL = 0.5


@dataclass(frozen=True)
class Pattern:
    """One pattern.

    Parameters
    ----------
    amplitude
        F(q) around the reflection, shape (n, n, n), axes (z, y, x), peak at n//2, scattering factor 1.
    dq
        Voxel size, in 1/angstrom.
    oversampling
        Measured oversampling ratio along z, y and x.
    label
        What the particle is, such as ``"wulff Au, 4321 atoms"``.
    """

    amplitude: NDArray[np.complexfloating]
    dq: float
    oversampling: tuple[float, ...]
    label: str

    @property
    def sampling(self) -> str:
        """Say how finely the pattern is sampled."""
        ratios = ", ".join(f"{value:.1f}" for value in self.oversampling)
        return f"oversampling {ratios} (z, y, x), voxel {self.dq:.2g} 1/Å"


def object_from_amplitude(
    amplitude: NDArray[np.complexfloating], dq: float, pad: int = 1, apodise: bool = True
) -> tuple[NDArray[np.complex128], float]:
    """Return the complex density whose Fourier transform is the amplitude.

    With F(q) = sum exp(-2 pi i q.r) over atoms, the inverse transform is their number density times
    exp(-2 pi i G.u), at a resolution of one voxel.

    Parameters
    ----------
    amplitude
        F(q), shape (n, n, n), axes (z, y, x), peak at n//2.
    dq
        Voxel size of `amplitude`, in 1/angstrom.
    pad
        Factor on the number of voxels per axis, by zero-padding F: interpolates without adding information.
    apodise
        Multiply F by a Hann window along each axis, which removes the ringing that a cut-off leaves at surfaces.

    Returns
    -------
    density : array, shape (pad n, pad n, pad n), atoms/nm^3 with phase -2 pi G.u, centre at index pad n // 2
    voxel : voxel size, in nm
    """
    n = amplitude.shape[0]
    size = pad * n
    window = 0.5 + 0.5 * np.cos(2 * np.pi * (np.arange(n) - n // 2) / n) if apodise else np.ones(n)
    low = size // 2 - n // 2
    field = np.zeros((size,) * 3, dtype=np.complex128)
    field[(slice(low, low + n),) * 3] = (
        amplitude * window[:, None, None] * window[None, :, None] * window[None, None, :]
    )
    density = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(field)))
    voxel_nm = 0.1 / (size * dq)
    return density / voxel_nm**3, voxel_nm


def without_piston(density: NDArray[np.complex128], level: float = SUPPORT_LEVEL) -> NDArray[np.complex128]:
    """Return the density turned by the constant phase that makes its mean phase inside the particle zero.

    Parameters
    ----------
    density
        Complex density of any shape.
    level
        Modulus, relative to the largest, above which a voxel counts.
    """
    modulus = np.abs(density)
    inside = modulus >= level * modulus.max()
    mean = np.angle(density[inside].sum())
    centred = density * np.exp(-1j * mean)
    # The circular mean above keeps wraps out; what is left to remove is small.
    residual = float(np.angle(centred[inside]).mean())
    return np.asarray(centred * np.exp(-1j * residual))
