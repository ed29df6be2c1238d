"""Time and error of filling a scan's gap with ever fewer windows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from braggworks.evaluation.metrics import pcc
from braggworks.inpainting.model import Inpainter
from braggworks.inpainting.whole_scan import Progress


def score_skipping(
    load: Callable[[int], Inpainter],
    measured: NDArray[Any],
    gap: NDArray[np.bool_],
    skipped: Sequence[int],
    progress: Progress = lambda runs: None,
) -> xr.Dataset:
    """Fill one gap with windows at several distances.

    Parameters
    ----------
    load
        From the step between windows, in pixels, to what fills.
    measured
        (z, y, x) counts, those under the gap included.
    gap
        (z, y, x), true where they are hidden.
    skipped
        Pixels between one window and the next; 0 is a window at every pixel.
    progress
        Called with 1 after each filling.

    Returns
    -------
    xarray.Dataset
        By skipped: ``seconds``; ``error``, the sum of |log(1 + counts) - truth| over the gap; ``pcc``; ``windows``; and
        ``plane``, the counts (z, y) in the middle of the gap's arm normal to x, whose measured ones are ``measured``.
    """
    full = np.flatnonzero(gap.all(axis=(0, 1)))
    middle = int(full[len(full) // 2]) if len(full) else int(gap.sum(axis=(0, 1)).argmax())
    truth = np.log1p(measured[gap].astype(np.float64))
    rows, planes = [], []
    for number in skipped:
        inpainter = load(number + 1)
        began = time.perf_counter()
        found = inpainter.fill_scan(np.where(gap, 0, measured).astype(measured.dtype), gap)
        seconds = time.perf_counter() - began
        values = np.log1p(np.maximum(found.counts[gap], 0).astype(np.float64))
        score = pcc(truth[None], values[None], np.ones((1, len(truth)), bool)).item()
        rows.append((seconds, float(np.abs(values - truth).sum()), score, found.steps))
        planes.append(found.counts[..., middle])
        progress(1)
    units = {"seconds": "s", "error": "1", "pcc": "1", "windows": "windows"}
    columns = zip(units.items(), zip(*rows, strict=True), strict=True)
    data = {name: ("skipped", np.array(values), {"units": unit}) for (name, unit), values in columns}
    coordinate = ("skipped", list(skipped), {"units": "px"})
    shown = {
        "plane": (("skipped", "z", "y"), np.stack(planes).astype(np.float32), {"units": "counts"}),
        "measured": (("z", "y"), measured[..., middle].astype(np.float32), {"units": "counts"}),
    }
    return xr.Dataset(data | shown, {"skipped": coordinate}, {"kind": "skipped", "voxels": int(gap.sum())})
