"""Cycles of iterative phase retrieval, for many starts at once (Marchesini, Rev. Sci. Instrum. 78, 011301 (2007)).

Arrays are (start, z, y, x) or (start, y, x), complex64, with their centre at index 0, as Fourier transforms have it;
transforms keep the norm. Every cycle replaces the moduli of the object's transform by the measured ones, and then does
something about what lies outside the support.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from braggworks.phasing.schedule import Coherence, Pattern

_TINY = 1e-30
_REFINEMENTS = 5
_LEAST_BLURRED = 0.01  # share of the intensity that the convolution leaves in place at least

#: What is left of an object before the projection (first) and after it (second) outside the support.
Outside = Callable[[Tensor, Tensor], Tensor]


class Moduli:
    """The measured moduli, which the object's transform is given.

    Parameters
    ----------
    pattern
        What was measured; where nothing was, or counts are kept out, the calculated modulus stays.
    device
        Where to compute.
    """

    def __init__(self, pattern: Pattern, device: torch.device) -> None:
        kept = pattern.mask | pattern.free
        measured = np.where(kept, 0, np.sqrt(pattern.counts, dtype=np.float32))
        self.measured = _from_centre(measured.astype(np.float32)).to(device)
        self.kept = _from_centre(kept.astype(np.float32)).to(device)

    def project(self, found: Tensor, kernel: Kernel | None = None, *, refine: bool = False) -> Tensor:
        """Return the nearest objects that have the measured moduli.

        Parameters
        ----------
        found
            (start, z, y, x) objects.
        kernel
            Of partial coherence; None for full coherence.
        refine
            Whether to refine the kernel, too.
        """
        axes = tuple(range(1, found.ndim))
        wave = torch.fft.fftn(found, dim=axes, norm="ortho")
        intensity = (wave * wave.conj()).real
        if kernel is not None:
            if refine:
                kernel.refine(intensity, self.measured.square(), self.kept)
            # Rounding may leave nothing of it, and a measured count would then become anything.
            intensity = torch.maximum(kernel.blur(intensity), _LEAST_BLURRED * intensity)
        wave *= torch.addcmul(self.kept, self.measured, intensity.add_(_TINY).rsqrt_())
        back: Tensor = torch.fft.ifftn(wave, dim=axes, norm="ortho")
        return back


class Kernel:
    """What partial coherence convolves the intensity with, one for each start.

    Parameters
    ----------
    coherence
        The pseudo-Voigt that it starts as.
    shape
        (start, z, y, x).
    device
        Where to compute.
    """

    def __init__(self, coherence: Coherence, shape: tuple[int, ...], device: torch.device) -> None:
        grids = torch.meshgrid(*(torch.fft.fftfreq(n, 1 / n, device=device) for n in shape[1:]), indexing="ij")
        square = sum((grid.square() for grid in grids), torch.zeros((), device=device))
        half = coherence.fwhm_px / 2
        gauss = torch.exp(-np.log(2) * square / half**2)
        lorentz = half**2 / (square + half**2)
        eta = coherence.eta
        values = eta * lorentz / lorentz.sum() + (1 - eta) * gauss / gauss.sum()
        self._axes = tuple(range(1, len(shape)))
        self.values = values.expand(shape).clone()

    def blur(self, intensity: Tensor, *, mirrored: bool = False) -> Tensor:
        """Return intensities (start, z, y, x) convolved with the kernel, or with its mirror image."""
        transform = torch.fft.rfftn(self.values, dim=self._axes)
        wave = torch.fft.rfftn(intensity, dim=self._axes) * (transform.conj() if mirrored else transform)
        blurred: Tensor = torch.fft.irfftn(wave, s=intensity.shape[1:], dim=self._axes)
        return blurred.clamp_(min=0)

    def refine(self, intensity: Tensor, measured: Tensor, kept: Tensor) -> None:
        """Improve the kernel by a few steps of Richardson and Lucy, the calculated intensity taken for known."""
        wave = torch.fft.rfftn(intensity, dim=self._axes).conj()
        for _ in range(_REFINEMENTS):
            blurred = self.blur(intensity)
            # Where nothing was measured, nothing contradicts what is calculated.
            ratio = torch.where(kept > 0, 1.0, measured / (blurred + _TINY))
            ratio = torch.where((measured == 0) & (blurred < _TINY), 1.0, ratio).clamp_(max=1e6)
            change = torch.fft.irfftn(torch.fft.rfftn(ratio, dim=self._axes) * wave, s=ratio.shape[1:], dim=self._axes)
            self.values *= change.clamp_(min=0)
            self.values /= self.values.sum(self._axes, keepdim=True).clamp(min=_TINY)


def error_reduction() -> Outside:
    """Return what ER does outside the support: nothing is left (Fienup, Appl. Opt. 21, 2758 (1982))."""
    return lambda before, after: torch.zeros_like(after)


def hybrid_input_output(beta: float) -> Outside:
    """Return what HIO does outside the support: before - beta after (Fienup, Appl. Opt. 21, 2758 (1982))."""
    return lambda before, after: torch.add(before, after, alpha=-beta)


def averaged_reflections(beta: float) -> Outside:
    """Return what RAAR does outside the support: beta before + (1 - 2 beta) after (Luke, Inv. Probl. 21, 37, 2005)."""
    return lambda before, after: torch.add(before * beta, after, alpha=1 - 2 * beta)


def cycle(found: Tensor, inside: Tensor, outside: Outside, moduli: Moduli, **coherence: object) -> Tensor:
    """Return the objects after one cycle.

    Parameters
    ----------
    found
        (start, z, y, x) objects.
    inside
        1 in the support, 0 outside; complex64.
    outside
        What the algorithm does there.
    moduli
        The measured ones.
    **coherence
        ``kernel`` and ``refine`` of `Moduli.project`.
    """
    after = moduli.project(found, **coherence)  # type: ignore[arg-type]
    return torch.lerp(outside(found, after), after, inside)


def _from_centre(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.fft.ifftshift(values)))
