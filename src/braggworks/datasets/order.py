"""The order in which training sees its samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from braggworks.seeds import generator

#: Samples that lie beside each other in a shard and enter the buffer together.
BLOCK = 64
#: Samples that are shuffled with each other.
BUFFER = 4096


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


def bounded_order(n: int, seed: int, epoch: int, block: int = BLOCK, buffer: int = BUFFER) -> NDArray[np.int64]:
    """Return a permutation of n samples that reads a large dataset in pieces; the same for the same arguments.

    Blocks of consecutive samples are put in random order; the sequence is then cut into buffers, and the samples of
    each are shuffled. So each buffer touches at most ``ceil(buffer / block) + 2`` blocks, whatever the size of the
    dataset, and a disk or a file system's cache sees few places at a time.

    Parameters
    ----------
    n
        Number of samples.
    seed
        The training's seed.
    epoch
        Number of the epoch, from 0.
    block
        Samples in a block; the last one may be smaller.
    buffer
        Samples in a buffer; the last one may be smaller.

    Returns
    -------
    numpy.ndarray
        (n,) int64, every sample exactly once.
    """
    if block < 1 or buffer < 1:
        raise ValueError(f"a block of {block} and a buffer of {buffer} samples hold nothing: use 1 or more")
    rng = generator("bounded order", seed, epoch)
    starts = rng.permutation(-(-n // block)) * block
    order = (starts[:, None] + np.arange(block)).ravel()
    order = order[order < n]
    for first in range(0, n, buffer):
        rng.shuffle(order[first : first + buffer])
    return order
