"""Filling the gaps of scans and patches by the plane network: each slab in one pass, whatever its width and size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from braggworks.inpainting.band_limit import REACH
from braggworks.inpainting.interpolation import interpolate
from braggworks.inpainting.slabs import SMALLEST, Part, cut_mask
from braggworks.inpainting.whole_scan import Inpainted, Progress
from braggworks.networks.plane_network import PlaneNetwork

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

TURNS = ((), (1, 2), (2, 3), (1, 3))
"""Views of a slab, mirrored across it (1), along its rows (2) and along its columns (3).

Their predictions are averaged, and their scatter is the uncertainty."""

_MARGIN = 48  # pixels around a part of a plane that the network sees
_BATCH = 32


class _Filled(NamedTuple):
    counts: Float32  # (scans, z, y, x), without gaps
    spread: Float32  # (z, y, x), scatter of the predicted log(1 + counts) in the first scan
    number: NDArray[np.uint16]  # (z, y, x), of predictions
    parts: int


class SlabInpainter:
    """The plane network with what it needs to work on counts.

    Parameters
    ----------
    network
        Trained network.
    widths_px
        Narrowest and widest gap that it was trained on, in pixels.
    device
        Where it computes; a GPU where torch sees one, if left out.
    """

    unit = "slab"
    patch = None

    def __init__(self, network: PlaneNetwork, widths_px: tuple[int, int], device: str | None = None) -> None:
        self.widths_px = widths_px
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network = network.to(self.device).eval()

    def fill(self, counts: Float32, mask: Bool) -> Float32:
        """Fill gaps of patches.

        Parameters
        ----------
        counts
            Patches of shape (patches, z, y, x) in counts; what lies in the gaps is not looked at.
        mask
            True in the gaps; the same shape.

        Returns
        -------
        ndarray
            Patches in counts, float32: measured voxels as given, gaps as predicted, at least 0.
        """
        filled = np.array(counts, dtype=np.float32)
        alike: dict[bytes, list[int]] = {}
        for number, gap in enumerate(mask):
            alike.setdefault(np.packbits(gap).tobytes(), []).append(number)
        for rows in alike.values():
            gap = mask[rows[0]]
            found = self._fill(filled[rows], gap, lambda parts: None).counts
            filled[rows] = np.where(gap, found, filled[rows])
        return filled

    def steps(self, mask: Bool) -> int:
        """Return how many parts of slabs a mask has; see `braggworks.inpainting.model.Inpainter`."""
        return sum(len(parts) for parts in cut_mask(mask))

    def fill_scan(self, counts: NDArray[Any], mask: Bool, progress: Progress = lambda parts: None) -> Inpainted:
        """Fill the gaps of a scan; see `braggworks.inpainting.model.Inpainter`."""
        found = self._fill(counts[None], mask, progress)
        # Single precision holds whole numbers up to this one.
        whole = np.issubdtype(counts.dtype, np.integer) and counts.max(initial=0, where=~mask) <= 2**24
        result = counts.astype(np.float32 if whole else np.result_type(counts.dtype, np.float32))
        result[mask] = found.counts[0][mask]
        spread = np.where(mask & (found.number < 2), np.float32(np.nan), found.spread)
        return Inpainted(result, spread, found.number, found.parts)

    def _fill(self, counts: NDArray[Any], mask: Bool, progress: Progress) -> _Filled:
        """Fill scans (scans, z, y, x) that have one mask in common."""
        seen = np.array(counts, dtype=np.float32, order="C")
        seen[:, mask] = 0
        rounds = cut_mask(mask)
        unreached = mask.copy()
        for part in (part for parts in rounds for part in parts):
            unreached.reshape(-1)[part.voxels] = False
        if unreached.any():  # as planes at the array's edge are
            gap = np.broadcast_to(mask, seen.shape)
            seen[:, unreached] = np.expm1(interpolate(np.log1p(seen), gap, "linear")[:, unreached])
        number = sum(map(len, rounds))
        found = _Filled(seen, np.zeros(mask.shape, np.float32), np.zeros(mask.shape, np.uint16), number)
        for parts in rounds:
            # Parts that share no voxel take less memory one by one; none sees what the others of its round hold.
            several = sum(part.voxels.size for part in parts) > _number_of_voxels(parts)
            done = [
                self._fill_together(found, together, progress)
                for together in ([parts] if several else [[part] for part in parts])
            ]
            for place, counts_there in done:
                found.counts.reshape(len(found.counts), -1)[:, place] = counts_there
        return found

    def _fill_together(self, found: _Filled, parts: list[Part], progress: Progress) -> tuple[NDArray[np.intp], Float32]:
        """Return voxels of parts and the counts of each scan there; where parts meet, predictions are averaged."""
        alone = len(parts) == 1
        place = parts[0].voxels if alone else np.unique(np.concatenate([part.voxels for part in parts]))
        total, squares = np.zeros((len(found.counts), place.size)), np.zeros(place.size)
        number, predictions = np.zeros((2, place.size), np.uint16)
        for part in parts:
            at = slice(None) if alone else np.searchsorted(place, part.voxels)
            small = part.voxels.size < SMALLEST
            for values in [_line(found.counts, part)] if small else self._predict(found.counts, part):
                total[:, at] += values
                squares[at] += values[0] ** 2
                number[at] += 1
                predictions[at] += not small
            progress(1)
        total /= number
        found.spread.reshape(-1)[place] = np.sqrt(np.maximum(squares / number - total[0] ** 2, 0))
        found.number.reshape(-1)[place] = predictions
        return place, np.expm1(np.maximum(total, 0)).astype(np.float32)

    def _predict(self, counts: Float32, part: Part) -> Iterator[Float32]:
        """Yield log(1 + counts) of the part's voxels in each scan, (scans, voxels), one array for each turn."""
        sides = _sides(counts, part)
        batches = [self._views(sides, first, part.slab.width) for first in range(0, len(counts), _BATCH)]
        for planes in zip(*batches, strict=True):
            whole = planes[0] if len(planes) == 1 else np.concatenate(planes)
            yield whole.reshape(len(counts), -1)[:, sides.place]
            del planes, whole

    def _views(self, sides: _Sides, first: int, width: int) -> Iterator[Float32]:
        """Yield the slab's planes of a few scans, (scans, width, rows, columns), as predicted from each view."""
        before, after = (
            torch.from_numpy(np.ascontiguousarray(planes[first : first + _BATCH])).to(self.device)
            for planes in (sides.before, sides.after)
        )
        views = self.network.views(before, after, width, TURNS)
        while True:
            with torch.inference_mode():
                counts: Tensor | None = next(views, None)
                if counts is None:
                    return
                planes = counts.log1p_().cpu().numpy()
            yield planes
            # The next view takes as much again.
            del planes, counts


class _Sides(NamedTuple):
    before: Float32  # (scans, planes, rows, columns), at most `REACH` planes
    after: Float32
    place: NDArray[np.intp]  # of each voxel in the slab's planes (width, rows, columns), flattened


def _sides(counts: Float32, part: Part) -> _Sides:
    """Return the planes on either side of a part, cut to the part and a margin."""
    axis, start, stop = part.slab.axis, part.slab.start, part.slab.start + part.slab.width
    view = np.moveaxis(counts, axis + 1, 1)
    place = list(np.unravel_index(part.voxels, counts.shape[1:]))
    across, rows, columns = place.pop(axis), *place
    box = tuple(slice(max(0, int(found.min()) - _MARGIN), int(found.max()) + _MARGIN + 1) for found in (rows, columns))
    before = view[:, max(0, start - REACH) : start][:, :, *box]
    after = view[:, stop : stop + REACH][:, :, *box]
    inside = (across - start, rows - box[0].start, columns - box[1].start)
    return _Sides(before, after, np.ravel_multi_index(inside, (part.slab.width, *before.shape[2:])))


def _number_of_voxels(parts: list[Part]) -> int:
    """Return how many voxels parts have together, those of several counted once."""
    if len(parts) == 1:
        return parts[0].voxels.size
    return np.unique(np.concatenate([part.voxels for part in parts])).size


def _line(counts: Float32, part: Part) -> NDArray[np.float64]:
    """Return log(1 + counts) of a part's voxels, (scans, voxels), linear between the slab's neighbours."""
    slab, shape = part.slab, counts.shape[1:]
    across = np.unravel_index(part.voxels, shape)[slab.axis]
    stride = int(np.prod(shape[slab.axis + 1 :]))
    flat = counts.reshape(len(counts), -1)
    low, high = (
        np.log1p(flat[:, part.voxels + (end - across) * stride]) for end in (slab.start - 1, slab.start + slab.width)
    )
    share = (across - slab.start + 1) / (slab.width + 1)
    return np.asarray((1 - share) * low + share * high)
