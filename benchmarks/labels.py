"""Gridded labels against atomistic patterns, over every shape and every material, relaxed by LAMMPS.

Particles of 20 000 to 30 000 atoms, the smallest of the published family: of every shape and material, relaxed freely,
with a smooth displacement added; and Winterbottom particles of every material whose interface was held under a
pre-strain of 1 %. In two views of each (rotation, oversampling 2 to 5, reflection), the inverse transform of the
NUFFT's amplitude is compared with the label: as it is, and with the window that takes away the ringing of the sharp
edge. Patterns whose phase ranges over more than the published 5 pi reach past the measured cube, and are counted apart.
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
STEEP = 5 * np.pi
PROTOCOLS = {
    "field": {"protocol": "field", "displacement": [0.5, 2.0]},
    "clamped": {"protocol": "clamped", "prestrain": 0.01},
}


def measure() -> Iterator[Record]:
    """Yield the smallest correlation and phase agreement over all patterns."""
    scores: dict[str, list[tuple[float, float]]] = {"": [], ".windowed": [], ".steep": []}
    for strain in PROTOCOLS.values():
        with tempfile.TemporaryDirectory(dir=".", prefix=".labels-") as folder:
            for F, label, phase_range in _patterns(Path(folder), strain):
                plain, smooth = object_of(F), object_of(F, window=True)
                steep = phase_range > STEEP
                scores[".steep" if steep else ""].append(_agreement(plain, label))
                if not steep:
                    scores[".windowed"].append(_agreement(smooth, label))
    about = {"": "up to 5 pi", ".windowed": "up to 5 pi, sinc^2 window", ".steep": "beyond 5 pi"}
    for suffix, found in scores.items():
        for name, values in zip(("correlation", "phase_agreement"), np.array(found).T, strict=False):
            low, high = float(values.min()), float(values.max())
            source = about[suffix]
            yield Record(f"label.{name}.min{suffix}", low, "1", low, high, n=len(values), seed=SEED, source=source)


def _agreement(obj: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    return complex_correlation(obj, label), phase_agreement(obj, label)


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
                yield group["amplitude"][view], label, float(group["phase_range"][view])
