"""The order in which training sees its samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from braggworks.seeds import generator


def epoch_order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the permutation of n samples for one epoch; the same for the same arguments, on any machine.

    Parameters
    ----------
    n
        Number of samples.
    seed
        The training's seed.
    epoch
        Number of the epoch, from 0.
    """
    return generator("order", seed, epoch).permutation(n)
