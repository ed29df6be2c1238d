"""Random numbers from identities: what a particle draws depends on who it is, never on the order of the work."""

from __future__ import annotations

import hashlib
from operator import index

import numpy as np


def identity_digest(*identity: str | int) -> int:
    """Return a 128-bit integer made from the parts of an identity.

    Parameters
    ----------
    *identity
        What names the thing, for example ``("demo-free", 7, 12, "detector")``: campaign, seed, particle, purpose.
    """
    # numpy's strings and integers must name the same thing as Python's.
    text = "\x1f".join(f"str:{part}" if isinstance(part, str) else f"int:{index(part)}" for part in identity)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def generator(*identity: str | int) -> np.random.Generator:
    """Return the random generator (PCG64) that belongs to an identity; see `identity_digest`."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(identity_digest(*identity))))


def unit_interval(*identity: str | int) -> float:
    """Return a number in [0, 1) that belongs to an identity; used to put particles into splits."""
    return identity_digest(*identity) / 2.0**128
