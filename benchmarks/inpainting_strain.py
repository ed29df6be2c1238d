"""Strain artefacts of gaps: objects of zero phase whose diffraction is cut by a cross gap, or filled where it was cut.

The objects are the moduli of relaxed particles at one oversampling ratio, those of config/inpainting-test.yaml, with
their phase set to zero, as published for one particle (M. Masto's thesis, 3.8). Their diffraction, noise-free and
scaled to a maximum of 1e5 counts, keeps its own phase. The cross starts 8 px from the peak along y and x, and G lies
along y. The weights are those that BRAGGWORKS_WEIGHTS names.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.inpainting import MOST, named_inpainter, simulated_amplitudes
from braggworks.datasets.gaps import cross_gap
from braggworks.evaluation.real_space import diffract, reconstruct, strain_error
from braggworks.inpainting.interpolation import interpolate
from braggworks.records import Record

RATIO, OFFSET, AXIS = 3, 8, 1
WIDTHS = (3, 6, 9, 12)
# Of gold's (111) planes, in 1/angstrom; ratios do not depend on it.
G = np.sqrt(3) / 4.08
VOXEL = 1.0
THRESHOLD = 0.3


def measure() -> Iterator[Record]:
    """Yield ratios of strain errors, with the range over the particles."""
    inpainter = named_inpainter()
    found: dict[str, list[NDArray[np.float64]]] = {}
    for amplitude in tqdm(simulated_amplitudes(RATIO), desc="strain", mininterval=10):
        modulus = np.abs(np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(amplitude))))
        support = modulus > THRESHOLD * modulus.max()
        truth = diffract(modulus)
        intensity = np.abs(truth) ** 2
        scale = MOST / intensity.max()
        centre = truth.shape[0] // 2 + OFFSET
        for width in WIDTHS:
            mask = cross_gap(truth.shape, (centre, centre), width)
            counts = np.where(mask, 0, intensity * scale).astype(np.float32)
            logs = np.log1p(counts)
            fillings = {
                "gap": counts,
                "linear": np.expm1(np.maximum(interpolate(logs, mask, "linear"), 0)),
                "network": inpainter.fill_scan(counts, mask).counts,
            }
            errors = []
            for filled in fillings.values():
                whole = np.where(mask, filled / scale, intensity)
                error = strain_error(reconstruct(whole, truth), support, G, VOXEL, AXIS)
                errors.append([error.rmse, error.mean])
            found.setdefault(str(width), []).append(np.array(errors))
    for width, values in found.items():
        rmse = np.stack(values)[:, :, 0]
        for name, column in (("", 2), (".linear", 1)):
            ratios = rmse[:, 0] / rmse[:, column]
            about = f"of the mean RMSE; range over {len(ratios)} particles, oversampling {RATIO}"
            ratio = float(rmse[:, 0].mean() / rmse[:, column].mean())
            spread = {"low": float(ratios.min()), "high": float(ratios.max())}
            published = "about 5" if not name else None
            yield Record(
                f"inpaint.strain_ratio{name}.gap{width}",
                ratio,
                "1",
                n=len(ratios),
                published=published,
                source=about,
                **spread,
            )
