"""Relaxed crystals, campaigns and calls of `braggworks scatter` for its tests."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import yaml

from braggworks.cli import main
from braggworks.diffraction.laue import fcc_block
from braggworks.diffraction.sampling import random_rotation
from braggworks.files import create_h5

A = 4.08
ORIENTATION = random_rotation(np.random.default_rng(8))
DIFFRACTION = {"grid": 24, "oversampling": [2.2, 4.0], "patterns_per_particle": 2}
GRIDDING = {"bin_size": 4.0, "object_grid": 16, "grid": 32, "patterns_per_particle": 2}
EACH = (
    "amplitude",
    "rotation",
    "reflection",
    "ratio",
    "oversampling",
    "dq",
    "centre",
    "phase_range",
    "gradient",
    "strain",
)


def write_campaign(folder: Path, name: str = "tiny", family: str = "atomistic", **diffraction) -> Path:
    path = folder / f"{name}.yaml"
    values = {"family": family, "seed": 3, "count": 4, "batch_size": 2}
    values |= {"patches": {"size": 8}, "gaps": {"widths_px": [3]}}
    defaults = DIFFRACTION if family == "atomistic" else GRIDDING
    path.write_text(yaml.safe_dump({**values, "diffraction": defaults | diffraction}))
    return path


def write_relaxed(path: Path, cells=((5, 5, 5), (4, 5, 6)), strain=0.01, *, kind="relaxed", first=2, **header) -> Path:
    attributes = {"campaign": "tiny", "batch": 1, "recipe": "{}", "particles": len(cells)}
    attributes |= {"lineage": [{"stage": "crystals"}]} | header
    with create_h5(path, kind, **attributes) as file:
        for index, block in enumerate(cells, start=first):
            group = file.create_group(f"{index:07d}")
            group["positions"] = positions = fcc_block(block, A) @ ORIENTATION.T
            group["displacement"] = strain * positions + 20 * strain * np.sin(positions[:, ::-1] / 8)
            group.attrs.update(shape="cube", material="Au", lattice_constant=A, orientation=ORIENTATION)
    return path


def scatter(campaign: Path, source: Path, output: Path, *options: str) -> int:
    return main(["scatter", "--campaign", str(campaign), "--input", str(source), "--output", str(output), *options])


def contents(path: Path) -> dict[str, bytes]:
    """Return every dataset's bytes; times are attributes."""
    found: dict[str, bytes] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()].tobytes()} if hasattr(item, "dtype") else {}))
    return found


def replace(group: h5py.Group, key: str, values) -> None:
    del group[key]
    group[key] = values


def refused(folder: Path, capsys, arguments: list[str], *sentence: str) -> None:
    before = sorted(folder.iterdir())
    assert main(arguments) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith(f"braggworks {arguments[0]}: ")
    assert told.endswith((".", "?"))
    for part in sentence:
        assert part in told
    assert sorted(folder.iterdir()) == before


def arguments_for(campaign: Path, source: Path) -> list[str]:
    output = str(source.parent / "patterns.h5")
    return ["scatter", "--campaign", str(campaign), "--input", str(source), "--output", output]
