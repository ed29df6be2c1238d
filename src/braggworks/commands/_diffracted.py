"""Particles of a batch's patterns, with what turns phases into strain."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import h5py

    from braggworks.evaluation.gap_artefacts import Diffracted


def first_patterns(file: h5py.File, most: int) -> list[tuple[h5py.Group, int]]:
    """Return the first patterns of a file, each as its particle's group and its number there."""
    return [(file[name], k) for name in sorted(file) for k in range(len(file[name]["amplitude"]))][:most]


def read_diffracted(path: str, most: int) -> list[Diffracted]:
    """Return the first particles of a file of patterns. Raises `FileError`."""
    import numpy as np

    from braggworks.evaluation.gap_artefacts import Diffracted
    from braggworks.files import open_h5

    found = []
    with open_h5(path, "patterns") as file:
        for group, k in first_patterns(file, most):
            amplitude = group["amplitude"][k]
            g = float(np.linalg.norm(group["reflection"][k]) / group.attrs["lattice_constant"])
            found.append(Diffracted(amplitude, g, 1 / (len(amplitude) * float(group["dq"][k]))))
    return found
