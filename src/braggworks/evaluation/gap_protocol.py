"""The published way to cut patches for scoring, and the smooth continuation that networks must beat."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from braggworks.inpainting.continuation import KNOWN_PLANES, continue_planes
from braggworks.inpainting.slabs import find_slabs


def draw_patches(pattern: NDArray[Any], count: int, size: int, rng: np.random.Generator) -> NDArray[Any]:
    """Return cubes from anywhere in a pattern.

    Parameters
    ----------
    pattern
        (z, y, x) counts or intensities; further axes are kept.
    count
        How many; they may overlap.
    size
        Voxels per axis.
    rng
        Source of random numbers.

    Returns
    -------
    ndarray
        (count, size, size, size, ...).
    """
    starts = rng.integers(0, np.array(pattern.shape[:3]) - size, (count, 3), endpoint=True)
    return np.stack([pattern[tuple(slice(n, n + size) for n in start)] for start in starts])


def smooth(counts: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.floating[Any]]:
    """Fill slabs, the same in all patches, by the biharmonic continuation of log(1 + counts).

    Parameters
    ----------
    counts, mask
        (batch, z, y, x) counts, and true in the gap.
    """
    filled = np.log1p(counts)
    for slab in find_slabs(mask[0]):
        start, stop = slab.start, slab.start + slab.width
        view = np.moveaxis(filled, slab.axis + 1, 1)
        planes = torch.from_numpy(view.copy())
        before, after = planes[:, start - KNOWN_PLANES : start], planes[:, stop : stop + KNOWN_PLANES]
        view[:, start:stop] = continue_planes(before, after, slab.width).numpy()
    return np.where(mask, np.expm1(np.maximum(filled, 0)), counts)
