"""Readers of relaxed particles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import h5py
import numpy as np

from braggworks.commands._figure_inputs._common import SHAPES, reading
from braggworks.errors import FileError
from braggworks.figures.crystal import MOST, Crystal
from braggworks.files import open_h5

# The reflection along which displacements are shown; relaxed crystals do not know which one is measured later.
_REFLECTION = (1, 1, 1)
_PROTOCOLS = {
    "free": "free",
    "clamped": "clamped interface",
    "stopped": "stopped minimisation",
    "field": "with a field",
}


@dataclass(frozen=True)
class _Found:
    """A particle of a file: what a choice goes by, and where it lies."""

    atoms: int
    shape: str
    protocol: str
    path: str
    name: str


def read_crystals(*paths: str) -> list[Crystal]:
    """Return up to three particles: the largest of each strain protocol, then of other shapes. Raises `FileError`."""
    return [_read(found) for found in _choose(_find(paths))]


def read_displaced(*paths: str) -> Crystal:
    """Return the largest Winterbottom particle, else the largest particle. Raises `FileError`."""
    return _read(min(_find(paths), key=lambda found: (found.shape != "winterbottom", -found.atoms)))


def _find(paths: Sequence[str]) -> list[_Found]:
    """Return all particles, the largest first."""
    found = []
    for path in paths:
        with open_h5(path, "relaxed") as file, reading(path):
            for name in sorted(file):
                group = file[name]
                found.append(_Found(len(group["positions"]), str(group.attrs["shape"]), _protocol(group), path, name))
    if not found:
        raise FileError(f"{paths[0]} holds no particle: run `braggworks relax` again.")
    return sorted(found, key=lambda item: (-item.atoms, item.path, item.name))


def _protocol(group: h5py.Group) -> str:
    return str(json.loads(group.attrs["strain_asked"])["protocol"])


def _choose(largest_first: list[_Found]) -> list[_Found]:
    chosen: list[_Found] = []
    for item in largest_first:
        if item.protocol not in {other.protocol for other in chosen}:
            chosen.append(item)
    for item in largest_first:
        if item.shape not in {other.shape for other in chosen}:
            chosen.append(item)
    order = list(_PROTOCOLS)
    # Stable, so that other shapes of a protocol follow its largest particle.
    return sorted(chosen[:MOST], key=lambda item: order.index(item.protocol) if item.protocol in order else len(order))


def _read(found: _Found) -> Crystal:
    with open_h5(found.path, "relaxed") as file, reading(found.path):
        group = file[found.name]
        positions, displacement = group["positions"][()], group["displacement"][()]
        if positions.shape != displacement.shape or positions.ndim != 2 or positions.shape[1:] != (3,):
            raise ValueError(f"positions of shape {positions.shape} and displacement of shape {displacement.shape}")
        direction = np.asarray(group.attrs["orientation"]) @ np.array(_REFLECTION, dtype=np.float64)
        shape = SHAPES.get(found.shape, found.shape)
        return Crystal(
            f"{group.attrs['material']}, {shape}\n{_PROTOCOLS.get(found.protocol, found.protocol)}",
            positions,
            displacement,
            direction / np.linalg.norm(direction),
            float(group.attrs["lattice_constant"]),
        )
