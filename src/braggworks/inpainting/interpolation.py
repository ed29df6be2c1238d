"""Interpolation across gaps: the baselines that a network has to beat, and its starting point.

Every method works along one axis, on whatever it is given; for diffraction that is the logarithm of the counts,
``log(1 + counts)``, because intensities fall by orders of magnitude across a gap.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from braggworks.errors import ScanError

Method = Literal["nearest", "linear", "cubic"]
METHODS: tuple[Method, ...] = ("nearest", "linear", "cubic")

Float = NDArray[np.floating[Any]]
Bool = NDArray[np.bool_]
Index = NDArray[np.intp]

# Voxels worked on at once: small enough to stay in a processor's cache.
_CHUNK_VOXELS = 1 << 19


class _Runs(NamedTuple):
    """Runs of masked voxels along one axis of a flattened array; arrays have one entry per masked voxel."""

    where: Index  # flat index of the voxel
    back: Index  # steps back to the last measured voxel, 0 where there is none
    on: Index  # steps on to the next measured voxel, 0 where there is none
    cost: Index  # width of the run; dearer where it touches an edge, dearest where nothing is measured
    stride: int  # voxels from one step to the next
    length: int  # voxels along the axis

    def select(self, chosen: Index) -> _Runs:
        """Return the runs of some of the voxels."""
        parts = (self.where[chosen], self.back[chosen], self.on[chosen], self.cost[chosen])
        return _Runs(*parts, self.stride, self.length)


def interpolate(values: Float, mask: NDArray[Any], method: Method = "linear") -> Float:
    """Fill masked voxels from measured ones along the axis where the gap is narrowest.

    Where two or three axes are equally narrow their results are averaged. What no axis reaches, such as the crossing
    of two slabs, follows in a second pass in which filled voxels count as measured. A gap that touches the array's
    edge takes its nearest measured voxel.

    Parameters
    ----------
    values
        Array of shape (..., z, y, x), in practice ``log(1 + counts)``; its content under the mask is not looked at.
    mask
        Array of the same shape; true (1) where nothing was measured.
    method
        ``nearest``: the nearer edge of the gap, or the mean of both in the middle. ``linear``: the straight line
        between the gap's edges. ``cubic``: the Lagrange polynomial through the two measured voxels on each side, or
        the straight line where a side has only one.

    Returns
    -------
    ndarray
        Filled copy of `values`, of the same floating type; measured voxels are unchanged.

    Raises
    ------
    ScanError
        If a whole (z, y, x) array is masked.
    ValueError
        If shapes differ, there are fewer than three axes, or the method is unknown.
    """
    if values.ndim < 3 or values.shape != mask.shape:
        raise ValueError(f"values {values.shape} and mask {mask.shape} must share a shape (..., z, y, x)")
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: use one of {', '.join(METHODS)}")
    shape = values.shape
    filled = np.array(values, dtype=np.result_type(values.dtype, np.float32), order="C").reshape(-1, *shape[-3:])
    gap = np.array(mask, dtype=bool, order="C").reshape(filled.shape)
    step = max(1, _CHUNK_VOXELS // max(1, filled[0].size)) if len(filled) else 1
    for start in range(0, len(filled), step):
        part = slice(start, start + step)
        rest = _fill_slabs(filled[part], gap[part], method)
        if rest.size:
            values_of_rest = filled[part][rest]
            _fill(values_of_rest, gap[part][rest], method)
            filled[start + rest] = values_of_rest
    return filled.reshape(shape)


def interpolate_batch(values: Float, mask: NDArray[Any], method: Method = "linear") -> Float:
    """Fill a batch of patches; see `interpolate`.

    Parameters
    ----------
    values, mask
        Arrays of shape (batch, z, y, x).
    method
        As in `interpolate`.
    """
    if values.ndim != 4:
        raise ValueError(f"values {values.shape} must have the shape (batch, z, y, x)")
    return interpolate(values, mask, method)


def _fill_slabs(values: Float, gap: Bool, method: Method) -> Index:
    """Fill in place the arrays whose gap is a set of slabs normal to one axis; return the numbers of the others.

    Such a gap is filled by one small matrix: the interpolation of the unit vectors.
    """
    rest = np.flatnonzero(gap.any(axis=(1, 2, 3)))
    for axis in (3, 2, 1):
        values_last, gap_last = np.moveaxis(values, axis, 3), np.moveaxis(gap, axis, 3)
        profiles = gap_last[:, 0, 0, :]
        is_slab = [number for number in rest if (gap_last[number] == profiles[number]).all()]
        rest = np.setdiff1d(rest, is_slab)
        groups: dict[bytes, list[int]] = {}
        for number in is_slab:
            groups.setdefault(profiles[number].tobytes(), []).append(int(number))
        for members in groups.values():
            profile = profiles[members[0]]
            unit = np.eye(profile.size, dtype=values.dtype).reshape(profile.size, 1, 1, profile.size)
            _fill(unit, np.broadcast_to(profile, unit.shape).copy(), method)
            targets, sources = np.flatnonzero(profile), np.flatnonzero(~profile)
            weights = unit[sources, 0, 0][:, targets]
            used = np.flatnonzero(weights.any(axis=1))
            block = values_last[members]
            block[..., targets] = block[..., sources[used]] @ weights[used]
            values_last[members] = block
    return rest


def _fill(values: Float, gap: Bool, method: Method) -> None:
    """Fill `values` (batch, z, y, x) in place, clearing `gap` as it goes."""
    flat, masked = values.reshape(-1), gap.reshape(-1)
    while (where := np.flatnonzero(masked)).size:
        axes = [_runs(gap, where, axis) for axis in (1, 2, 3)]
        cheapest = np.minimum.reduce([runs.cost for runs in axes])
        total, count = np.zeros(where.size, values.dtype), np.zeros(where.size, np.int8)
        for runs in axes:
            chosen = np.flatnonzero((runs.cost == cheapest) & (runs.back + runs.on > 0))
            total[chosen] += _along(flat, masked, runs.select(chosen), method)
            count[chosen] += 1
        reached = count > 0
        if not reached.any():
            raise ScanError("The mask covers a whole array, so there is nothing to interpolate from: check the mask.")
        flat[where[reached]] = total[reached] / count[reached]
        masked[where[reached]] = False


def _runs(gap: Bool, where: Index, axis: int) -> _Runs:
    """Measure the runs of masked voxels along one axis of `gap` (batch, z, y, x) at the flat indices `where`."""
    length, stride = gap.shape[axis], math.prod(gap.shape[axis + 1 :])
    position = np.arange(length, dtype=np.int32).reshape(-1, *[1] * (3 - axis))
    before = np.maximum.accumulate(np.where(gap, np.int32(-1), position), axis=axis)
    backwards = np.flip(np.where(gap, np.int32(length), position), axis)
    after = np.flip(np.minimum.accumulate(backwards, axis=axis), axis)
    here = where // stride % length
    first, last = before.reshape(-1)[where].astype(np.intp), after.reshape(-1)[where].astype(np.intp)
    back, on = np.where(first >= 0, here - first, 0), np.where(last < length, last - here, 0)
    at_edges = (back == 0).astype(np.intp) + (on == 0)
    return _Runs(where, back, on, last - first + at_edges * 2**32, stride, length)


def _along(flat: Float, masked: Bool, runs: _Runs, method: Method) -> Float:
    """Interpolate voxels along one axis."""
    back, on = runs.back, runs.on
    before, after = runs.where - back * runs.stride, runs.where + on * runs.stride
    share = np.where(back == 0, 1.0, np.where(on == 0, 0.0, back / np.maximum(back + on, 1)))
    if method == "nearest":
        share = (np.sign(share - 0.5) + 1) / 2
    share = share.astype(flat.dtype)
    # An absent side has weight 0, but what lies under the mask may be NaN: read the present side twice instead.
    before, after = np.where(back == 0, after, before), np.where(on == 0, before, after)
    result: Float = (1 - share) * flat[before] + share * flat[after]
    if method == "cubic":
        _make_cubic(result, flat, masked, runs)
    return result


def _make_cubic(result: Float, flat: Float, masked: Bool, runs: _Runs) -> None:
    """Replace entries of `result` by the Lagrange polynomial where two measured voxels lie on each side."""
    here = runs.where // runs.stride % runs.length
    inside = (runs.back > 0) & (runs.on > 0) & (here - runs.back > 0) & (here + runs.on < runs.length - 1)
    places = np.flatnonzero(inside)
    where, back, on, _, stride, _ = runs.select(places)
    far_before, far_after = where - (back + 1) * stride, where + (on + 1) * stride
    usable = ~(masked[far_before] | masked[far_after])
    # Nodes at -1, 0, width and width + 1, counted from the last measured voxel before the gap.
    t, width = back.astype(flat.dtype), (back + on).astype(flat.dtype)
    cubic = (
        -t * (t - width) * (t - width - 1) / ((width + 1) * (width + 2)) * flat[far_before]
        + (t + 1) * (t - width) * (t - width - 1) / (width * (width + 1)) * flat[where - back * stride]
        - (t + 1) * t * (t - width - 1) / (width * (width + 1)) * flat[where + on * stride]
        + (t + 1) * t * (t - width) / ((width + 1) * (width + 2)) * flat[far_after]
    )
    result[places[usable]] = cubic[usable]
