"""A network joined with the linear predictor of the scan itself, by weights that are fitted beside the gap.

The network knows fringes from simulations, the predictor the statistics of this scan; the one is better where there are
many counts, the other where there are few. Gaps of the same width are cut on either side of each slab, filled by both,
and the weights are those that come nearest to what was measured there (stacking: Breiman, Mach. Learn. 24, 49, 1996).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from braggworks.inpainting.linear_predictor import Predictors, fit_predictors, predict_gaps
from braggworks.inpainting.model import Inpainter
from braggworks.inpainting.slabs import Slab, find_slabs
from braggworks.inpainting.whole_scan import Inpainted, Progress

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]

WIDEST = 16
"""Planes; wider slabs are left to the network, because what lies so far beside them no longer resembles them."""

_APART = 8  # planes between a slab and the nearest gap that is cut beside it, and that gap and the scan's edge


class AdaptedInpainter:
    """A network whose fillings of scans are joined with those of the scan's linear predictor.

    Parameters
    ----------
    network
        What fills gaps; see `braggworks.inpainting.model.Inpainter`, as which this passes.
    """

    def __init__(self, network: Inpainter) -> None:
        self._network = network
        self.unit, self.patch, self.widths_px = network.unit, network.patch, network.widths_px

    def fill(self, counts: Float32, mask: Bool) -> Float32:
        """Return what the network makes of patches: there is too little in them to fit to."""
        return self._network.fill(counts, mask)

    def steps(self, mask: Bool) -> int:
        """Return the network's steps, those of the gaps beside the scan's among them."""
        trials = (mask | trial for slab in find_slabs(mask) for trial in _beside(slab, mask))
        return self._network.steps(mask) + sum(map(self._network.steps, trials))

    def fill_scan(self, counts: NDArray[Any], mask: Bool, progress: Progress = lambda steps: None) -> Inpainted:
        """Fill the gaps of a scan; uncertainty and predictions are the network's."""
        found = self._network.fill_scan(counts, mask, progress)
        logs = _logs(np.where(mask, counts.dtype.type(0), counts))
        predictors = fit_predictors(logs, mask)
        predicted = predict_gaps(logs, mask, predictors)
        joined, left = found.counts.copy(), mask.copy()
        for slab in sorted(find_slabs(mask), key=lambda slab: slab.width):
            weights = self._weights(counts, mask, slab, predictors, progress)
            if weights is None:
                continue
            new = np.zeros_like(mask)
            new[slab.where] = left[slab.where]
            left[slab.where] = False
            both = weights[0] * np.log1p(found.counts[new]) + weights[1] * predicted[new]
            joined[new] = np.expm1(np.maximum(both, 0))
        return replace(found, counts=joined, steps=self.steps(mask))

    def _weights(
        self, counts: NDArray[Any], mask: Bool, slab: Slab, predictors: Predictors, progress: Progress
    ) -> tuple[float, float] | None:
        """Return the weights of network and predictor, neither below 0; None where nothing can be cut beside a slab."""
        if predictors[slab.axis, slab.width] is None:
            return None
        fillings, truths = [], []
        for trial in _beside(slab, mask):
            hidden, seen = mask | trial, trial & ~mask
            shown = np.where(hidden, counts.dtype.type(0), counts)
            network = self._network.fill_scan(shown, hidden, progress).counts
            predicted = predict_gaps(_logs(shown), hidden, predictors)
            fillings.append(np.stack([np.log1p(network[seen]), predicted[seen]], axis=1))
            truths.append(_logs(counts[seen]))
        if not truths or not any(truth.any() for truth in truths):
            return None
        basis, triangle = np.linalg.qr(np.concatenate(fillings).astype(np.float64))
        found, _ = nnls(triangle, basis.T @ np.concatenate(truths))
        return float(found[0]), float(found[1])


def _logs(counts: NDArray[Any]) -> Float32:
    return np.log1p(counts.astype(np.float32))


def _beside(slab: Slab, mask: Bool) -> Iterator[Bool]:
    """Yield gaps like a slab, on either side of it, where the scan has room and no other slab is near."""
    if slab.width > WIDEST:
        return
    length = mask.shape[slab.axis]
    planes = np.asarray(mask.all(axis=tuple(axis for axis in range(3) if axis != slab.axis)))
    for away in (_APART, _APART + slab.width // 2 + 4):
        for start in (slab.start - away - slab.width, slab.stop + away):
            around = slice(start - _APART + 1, start + slab.width + _APART - 1)
            if start >= _APART and start + slab.width <= length - _APART and not planes[around].any():
                trial = np.zeros_like(mask)
                trial[replace(slab, start=start).where] = True
                yield trial
