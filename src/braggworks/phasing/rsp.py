"""Objects from the reciprocal-space phase that a trained network predicts.

Counts and phases are (z, y, x) or (y, x) with the peak at voxel n // 2, objects have their centre there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, gaussian_filter, label
from torch import Tensor

from braggworks.errors import PhasingError
from braggworks.inpainting.interpolation import interpolate_batch
from braggworks.networks import PatchPhaseNetwork, PhaseNetwork, RspNetwork
from braggworks.phasing.objects import object_of
from braggworks.phasing.resampling import NetworkGrid
from braggworks.phasing.schedule import Pattern, Start
from braggworks.phasing.starts import scaled
from braggworks.phasing.stitching import stitch
from braggworks.training.checkpoints import load_network
from braggworks.training.normalisation import phase_values
from braggworks.training.turns import turned, turned_back

Float = NDArray[np.floating[Any]]
Complex = NDArray[np.complexfloating[Any, Any]]

_SMOOTH_PX = 1.5
_LEVEL = 0.12  # of the largest smoothed modulus; ER takes more away than it adds

SHIPPED = Path(str(files("braggworks"))) / "weights" / "rsp_cascade_3d" / "weights.safetensors"
"""Weights that come with the package; their card lies beside them."""


class Phaser:
    """A trained network that finds reciprocal-space phases.

    Parameters
    ----------
    network
        With its weights.
    size
        Voxels per axis of the patterns that it was trained on.
    device
        Where it computes.
    """

    def __init__(self, network: RspNetwork, size: int, device: str = "cpu") -> None:
        self.network, self.size, self._device = network.eval().to(device), size, device

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels of a pattern along each axis."""
        return (self.size,) * self.network.ndim

    @property
    def views(self) -> int:
        """In how many ways a pattern can be mirrored and its axes reordered: each gives another prediction."""
        ndim = self.network.ndim
        return int(2**ndim) * math.factorial(ndim)

    def phases(
        self, counts: NDArray[Any], view: int = 0, progress: Callable[[int], object] = lambda patterns: None
    ) -> NDArray[np.float32]:
        """Return the phases of patterns, one by one, so that none depends on its neighbours.

        Parameters
        ----------
        counts
            (patterns, z, y, x) counts, each pattern of `shape`.
        view
            How the network sees the patterns, below `views`; 0: as they are.
        progress
            Called with the number of patterns just done.

        Raises
        ------
        PhasingError
            If the network finds no number for some voxel.
        """
        found = np.empty(counts.shape, np.float32)
        for number, pattern in enumerate(counts):
            seen = turned(torch.from_numpy(np.ascontiguousarray(pattern, np.float32)), view)
            found[number] = turned_back(self._phase(seen.to(self._device)), view).cpu().numpy()
            progress(1)
        if not np.isfinite(found).all():
            raise PhasingError(
                "The network's phase is no number at some voxels: check the counts for NaN, or use other weights."
            )
        return found

    def _phase(self, counts: Tensor) -> Tensor:
        if isinstance(self.network, PatchPhaseNetwork):
            return stitch(self.network, counts)
        assert isinstance(self.network, PhaseNetwork)  # noqa: S101
        with torch.inference_mode():
            stages = self.network.phases_by_stage(phase_values(counts)[None, None], counts[None, None])
        return stages[-1, 0, 0]


def load_phaser(path: str | Path, device: str = "cpu") -> Phaser:
    """Read weights written by `braggworks train` for the task phase, to be used on a device.

    Raises
    ------
    FileError
        If the file is missing, damaged, foreign, or for another task.
    """
    network, weights = load_network(path, RspNetwork)
    return Phaser(network, weights.patch, device)


def support_of(found: Complex) -> NDArray[np.bool_]:
    """Return where an object may lie: the largest connected part above an eighth of the largest smoothed modulus."""
    smooth = gaussian_filter(np.abs(found).astype(np.float32), _SMOOTH_PX)
    parts, _ = label(smooth > _LEVEL * smooth.max())
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(binary_fill_holes(parts == sizes.argmax()))


def draw_rsp_start(pattern: Pattern, phaser: Phaser, grid: NetworkGrid, view: int, threshold: float) -> Start:
    """Return the network's object as the start of a refinement.

    Parameters
    ----------
    pattern
        What was measured; voxels that are masked, or kept out, are interpolated for the network.
    phaser
        The network.
    grid
        How the pattern comes to its grid.
    view
        How it sees the pattern.
    threshold
        Of the refinement's support.

    Raises
    ------
    PhasingError
        If the network finds no number for some voxel.
    """
    counts = grid.to_network(filled(pattern))
    found = grid.to_pattern(object_of(counts, phaser.phases(counts[None], view)[0])).astype(np.complex64)
    support = support_of(found)
    return Start(scaled(found * support, pattern), support, threshold)


def filled(pattern: Pattern) -> NDArray[np.float32]:
    """Return the counts with what was not measured, or is kept out, interpolated, linearly in log(1 + counts)."""
    hidden = pattern.mask | pattern.free
    if not hidden.any():
        return np.asarray(pattern.counts, np.float32)
    logs = interpolate_batch(np.log1p(pattern.counts, dtype=np.float32)[None], hidden[None], "linear")[0]
    return np.where(hidden, np.expm1(np.maximum(logs, 0)), pattern.counts).astype(np.float32)
