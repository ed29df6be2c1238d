"""One measurement: its counts, what is known of the detector, and the geometry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

AXES = ("rocking", "y", "x")


@dataclass(frozen=True)
class Scan:
    """One measurement.

    Parameters
    ----------
    counts
        (z, y, x) counts, axes (rocking step, detector row, detector column); finite and not negative.
    mask
        (z, y, x), true where nothing was measured; None if nothing is said.
    dark
        (rows, columns) counts of a frame without X-rays; may be larger than a frame.
    white_field
        (rows, columns) response to even illumination, in any unit; may be larger than a frame.
    energy_ev
        Photon energy, in eV.
    distance_m
        From sample to detector, in m.
    pixel_m
        Height and width of a pixel, in m.
    middle_px
        (row, column) of the frames, from their first corner, that the detector's angles point to; None if nothing is
        said.
    angles
        Diffractometer angles by name, in degrees: one value, or one for each rocking step.
    notes
        What the file says of sample, instrument and time, by CXI's name: a text, or a few numbers.
    axes
        Names of the axes.
    title
        What was measured.
    format
        Format of the file: CXI, HDF5, npz, npy or tif.
    source
        The file, and where in it the counts were.
    simulated
        Whether the counts were computed and not measured.
    """

    counts: NDArray[Any]
    mask: NDArray[np.bool_] | None = None
    dark: NDArray[Any] | None = None
    white_field: NDArray[Any] | None = None
    energy_ev: float | None = None
    distance_m: float | None = None
    pixel_m: tuple[float, float] | None = None
    middle_px: tuple[float, float] | None = None
    angles: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    notes: dict[str, str | NDArray[Any]] = field(default_factory=dict)
    axes: tuple[str, ...] = AXES
    title: str = ""
    format: str = ""
    source: str = ""
    simulated: bool = False

    @property
    def gap(self) -> NDArray[np.bool_]:
        """The mask, all false if nothing is said."""
        return np.zeros(self.counts.shape, bool) if self.mask is None else self.mask

    def middle(self, roi_origin: tuple[int, int] = (0, 0)) -> tuple[float, float]:
        """Return `middle_px`; where nothing is said, the middle of a field larger than a frame, or of a frame.

        Parameters
        ----------
        roi_origin
            First (row, column) of the frames in such a field.
        """
        if self.middle_px:
            return self.middle_px
        frame = self.counts.shape[1:]
        fields = [field.shape for field in (self.dark, self.white_field) if field is not None and field.shape != frame]
        if fields:
            return fields[0][0] / 2 - roi_origin[0], fields[0][1] / 2 - roi_origin[1]
        return frame[0] / 2, frame[1] / 2
