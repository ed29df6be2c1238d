"""Patterns, and gaps that are slabs, for tests of the plane network and of its training on a scan."""

import hashlib

import numpy as np

from braggworks.config import NetworkConfig

SMALL = NetworkConfig(name="plane_network", width=0.1)


def pattern(shape, seed=0):
    z, y, x = np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij")
    rng = np.random.default_rng(seed)
    phases = rng.uniform(0, 6, 3)
    fringes = np.cos(x / 1.7 + phases[0]) * np.cos(y / 2.1 + phases[1]) * np.cos(z / 1.9 + phases[2]) + 1.2
    return 2000 * fringes * np.exp(-np.sqrt(x**2 + y**2 + z**2) / 12)


def slab(shape, axis, start, width):
    mask = np.zeros(shape, bool)
    np.moveaxis(mask, axis, 0)[start : start + width] = True
    return mask


def digest(found):
    return hashlib.sha256(b"".join(t.numpy().tobytes() for batch in found for t in batch)).hexdigest()
