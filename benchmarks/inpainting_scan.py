"""How well gaps that are cut into a measured scan are filled, by width and distance from the peak.

The scan is the 128^3 crop around the maximum of aps34idc_au_scan54.cxi in the folder BRAGGWORKS_TEST_DATA. A gap is a
slab whose first pixel lies so many pixels from the peak; the correlation of log(1 + counts) is that of all its voxels.
Names without a side are of slabs normal to x, beyond the peak; on the other five sides, cells that do not fit into the
crop are left out. BRAGGWORKS_SIDES names fewer sides, such as "x_plus z_minus". `adapted` is the network joined with
the predictor, by weights fitted beside the gap. The weights are those that BRAGGWORKS_WEIGHTS names, or those of the
package.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.inpainting import named_inpainter
from braggworks.evaluation.gap_protocol import smooth
from braggworks.evaluation.metrics import pcc
from braggworks.evaluation.scan_scores import share_filled
from braggworks.inpainting.adapted import AdaptedInpainter
from braggworks.inpainting.interpolation import METHODS, interpolate
from braggworks.inpainting.linear_predictor import predict_gaps
from braggworks.inpainting.variational import fill_total_variation
from braggworks.records import Record
from braggworks.scans.prepare import crop, crop_window, find_peak
from braggworks.scans.readers import read_scan, usable

SCAN, CROP = "aps34idc_au_scan54.cxi", 128
WIDTHS, STARTS = (3, 6, 12, 38), (6, 12, 20)
# Axis and direction from the peak, by the records' name; the axis z is the rocking angle.
SIDES = {
    "": (2, 1),
    "x_minus.": (2, -1),
    "y_plus.": (1, 1),
    "y_minus.": (1, -1),
    "z_plus.": (0, 1),
    "z_minus.": (0, -1),
}
# What is compared with the baselines, and the part of its records' names.
OURS = {"network": "", "adapted": "adapted."}
Fill = Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.floating[Any]]]


def measure() -> Iterator[Record]:
    """Yield the correlation of every method in every cell, and in how many the network is best."""
    inpainter = named_inpainter()
    counts, peak = _crop()
    methods: dict[str, Fill] = {name: _on_logs(lambda v, m, n=name: interpolate(v, m, n)) for name in METHODS}
    methods["smooth"] = lambda values, mask: smooth(values[None], mask[None])[0]
    methods["total_variation"] = _on_logs(fill_total_variation)
    methods["predictor"] = _on_logs(predict_gaps)
    methods["network"] = lambda values, mask: inpainter.fill_scan(values, mask).counts
    adapted = AdaptedInpainter(inpainter)
    methods["adapted"] = lambda values, mask: adapted.fill_scan(values, mask).counts
    seconds: list[float] = []
    wanted = os.environ.get("BRAGGWORKS_SIDES", "").split()
    for side, (axis, sign) in SIDES.items():
        if wanted and (side.rstrip(".") or "x_plus") not in wanted:
            continue
        above, cells = dict.fromkeys(OURS, 0), 0
        for width, start in itertools.product(WIDTHS, STARTS):
            first = peak[axis] + start if sign > 0 else peak[axis] - start - width + 1
            mask = _slab(counts.shape, axis, first, width)
            if mask is None:
                continue
            scores, share = {}, None
            for name, fill in tqdm(methods.items(), desc=f"{side}{width} px from {start}", leave=False, mininterval=10):
                begun = time.perf_counter()
                filled = fill(np.where(mask, np.float32(0), counts), mask)
                if name == "network":
                    seconds.append(time.perf_counter() - begun)
                    share = share_filled(counts, mask, filled)
                scores[name] = float(pcc(np.log1p(counts)[None], np.log1p(filled)[None], mask[None])[0])
            for name, score in scores.items():
                stem = f"inpaint.aps.{side}" if name == "network" else f"inpaint.aps.{side}{name}."
                yield Record(f"{stem}gap{width}.from{start}", score, "1", n=int(mask.sum()), source="PCC in the gap")
            about = "counts that the network fills in over those measured there"
            yield Record(f"inpaint.aps.{side}filled_share.gap{width}.from{start}", share, "1", source=about)
            best = max(score for name, score in scores.items() if name not in OURS)
            above = {name: number + (scores[name] > best) for name, number in above.items()}
            cells += 1
        for name, number in above.items():
            stem = f"inpaint.aps.{side}{OURS[name]}cells_above_best_baseline"
            yield Record(stem, number, "cells", n=cells, source=f"of {cells}")
    about = "one slab of 128^2 pixels"
    yield Record("inpaint.aps.seconds", float(np.median(seconds)), "s", n=len(seconds), source=about)


def _slab(shape: tuple[int, ...], axis: int, first: int, width: int) -> NDArray[np.bool_] | None:
    """Return a slab, or None where it and a measured plane on either side of it do not fit."""
    if first < 1 or first + width >= shape[axis]:
        return None
    mask = np.zeros(shape, bool)
    np.moveaxis(mask, axis, 0)[first : first + width] = True
    return mask


def _crop() -> tuple[NDArray[np.float32], tuple[int, int, int]]:
    """Return counts around the peak as they were measured, and the peak."""
    scan = usable(read_scan(Path(os.environ["BRAGGWORKS_TEST_DATA"]) / SCAN))
    place = find_peak(scan.counts, scan.mask).position
    start, extent, _ = crop_window(scan.counts.shape, place, CROP)
    found = crop(scan, start, extent)
    z, y, x = (int(p - s) for p, s in zip(place, start, strict=True))
    return found.counts.astype(np.float32), (z, y, x)


def _on_logs(fill: Fill) -> Fill:
    """Return a filler of counts from one of log(1 + counts)."""
    return lambda counts, mask: np.expm1(np.maximum(fill(np.log1p(counts), mask), 0))
