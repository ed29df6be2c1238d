"""Strain and phase that a gap feigns in objects without any, by the width of the gap and by what fills it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from braggworks.datasets.gaps import cross_gap
from braggworks.evaluation.oversampling import MOST
from braggworks.evaluation.real_space import diffract, reconstruct, strain, strain_error
from braggworks.inpainting.interpolation import interpolate
from braggworks.inpainting.whole_scan import Progress

if TYPE_CHECKING:
    from braggworks.inpainting.model import Inpainter

GAP = "gap"
"""Method that leaves zeros in the gap."""

AXIS = 1
"""Axis (z, y, x) along which G is taken, normal to one arm of the cross."""

# Modulus, relative to the largest, above which a voxel belongs to the object.
_SUPPORT = 0.3
# Voxels shown around the object.
_MARGIN = 3

WholeFill = Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[Any]]
"""Fills a scan: counts (z, y, x), 0 in the gap, and the mask, to counts."""


class Diffracted(NamedTuple):
    """A particle's complex diffraction, and what turns phases into strain."""

    amplitude: NDArray[Any]  # (z, y, x)
    g_per_angstrom: float
    voxel_angstrom: float


def whole_fills(inpainter: Inpainter) -> dict[str, WholeFill]:
    """Return linear interpolation of log(1 + counts) and a network, as they fill whole scans."""

    def linear(counts: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[Any]:
        return np.expm1(np.maximum(interpolate(np.log1p(counts), mask), 0))

    def network(counts: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[Any]:
        return inpainter.fill_scan(counts, mask).counts

    return {"linear": linear, "network": network}


def score_artefacts(
    particles: Sequence[Diffracted],
    fills: Mapping[str, WholeFill],
    widths: Sequence[int],
    offset: int,
    progress: Progress = lambda gaps: None,
) -> xr.Dataset:
    """Cut a cross gap into the diffraction of objects whose phase was set to zero, fill it, and transform back.

    Parameters
    ----------
    particles
        Whose moduli are the objects; noise-free, scaled to a maximum of `MOST` counts, as Masto's thesis does, 3.8.
    fills
        What fills the gap, by name; `GAP` comes first by itself.
    widths
        Gap widths in pixels.
    offset
        From the peak to the gap's first pixel along y and x.
    progress
        Called with 1 after each width of each particle.

    Returns
    -------
    xarray.Dataset
        ``rmse`` and ``mean`` of the strain along G, whose truth is 0, by (method, gap_width, particle); and ``strain``
        in the plane through the centre of the first particle, by (method, gap_width, y, x), with its ``support``.
    """
    methods = [GAP, *fills]
    errors = np.full((2, len(methods), len(widths), len(particles)), np.nan)
    shown: list[xr.Dataset] = []
    for last, particle in enumerate(particles):
        body = _Body(particle)
        for column, width in enumerate(widths):
            found = body.reconstructed(fills, width, offset)
            for row, each in enumerate(found):
                error = strain_error(each, body.support, particle.g_per_angstrom, particle.voxel_angstrom, AXIS)
                errors[:, row, column, last] = error.rmse, error.mean
            if last == 0:
                shown.append(body.plane(found, methods))
            progress(1)
    data = xr.concat(shown, xr.DataArray(list(widths), dims="gap_width", name="gap_width", attrs={"units": "px"}))
    data["support"] = shown[0]["support"]
    for name, values in zip(("rmse", "mean"), errors, strict=True):
        data[name] = (("method", "gap_width", "particle"), values, {"units": "1"})
    return data.assign_attrs(kind="strain", n=len(particles), offset_px=offset)


class _Body:
    """An object of zero phase, and its diffraction."""

    def __init__(self, particle: Diffracted) -> None:
        amplitude = np.asarray(particle.amplitude)
        modulus = np.abs(np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(amplitude))))
        self.particle, self.support = particle, modulus > _SUPPORT * modulus.max()
        self.truth = diffract(modulus)
        self.intensity = np.abs(self.truth) ** 2
        self.scale = MOST / self.intensity.max()

    def reconstructed(
        self, fills: Mapping[str, WholeFill], width: int, offset: int
    ) -> list[NDArray[np.complexfloating[Any, Any]]]:
        """Return the objects with a gap, and with the gap filled by every method."""
        centre = self.truth.shape[0] // 2 + offset
        mask = cross_gap(self.truth.shape, (centre, centre), width)
        counts = np.where(mask, 0, self.intensity * self.scale).astype(np.float32)
        filled = [counts, *(fill(counts, mask) for fill in fills.values())]
        return [reconstruct(np.where(mask, each / self.scale, self.intensity), self.truth) for each in filled]

    def plane(self, found: Sequence[NDArray[np.complexfloating[Any, Any]]], methods: list[str]) -> xr.Dataset:
        """Return the plane through the centre, cut to the object."""
        middle = self.support.shape[0] // 2
        rows, columns = (np.flatnonzero(self.support[middle].any(axis=axis)) for axis in (1, 0))
        box = (middle, *(slice(max(0, each[0] - _MARGIN), each[-1] + _MARGIN + 1) for each in (rows, columns)))
        g, voxel = self.particle.g_per_angstrom, self.particle.voxel_angstrom
        dims = ("method", "y", "x")
        return xr.Dataset(
            {
                "strain": (dims, np.stack([strain(each, g, voxel, AXIS)[box] for each in found]), {"units": "1"}),
                "support": (("y", "x"), self.support[box]),
            },
            {"method": methods},
        )
