"""Gaps of real area detectors, in pixels and millimetres.

All of these detectors are grids of equal modules, so that a gap runs through the whole detector: a mask is given by
the rows and the columns that measure nothing. Within a module, chips may meet in lines of their own.

The numbers are the makers' (Quantum Detectors, ESRF, Dectris). Where masks in use at beamlines are wider than the
maker's gap, it is because the pixels at a module's edge are masked as well: ``edge_px`` adds them, so that the detector
keeps the maker's size and its gaps have the width in use.

- Merlin: 2 x 2 Medipix3 chips of 256 x 256 pixels of 55 um, 3 px apart.
- Maxipix: 516 x 516 pixels of 55 um, 2 x 2 chips of 256 x 256, 4 px apart; with one pixel of each edge, the cross of
  6 px that is masked in use (4-6 px).
- Timepix of beamline 34-ID-C (APS): 2 x 2 chips of 256 x 256 of 55 um, with seams of 4 and 5 px between them, the
  numbers that the beamline's software (cohere, detector 34idcTIM2) inserts; here 4 rows and 5 columns, but which is
  which depends on how a file orders its axes.
- Eiger 2M: 4 x 1 modules of 514 x 1030 pixels of 75 um, 37 rows apart. In use 41 rows are masked, two more of each
  edge, and 4 px where chips meet (Eiger 2M of ESRF ID01; some of its lines are masked with 5).
- Eiger 4M: 4 x 2 of the same modules, 2167 x 2070 pixels: 37 rows and 10 columns apart by the maker, and 39 and 12 px
  with one pixel of each edge, as in use.
- Eiger 9M (Eiger2): 6 x 3 modules of 512 x 1028 pixels of 75 um, 3262 x 3108 in all, which leaves 38 rows and 12
  columns between them; 2 px where chips meet, a module being two chips high and four wide (the width is the one in use,
  the places assume chips of equal size).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from braggworks.errors import ConfigError

# Measured pixels on either side of a gap, so that it can be interpolated over.
BORDER_PX = 2
# Largest part of a patch that the gaps of a layout may cover.
_MOST_COVERED = 0.5


@dataclass(frozen=True)
class Layout:
    """A detector made of a grid of equal modules.

    Parameters
    ----------
    name
        What it is called.
    pixel_mm
        Pitch of the pixels, in millimetres.
    modules
        Rows and columns of modules.
    module_px
        Pixels of a module along y and x, with the lines where its chips meet.
    gap_px
        Pixels along y and x between modules.
    edge_px
        Pixels of a module's edge that are masked on either side of such a gap.
    chips
        Rows and columns of chips in a module.
    chip_gap_px
        Pixels along y and x that are masked where the chips of a module meet.
    """

    name: str
    pixel_mm: float
    modules: tuple[int, int]
    module_px: tuple[int, int]
    gap_px: tuple[int, int]
    edge_px: int = 0
    chips: tuple[int, int] = (1, 1)
    chip_gap_px: tuple[int, int] = (0, 0)

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels along y and x, gaps included."""
        y, x = (m * p + (m - 1) * g for m, p, g in zip(self.modules, self.module_px, self.gap_px, strict=True))
        return y, x

    @property
    def masked_px(self) -> tuple[int, int]:
        """Width of the masked gaps between modules along y and x, in pixels; 0 where there is one module only."""
        y, x = (g + 2 * self.edge_px if m > 1 else 0 for m, g in zip(self.modules, self.gap_px, strict=True))
        return y, x

    @property
    def gap_mm(self) -> tuple[float, float]:
        """Width of the masked gaps between modules along y and x, in millimetres."""
        return self.masked_px[0] * self.pixel_mm, self.masked_px[1] * self.pixel_mm

    @property
    def chip_gap_mm(self) -> tuple[float, float]:
        """Width of the lines between chips along y and x, in millimetres."""
        return self.chip_gap_px[0] * self.pixel_mm, self.chip_gap_px[1] * self.pixel_mm

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width of the detector, in millimetres."""
        return self.shape[0] * self.pixel_mm, self.shape[1] * self.pixel_mm

    @cached_property
    def lines(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Rows (Y,) and columns (X,) that measure nothing, true in the gap."""
        return self._line(0), self._line(1)

    def mask(self) -> NDArray[np.bool_]:
        """Return the (Y, X) mask of the whole detector, true in the gaps."""
        return self.tile(self.shape, (0, 0))

    def tile(self, shape: tuple[int, int], origin: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the mask of a region of interest.

        Parameters
        ----------
        shape
            Pixels of the region along y and x.
        origin
            Its first pixel (y, x) on the detector.

        Raises
        ------
        ConfigError
            If the region does not lie on the detector.
        """
        rows, columns = self._region(shape, origin)
        return rows[:, None] | columns[None, :]

    def first_gap(self, shape: tuple[int, int], origin: tuple[int, int]) -> tuple[int, int]:
        """Return the first masked row and column of a region, relative to its origin; -1 where there is none."""
        y, x = (int(line.argmax()) if line.any() else -1 for line in self._region(shape, origin))
        return y, x

    def _region(self, shape: tuple[int, int], origin: tuple[int, int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        if any(o < 0 or n < 1 or o + n > full for o, n, full in zip(origin, shape, self.shape, strict=True)):
            raise ConfigError(
                f"A region of {shape[0]} x {shape[1]} px at {origin} does not lie on the {self.name} of "
                f"{self.shape[0]} x {self.shape[1]} px: use a smaller patch, or another origin."
            )
        (rows, columns), (y, x) = self.lines, origin
        return rows[y : y + shape[0]], columns[x : x + shape[1]]

    def _line(self, axis: int) -> NDArray[np.bool_]:
        line = np.zeros(self.shape[axis], bool)
        size, gap, chips, seam = self.module_px[axis], self.gap_px[axis], self.chips[axis], self.chip_gap_px[axis]
        for module in range(self.modules[axis]):
            first = module * (size + gap)
            if module:
                line[first - gap - self.edge_px : first + self.edge_px] = True
            for chip in range(1, chips):
                place = chip * size / chips
                # Away from the middle, where the line falls on half a pixel: symmetric, as the module is.
                start = first + (math.floor(place) if 2 * chip <= chips else math.ceil(place)) - seam // 2
                line[start : start + seam] = True
        return line


LAYOUTS: dict[str, Layout] = {
    "merlin": Layout("Merlin", 0.055, (2, 2), (256, 256), (3, 3)),
    "maxipix": Layout("Maxipix", 0.055, (2, 2), (256, 256), (4, 4), edge_px=1),
    "timepix": Layout("Timepix of 34-ID-C", 0.055, (2, 2), (256, 256), (4, 5)),
    "eiger2m": Layout("Eiger 2M", 0.075, (4, 1), (514, 1030), (37, 10), 2, (2, 4), (4, 4)),
    "eiger4m": Layout("Eiger 4M", 0.075, (4, 2), (514, 1030), (37, 10), edge_px=1),
    "eiger9m": Layout("Eiger 9M", 0.075, (6, 3), (512, 1028), (38, 12), 0, (2, 4), (2, 2)),
}


def draw_regions(layout: Layout, size: int, count: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Draw regions of a detector that hold a gap: uniform over all that fit the rules.

    A region holds at least one gap, is not covered by more than half, and leaves at least `BORDER_PX` measured pixels
    between its edges and each gap that runs along them; so gaps are never cut, and the widest need a large patch.

    Parameters
    ----------
    layout
        The detector.
    size
        Pixels per axis of a region.
    count
        Number of regions; they are independent.
    rng
        Source of random numbers.

    Returns
    -------
    numpy.ndarray
        (count, 2) first pixels (y, x), int32.

    Raises
    ------
    ConfigError
        If no region fits.
    """
    if size > min(layout.shape):
        layout.tile((size, size), (0, 0))
    (y, covered_y), (x, covered_x) = (_legal_starts(line, size) for line in layout.lines)
    # Number of legal partners of each start along y, for a draw that is uniform over pairs.
    order = np.argsort(covered_x, kind="stable")
    x, covered_x = x[order], covered_x[order]
    most = (_MOST_COVERED * size * size - size * covered_y) / np.maximum(size - covered_y, 1)
    last = np.searchsorted(covered_x, most, side="right")
    first = np.where(covered_y > 0, 0, np.searchsorted(covered_x, 0, side="right"))
    ends = np.cumsum(np.maximum(last - first, 0))
    if not len(ends) or not ends[-1]:
        raise ConfigError(
            f"No region of {size} x {size} px on the {layout.name} holds a whole gap with measured borders: use a "
            "larger patches.size, or leave this detector out of gaps.layouts."
        )
    drawn = rng.integers(0, ends[-1], count)
    row = np.searchsorted(ends, drawn, side="right")
    column = last[row] - (ends[row] - drawn)
    return np.stack([y[row], x[column]], axis=1).astype(np.int32)


def _legal_starts(line: NDArray[np.bool_], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first pixels of the windows whose first and last pixels are measured, and how many are not inside."""
    edges = np.concatenate([[0], np.cumsum(line)])
    starts = np.arange(len(line) - size + 1)
    low = edges[starts + BORDER_PX] - edges[starts]
    high = edges[starts + size] - edges[starts + size - BORDER_PX]
    legal = starts[(low == 0) & (high == 0)]
    return legal, edges[legal + size] - edges[legal]
