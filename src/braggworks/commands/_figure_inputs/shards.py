"""Readers of shards: sheets of samples, and what the columns span."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import h5py
import hdf5plugin  # noqa: F401 - registers the compression of samples
import numpy as np
from numpy.typing import NDArray

from braggworks.campaigns import GapShape
from braggworks.commands._figure_inputs._common import reading
from braggworks.datasets.counts import LOW, Counts
from braggworks.figures.distributions import Spread
from braggworks.figures.gallery import COLUMNS, PHASE_ROWS, ROWS, Sample, Sheet
from braggworks.figures.style import power_text
from braggworks.files import open_h5, read_json
from braggworks.seeds import generator

GAP_SHAPES: tuple[str, ...] = get_args(GapShape)
NO_GAP = 255
# A phase is stored as a signed 16-bit part of half a turn.
_PHASE_UNIT = np.pi / 32768
_PER_PATTERN = ("particle", "pattern", "oversampling", "total_counts", "phase_range", "gradient")


def recipe_of(file: h5py.File) -> dict[str, Any]:
    """Return the recipe of an open shard. Raises `ValueError` or `KeyError` where there is none."""
    text = file.attrs["recipe"]
    recipe = json.loads(text)
    if not isinstance(recipe, dict):
        raise ValueError("recipe is no JSON object")
    return recipe


def columns_of(file: h5py.File, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Return columns of an open shard, one entry per sample. Raises `ValueError` where they do not fit together."""
    columns = {name: file[name][()] for name in names}
    if len({len(column) for column in columns.values()}) != 1 or not len(columns[names[0]]):
        raise ValueError("no samples, or columns of different lengths")
    return columns


def gap_label(shape: int, width: int) -> str:
    """Return what a gap is in words; an empty string for none."""
    if shape == NO_GAP:
        return ""
    return f"{GAP_SHAPES[shape]}, {width} px" if width > 0 else GAP_SHAPES[shape]


# --- a sheet of samples ---


def read_gallery(path: str) -> Sheet:
    """Return samples of a shard that look random and are the same each time. Raises `FileError`."""
    with open_h5(path, "shard") as file, reading(path):
        recipe = recipe_of(file)
        names = (*_PER_PATTERN, "corner", "gap_shape", "gap_width")
        columns = columns_of(file, names)
        whole = _is_whole(recipe, columns["corner"])
        phased = recipe["task"] == "phase"
        wanted = PHASE_ROWS * (1 if whole else 2) if phased else COLUMNS * ROWS
        rows = choose_rows(columns["particle"], columns["gap_shape"], wanted, str(recipe["campaign"]))
        samples = [_sample(file, columns, int(row), phased) for row in rows]
        shape = " × ".join(map(str, file[LOW].shape[1:]))
        title = (
            f"{recipe['campaign']} (family {recipe['family']}, task {recipe['task']}): "
            f"{len(samples)} of the {len(columns['particle'])} samples of one batch, {shape}"
        )
        return Sheet(title, samples, whole)


def choose_rows(
    particles: NDArray[np.integer], shapes: NDArray[np.integer], wanted: int, campaign: str
) -> NDArray[np.int64]:
    """Return rows of different particles and gap shapes, as far as there are any, in an order that looks random.

    Parameters
    ----------
    particles, shapes
        Particle and gap shape of each sample, shape (samples,).
    wanted
        Number of rows at most.
    campaign
        Decides the order.
    """
    order = generator(campaign, "gallery").permutation(len(particles))
    groups = [np.unique(column[order], return_inverse=True)[1] for column in (particles, shapes)]
    used = [np.zeros(int(group.max()) + 1) for group in groups]
    free = np.ones(len(order), dtype=bool)
    chosen = []
    for _ in range(min(wanted, len(order))):
        price = np.where(free, sum(count[group] for count, group in zip(used, groups, strict=True)), np.inf)
        place = int(np.argmin(price))
        chosen.append(order[place])
        free[place] = False
        for count, group in zip(used, groups, strict=True):
            count[group[place]] += 1
    return np.array(chosen, dtype=np.int64)


def _is_whole(recipe: dict[str, Any], corners: NDArray[np.integer]) -> bool:
    """Return whether the samples are whole patterns."""
    grid = recipe.get("sampling", {}).get("grid")
    return bool(grid == recipe["patches"]["size"] if grid else not corners.any())


def _sample(file: h5py.File, columns: dict[str, NDArray[Any]], row: int, phased: bool) -> Sample:
    lines = [f"particle {int(columns['particle'][row])}"]
    lines.append(gap_label(int(columns["gap_shape"][row]), int(columns["gap_width"][row])))
    measured = np.atleast_1d(columns["oversampling"][row])
    if measured.min() > 0:
        low, high = f"{measured.min():.1f}", f"{measured.max():.1f}"
        lines.append(f"oversampling {low}" + (f"–{high}" if high != low else ""))
    lines.append(f"{power_text(float(columns['total_counts'][row]))} photons")
    if measured.min() > 0:
        lines.append(f"phase range {columns['phase_range'][row]:.2g} rad")
    mask = file["mask"][row].astype(bool) if "mask" in file else None
    phase = file["phase"][row].astype(np.float64) * _PHASE_UNIT if phased else None
    return Sample(Counts(file)[row], mask, phase, tuple(line for line in lines if line))


# --- what the columns span ---


def read_distributions(*paths: str) -> list[Spread]:
    """Return what the patterns of each campaign span, campaigns in the order of the files. Raises `FileError`."""
    parts: dict[str, list[dict[str, NDArray[np.float64]]]] = {}
    families: dict[str, str] = {}
    for path in paths:
        with open_h5(path, "shard") as file, reading(path):
            recipe = recipe_of(file)
            campaign = str(recipe["campaign"])
            families[campaign] = str(recipe["family"])
            parts.setdefault(campaign, []).append(_pattern_values(file, recipe, path))
    spreads = []
    for campaign, found in parts.items():
        values = {name: np.concatenate([part[name] for part in found if name in part]) for name in found[0]}
        patterns = len(values.pop("pattern"))
        spreads.append(Spread(campaign, families[campaign], patterns, values))
    return spreads


def _pattern_values(file: h5py.File, recipe: dict[str, Any], path: str) -> dict[str, NDArray[np.float64]]:
    """Return the values of one shard, once per pattern however many samples it has."""
    extra = tuple(name for name in ("atoms", "strain") if name in file)
    columns = columns_of(file, (*_PER_PATTERN, *extra))
    identity = np.stack([columns["particle"], columns["pattern"]], axis=1)
    first = np.unique(identity, axis=0, return_index=True)[1]
    values = {name: column[first].astype(np.float64) for name, column in columns.items()}
    kept = {"pattern": values["pattern"], "total_counts": values["total_counts"]}
    if recipe["family"] == "scan":  # nothing is known of the particle
        return kept
    measured = values["oversampling"].reshape(len(first), -1)
    kept |= {"oversampling": measured.ravel(), "phase_range": values["phase_range"], "gradient": values["gradient"]}
    grid = _grid(file, recipe, path)
    if grid:
        kept["size"] = grid / measured.min(axis=1)
    if "atoms" in values:
        kept["atoms"] = values["atoms"]
    if "strain" in values:
        kept["strain"] = 100 * values["strain"]
    if not all(np.isfinite(part).all() for part in kept.values()):
        raise ValueError("a column holds values that are not finite")
    return kept


def _grid(file: h5py.File, recipe: dict[str, Any], path: str) -> int | None:
    """Return the voxels per axis of the patterns: by the recipe, the shard's sidecar, or whole patterns."""
    if "sampling" in recipe:
        return int(recipe["sampling"]["grid"])
    sidecar = Path(path).with_suffix(".json")
    if sidecar.is_file():
        for entry in read_json(sidecar).get("provenance", []):
            if "grid" in entry["recipe"].get("diffraction", {}):
                return int(entry["recipe"]["diffraction"]["grid"])
    return None if file["corner"][()].any() else int(file[LOW].shape[-1])
