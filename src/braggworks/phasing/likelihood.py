"""The unbiased figure of merit of phase retrieval, and the voxels that are kept out for it.

Favre-Nicolin et al., Sci. Rep. 10, 2664 (2020), 10.1038/s41598-020-57561-2. Arrays are (z, y, x) or (y, x), with the
peak near voxel n // 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]
Float = NDArray[np.floating[Any]]

FREE_SHARE = 0.02
_RADIUS_PX = 3
_CENTRE = 0.05
_LEAST = 0.1


def free_voxels(shape: tuple[int, ...], mask: Bool, rng: np.random.Generator, share: float = FREE_SHARE) -> Bool:
    """Draw the voxels to keep out: balls, because neighbours say the same, outside the centre and the mask.

    Parameters
    ----------
    shape
        Of the pattern.
    mask
        True where nothing was measured.
    rng
        Draws their places.
    share
        Of all voxels, about.
    """
    offsets = np.indices((2 * _RADIUS_PX + 1,) * len(shape)).reshape(len(shape), -1).T - _RADIUS_PX
    ball = offsets[(offsets**2).sum(axis=1) <= _RADIUS_PX**2]
    number = round(share * np.prod(shape) / len(ball))
    room = np.array(shape) - 2 * _RADIUS_PX
    centres = rng.integers(_RADIUS_PX, _RADIUS_PX + np.maximum(room, 1), (number, len(shape)))
    reach = _CENTRE * np.array(shape) + _RADIUS_PX
    away = (((centres - np.array(shape) // 2) / reach) ** 2).sum(axis=1) > 1
    places = (centres[away][:, None] + ball).reshape(-1, len(shape)).T
    found = np.zeros(shape, bool)
    found[tuple(places % np.array(shape)[:, None])] = True
    return np.asarray(found & ~mask)


def poisson_llk(counts: Float, expected: Float) -> NDArray[np.float64]:
    """Return the Poisson deviance voxel by voxel, whose mean is about 1 for the true object and many counts.

    It is 2 (m - n + n log(n / m)) for n counts where m are expected. This is the convention of PyNX's CPU backend,
    with its floor: where less than 0.1 is expected, 0.1 is added in the logarithm.

    Parameters
    ----------
    counts, expected
        Of the same shape, at least 0.
    """
    counts, expected = np.asarray(counts, np.float64), np.asarray(expected, np.float64)
    floored = np.where(expected < _LEAST, expected + _LEAST, expected)
    ratio = np.divide(counts, floored, out=np.ones_like(floored), where=counts > 0)
    return np.asarray(2 * (expected - counts + counts * np.log(ratio)))


def judge(counts: Float, mask: Bool, free: Bool, expected: Float, inside: int) -> tuple[float, float]:
    """Return the log-likelihood of the counts that took part and of those kept out, each per degree of freedom.

    Parameters
    ----------
    counts, expected
        Measured and calculated intensity.
    mask, free
        True where nothing was measured, and where counts were kept out.
    inside
        Voxels in the support, which are fitted.
    """
    deviance = poisson_llk(counts, expected)
    used = ~(mask | free)
    number = int(free.sum())
    return (
        float(deviance[used].sum() / max(int(used.sum()) - inside, 1)),
        float(deviance[free].sum() / number) if number else float("nan"),
    )
