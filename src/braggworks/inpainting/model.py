"""A trained network that fills gaps in counts."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import torch

from braggworks.networks import Network
from braggworks.training.checkpoints import load_network
from braggworks.training.normalisation import Bool, Float32, denormalise, network_values, normalise


class Inpainter:
    """A network with what it needs to work on counts.

    Parameters
    ----------
    network
        Trained network.
    patch
        Voxels per axis of the patches that it was trained on.
    """

    def __init__(self, network: Network, patch: int) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device).eval()
        self.patch = patch

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read weights written by `braggworks train`. Raises `FileError` if they are missing, damaged or foreign."""
        network, weights = load_network(path)
        return cls(network, weights.patch)

    def fill(self, counts: Float32, mask: Bool, batch: int = 32) -> Float32:
        """Fill gaps.

        Parameters
        ----------
        counts
            Patches of shape (patches, `patch`, `patch`, `patch`) in counts; what lies in the gaps is not looked at.
        mask
            True in the gaps; the same shape.
        batch
            Patches per pass through the network.

        Returns
        -------
        ndarray
            Patches in counts, float32: measured voxels as given, gaps as predicted, at least 0.
        """
        if counts.shape != mask.shape or counts.shape[1:] != (self.patch,) * 3:
            raise ValueError(
                f"counts {counts.shape} and mask {mask.shape} must be patches of {self.patch} voxels per axis"
            )
        filled = np.array(counts, dtype=np.float32)
        gap = np.asarray(mask, dtype=bool)
        for start in range(0, len(filled), batch):
            part = slice(start, start + batch)
            predicted = self._predict(np.where(gap[part], np.float32(0), filled[part]), gap[part])
            np.copyto(filled[part], predicted, where=gap[part])
        return filled

    def _predict(self, counts: Float32, mask: Bool) -> Float32:
        scaled, scale = normalise(counts, mask)
        values = torch.from_numpy(network_values(scaled, mask, prior=self.network.uses_prior))
        with torch.inference_mode():
            output = self.network(
                values[:, None].to(self.device), torch.from_numpy(mask)[:, None].to(self.device).float()
            )
        return denormalise(output[:, 0].cpu().numpy(), scale)
