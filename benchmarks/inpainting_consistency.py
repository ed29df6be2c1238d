"""What a last step of consistency with the autocorrelation adds to a filled gap: whether it should be an option.

The Fourier transform of the intensity is the object's autocorrelation, which ends at twice the object's extent. The
step takes the filled pattern, finds where its autocorrelation exceeds a share of its maximum, and changes the gap, by
conjugate gradients, so that as little as possible is left outside: the change d minimises |W F(I + d)|^2 + c |d|^2,
where W is 1 outside. Patterns, gaps and ratio are those of `inpainting_strain`, noise-free: the case in which such a
step has most to say. A record is the ratio of the strain's RMSE without the step over that with it; above 1 it helps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from tqdm import tqdm

from benchmarks.inpainting import named_inpainter, simulated_amplitudes
from benchmarks.inpainting_strain import OFFSET, RATIOS, VOXEL, WIDTHS, G
from braggworks.datasets.gaps import cross_gap
from braggworks.evaluation.gap_artefacts import AXIS, MOST
from braggworks.evaluation.real_space import diffract, reconstruct, strain_error
from braggworks.records import Record

PARTICLES = 3
SHARES = (1e-3, 1e-4)
WEIGHTS = (1e-2, 1.0)  # c
CYCLES = 30
_SUPPORT = 0.3


def measure() -> Iterator[Record]:
    """Yield what the step adds, by oversampling, width, share and weight."""
    inpainter = named_inpainter()
    torch.set_num_threads(1)
    for oversampling in RATIOS:
        errors: dict[tuple[int, float, float], list[tuple[float, float]]] = {}
        for amplitude in tqdm(simulated_amplitudes(oversampling)[:PARTICLES], mininterval=10):
            modulus = np.abs(np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(amplitude))))
            truth, support = diffract(modulus), modulus > _SUPPORT * modulus.max()
            intensity = np.abs(truth) ** 2 * (MOST / (np.abs(truth) ** 2).max())
            centre = len(truth) // 2 + OFFSET

            def error(filled: NDArray[np.floating], truth: NDArray = truth, support: NDArray = support) -> float:  # type: ignore[type-arg]
                return strain_error(reconstruct(filled, truth), support, float(G), VOXEL, AXIS).rmse

            for width in WIDTHS:
                gap = cross_gap(truth.shape, (centre, centre), width)
                found = inpainter.fill_scan(np.where(gap, 0, intensity).astype(np.float32), gap).counts
                filled = np.where(gap, found, intensity)
                before = error(filled)
                for share in SHARES:
                    for weight in WEIGHTS:
                        after = error(consistent(filled, gap, share, weight))
                        errors.setdefault((width, share, weight), []).append((before, after))
        for (width, share, weight), pairs in errors.items():
            before, after = np.array(pairs).T
            note = (
                f"autocorrelation above {share:g} of its maximum, weight {weight:g}, {len(pairs)} particles, noise-free"
            )
            name = f"inpaint.consistency.gap{width}.oversampling{oversampling}.share{share:g}.weight{weight:g}"
            yield Record(name, float(before.mean() / after.mean()), "1", n=len(pairs), source=note)


def consistent(
    filled: NDArray[np.floating], gap: NDArray[np.bool_], share: float, weight: float
) -> NDArray[np.float64]:
    """Return the pattern with its gap changed by the step."""
    intensity, inside = torch.from_numpy(filled.astype(np.float64)), torch.from_numpy(gap).double()
    autocorrelation = torch.fft.fftn(intensity).abs()
    support = torch.fft.fftshift(autocorrelation > share * autocorrelation.max()).numpy()
    outside = torch.from_numpy(np.fft.ifftshift(~binary_dilation(support))).double()

    def left(change: torch.Tensor) -> torch.Tensor:
        wave: torch.Tensor = torch.fft.ifftn(outside * torch.fft.fftn(change)).real
        return inside * wave

    found = torch.zeros_like(intensity)
    residual = -left(intensity)
    direction, size = residual.clone(), residual.square().sum()
    for _ in range(CYCLES):
        image = left(direction) + weight * direction
        step = size / (direction * image).sum()
        found, residual = found + step * direction, residual - step * image
        size, last = residual.square().sum(), size
        direction = residual + size / last * direction
    return np.where(gap, np.maximum((intensity + found).numpy(), 0), filled)
