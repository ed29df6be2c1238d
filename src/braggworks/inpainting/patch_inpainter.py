"""Filling gaps by a network that knows patches: windows walk along each slab, and their predictions are averaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from braggworks.errors import ScanError
from braggworks.inpainting.slabs import find_slabs
from braggworks.inpainting.whole_scan import Inpainted, Progress, check_slabs, fill_scan, window_count
from braggworks.networks import GapNetwork
from braggworks.training.normalisation import Bool, Float32, denormalise, network_values, normalise


class PatchInpainter:
    """A network that fills patches, with what it needs to work on counts.

    Parameters
    ----------
    network
        Trained network.
    patch
        Voxels per axis of the patches that it was trained on.
    widths_px
        Narrowest and widest gap that it was trained on, in pixels.
    stride
        Step between the windows of a scan, in voxels.
    """

    unit = "window"
    ndim = 3

    def __init__(self, network: GapNetwork, patch: int, widths_px: tuple[int, int], stride: int = 8) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device).eval()
        self.patch, self.widths_px, self.stride = patch, widths_px, stride
        self.ndim = network.ndim

    def fill(self, counts: Float32, mask: Bool, batch: int = 32) -> Float32:
        """Fill gaps.

        Parameters
        ----------
        counts
            Patches of shape (patches, `patch`, `patch`, `patch`) in counts; what lies in the gaps is not looked at. For
            a 2-D network any number of planes, (patches, z, `patch`, `patch`).
        mask
            True in the gaps; the same shape.
        batch
            Patches per pass through the network.

        Returns
        -------
        ndarray
            Patches in counts, float32: measured voxels as given, gaps as predicted, at least 0.
        """
        if counts.shape != mask.shape or counts.shape[-self.ndim :] != (self.patch,) * self.ndim:
            raise ScanError(
                f"Counts {counts.shape} and mask {mask.shape} are no patches of {self.patch} px in {self.ndim} axes: "
                "use weights that were trained on patches of this size."
            )
        filled = np.array(counts, dtype=np.float32)
        gap = np.asarray(mask, dtype=bool)
        for start in range(0, len(filled), batch):
            part = slice(start, start + batch)
            predicted = self._predict(np.where(gap[part], np.float32(0), filled[part]), gap[part])
            np.copyto(filled[part], predicted, where=gap[part])
        return filled

    def steps(self, mask: Bool) -> int:
        """Return how many windows a scan with this mask takes; see `braggworks.inpainting.model.Inpainter`."""
        if self.ndim != 3:
            raise ScanError("These weights fill patterns of two dimensions, and a scan has three: use others.")
        slabs = find_slabs(mask)
        check_slabs(mask.shape, slabs, self.patch)
        return window_count(mask.shape, slabs, self.patch, self.stride)

    def fill_scan(self, counts: NDArray[Any], mask: Bool, progress: Progress = lambda windows: None) -> Inpainted:
        """Fill the gaps of a scan; see `braggworks.inpainting.model.Inpainter`."""
        return fill_scan(counts, mask, self.fill, patch=self.patch, stride=self.stride, progress=progress)

    def _predict(self, counts: Float32, mask: Bool) -> Float32:
        scaled, scale = normalise(counts, mask)
        values = torch.from_numpy(network_values(scaled, mask, prior=self.network.uses_prior))
        with torch.inference_mode():
            output = self.network.fill(
                values[:, None].to(self.device), torch.from_numpy(mask)[:, None].to(self.device).float()
            )
        return denormalise(output[:, 0].cpu().numpy(), scale)
