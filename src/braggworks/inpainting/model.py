"""Trained networks that fill gaps in counts, whatever their kind."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from braggworks.inpainting.patch_inpainter import PatchInpainter
from braggworks.inpainting.slab_inpainter import SlabInpainter
from braggworks.inpainting.whole_scan import Inpainted, Progress
from braggworks.networks import GapNetwork
from braggworks.networks.plane_network import PlaneNetwork
from braggworks.training.checkpoints import load_network

Bool = NDArray[np.bool_]

DEFAULT_STRIDE_PX = 8

SHIPPED = Path(str(files("braggworks"))) / "weights" / "plane_network" / "weights.safetensors"
"""Weights of the plane network that come with the package; their card lies beside them."""


class Inpainter(Protocol):
    """What fills gaps."""

    @property
    def unit(self) -> str:
        """What `steps` counts: window or slab."""

    @property
    def patch(self) -> int | None:
        """Voxels per axis of the patches that it fills; None for any."""

    @property
    def widths_px(self) -> tuple[int, int]:
        """Narrowest and widest gap that it was trained on, in pixels."""

    def fill(self, counts: NDArray[np.float32], mask: Bool) -> NDArray[np.float32]:
        """Return patches (patches, z, y, x) with their gaps filled; what lies under the mask is not looked at."""

    def steps(self, mask: Bool) -> int:
        """Return how much work a scan with this mask is. Raises `ScanError` if it cannot be done."""

    def fill_scan(self, counts: NDArray[Any], mask: Bool, progress: Progress = lambda steps: None) -> Inpainted:
        """Fill the gaps of a scan.

        Parameters
        ----------
        counts
            (z, y, x) counts; what lies under the mask is not looked at.
        mask
            (z, y, x), true where nothing was measured.
        progress
            Called with the number of steps just done.

        Raises
        ------
        ScanError
            If it cannot be done, or everything is masked.
        """


def load_inpainter(path: str | Path, stride_px: int = DEFAULT_STRIDE_PX) -> Inpainter:
    """Read weights written by `braggworks train`.

    Parameters
    ----------
    path
        Safetensors file.
    stride_px
        Step between windows, for a network that fills patches.

    Raises
    ------
    FileError
        If the file is missing, damaged or foreign.
    """
    network, weights = load_network(path, GapNetwork)
    assert weights.widths_px  # noqa: S101
    if isinstance(network, PlaneNetwork):
        return SlabInpainter(network, weights.widths_px)
    return PatchInpainter(network, weights.patch, weights.widths_px, stride_px)
