"""Objects from the reciprocal-space phase that a trained network predicts.

Counts and phases are (z, y, x) or (y, x) with the peak at voxel n // 2, objects have their centre there.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from braggworks.errors import PhasingError
from braggworks.networks import PhaseNetwork
from braggworks.training.checkpoints import load_network
from braggworks.training.normalisation import phase_values

Float = NDArray[np.floating[Any]]
Complex = NDArray[np.complexfloating[Any, Any]]

SHIPPED = Path(str(files("braggworks"))) / "weights" / "block_rsp_unet_3d" / "weights.safetensors"
"""Weights that come with the package; their card lies beside them."""


class Phaser:
    """A trained network that finds reciprocal-space phases.

    Parameters
    ----------
    network
        With its weights.
    size
        Voxels per axis of the patterns that it was trained on.
    """

    def __init__(self, network: PhaseNetwork, size: int) -> None:
        self._network, self.size = network.eval(), size

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels of a pattern along each axis."""
        return (self.size,) * self._network.ndim

    def phases(
        self, counts: NDArray[Any], progress: Callable[[int], object] = lambda patterns: None
    ) -> NDArray[np.float32]:
        """Return the phases of patterns, one by one, so that none depends on its neighbours.

        Parameters
        ----------
        counts
            (patterns, z, y, x) counts, each pattern of `shape`.
        progress
            Called with the number of patterns just done.

        Raises
        ------
        PhasingError
            If the network finds no number for some voxel.
        """
        found = np.empty(counts.shape, np.float32)
        for number, pattern in enumerate(counts):
            values = phase_values(torch.from_numpy(np.ascontiguousarray(pattern, np.float32)))
            with torch.inference_mode():
                found[number] = self._network(values[None, None])[0, 0].numpy()
            progress(1)
        if not np.isfinite(found).all():
            raise PhasingError(
                "The network's phase is no number at some voxels: check the counts for NaN, or use other weights."
            )
        return found


def load_phaser(path: str | Path) -> Phaser:
    """Read weights written by `braggworks train` for the task phase.

    Raises
    ------
    FileError
        If the file is missing, damaged, foreign, or for another task.
    """
    network, weights = load_network(path, PhaseNetwork)  # type: ignore[type-abstract]
    return Phaser(network, weights.patch)


def object_of(counts: NDArray[Any], phase: Float) -> NDArray[np.complex64]:
    """Return the object of measured moduli and a phase, of the scale of the counts (Masto's thesis, equation 4.1)."""
    wave = np.sqrt(np.asarray(counts, np.float32)) * np.exp(1j * np.asarray(phase, np.float32))
    found = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(wave), norm="ortho"))
    return found.astype(np.complex64)


def phase_of(found: Complex) -> NDArray[np.float32]:
    """Return the reciprocal-space phase of an object: the inverse of `object_of`."""
    wave = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(found), norm="ortho"))
    return np.asarray(np.angle(wave), np.float32)
