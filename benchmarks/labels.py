"""Gridded labels against atomistic patterns, over every shape and every material, relaxed by LAMMPS.

Particles of 20 000 to 30 000 atoms, the smallest of the published family: of every shape and material, relaxed freely,
with a smooth displacement added; and Winterbottom particles of every material whose interface was held under a
pre-strain of 1 %. In two views of each (rotation, oversampling 2 to 5, reflection), the inverse transform of the
NUFFT's amplitude is compared with the label.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import h5py
import numpy as np
import yaml

from braggworks.campaigns import Material, Shape
from braggworks.commands._scatter_files import read_crystal
from braggworks.diffraction.labels import complex_correlation, gridded_label, object_of, phase_agreement
from braggworks.diffraction.sampling import QGrid
from braggworks.records import Record

SEED = 0
VIEWS = 2
ATOMS = [20_000, 30_000]
GRID = 64
PROTOCOLS = {
    "field": {"protocol": "field", "displacement": [0.5, 3.0]},
    "clamped": {"protocol": "clamped", "prestrain": 0.01},
}


def measure() -> Iterator[Record]:
    """Yield the smallest correlation and phase agreement over all patterns."""
    found = []
    for strain in PROTOCOLS.values():
        with tempfile.TemporaryDirectory(dir=".", prefix=".labels-") as folder:
            for F, label, gradient in _patterns(Path(folder), strain):
                obj = object_of(F)
                found.append((complex_correlation(obj, label), phase_agreement(obj, label), gradient))
    correlation, agreement, gradient = np.array(found).T
    about = f"phase gradients up to {gradient.max():.1f} rad per voxel (rms)"
    for name, values in (("correlation", correlation), ("phase_agreement", agreement)):
        low, high = float(values.min()), float(values.max())
        yield Record(f"label.{name}.min", low, "1", low, high, n=len(values), seed=SEED, source=about)


def _patterns(folder: Path, strain: dict[str, object]) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    shapes = ("winterbottom",) if strain["protocol"] == "clamped" else get_args(Shape)
    materials = get_args(Material)
    count = len(shapes) * len(materials)
    campaign = folder / "labels.yaml"
    values = {
        "family": "atomistic",
        "seed": SEED,
        "count": count,
        "batch_size": count,
        "crystal": {"materials": list(materials), "shapes": list(shapes), "atoms": ATOMS},
        "relaxation": {"strain": strain},
        "diffraction": {
            "reflections": [[1, 1, 1], [2, 0, 0], [2, 2, 0], [3, 1, 1]],
            "grid": GRID,
            "oversampling": [2.0, 5.0],
            "patterns_per_particle": VIEWS,
        },
    }
    campaign.write_text(yaml.safe_dump(values))
    files = [str(folder / f"{stage}.h5") for stage in ("crystals", "relax", "scatter")]
    program = [".envs/develop/bin/braggworks"]
    for stage, before, after in zip(("crystals", "relax", "scatter"), (None, *files[:2]), files, strict=True):
        given = ["--batch", "0"] if before is None else ["--input", before, "--threads", "2"]
        subprocess.run([*program, stage, "--campaign", str(campaign), *given, "--output", after], check=True)
    with h5py.File(files[1]) as relaxed, h5py.File(files[2]) as patterns:
        for name in patterns:
            crystal, group = read_crystal(relaxed[name], name), patterns[name]
            for view in range(VIEWS):
                rotation = group["rotation"][view]
                grid = QGrid(GRID, float(group["dq"][view]), group["centre"][view])
                cell = crystal.cell @ rotation.T
                label = gridded_label(crystal.atoms @ rotation.T, grid, cell)
                yield group["amplitude"][view], label, float(group["gradient"][view])
