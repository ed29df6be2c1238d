"""Reader of the patches of one pattern, with their gaps, and filled by a network."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from braggworks.commands._figure_inputs._common import reading
from braggworks.commands._figure_inputs.patterns import pattern_of
from braggworks.commands._figure_inputs.results import read_examples
from braggworks.commands._figure_inputs.shards import columns_of, gap_label, recipe_of
from braggworks.datasets.counts import Counts
from braggworks.figures.patch import Examples
from braggworks.figures.patches import MOST, Cut, CutPattern
from braggworks.files import open_h5

_COLUMNS = ("particle", "pattern", "corner", "gap_shape", "gap_width")


def read_cut_patches(patterns: str, shard: str, examples: str | None = None) -> CutPattern:
    """Return a pattern of a file, samples of it, and samples filled by a network. Raises `FileError`.

    Parameters
    ----------
    patterns, shard
        Patterns of one batch, and the samples that were cut from them.
    examples
        Held-out patches with their fillings. Where some of them were cut from the batch, these are shown; else
        they stand beside the batch's own samples.
    """
    given = read_examples(examples) if examples else None
    with open_h5(shard, "shard") as file, reading(shard):
        if recipe_of(file)["task"] != "inpaint":
            raise ValueError("samples of the task phase, which have no gap")
        columns = columns_of(file, _COLUMNS)
        matches = _match(file, given) if given else {}
        number = _choose_pattern(columns, list(matches))
        here = np.flatnonzero((columns["particle"] == number[0]) & (columns["pattern"] == number[1]))
        filled = [_filled_cut(file, columns, row, given, k) for row, k in matches.items() if row in here and given]
        cuts = filled or [_cut(file, columns, int(row)) for row in _varied(columns["gap_shape"][here], here)]
    if not filled and given:
        filled = [_held_out(given, k) for k in range(min(len(given.truth), MOST))]
    with open_h5(patterns, "patterns") as file, reading(patterns):
        pattern = pattern_of(file, f"{number[0]:07d}", number[1])
    return CutPattern(pattern, cuts[:MOST], filled[:MOST])


def _match(file: h5py.File, examples: Examples) -> dict[int, int]:
    """Return the rows of a shard that examples were made of, with the examples' positions."""
    counts = Counts(file)
    if counts.shape[1:] != examples.truth.shape[1:]:
        return {}
    sums = examples.truth.sum(axis=(1, 2, 3), dtype=np.float64)
    found: dict[int, int] = {}
    for row in range(len(counts)):
        sample = counts[row]
        # The sum decides nearly always, without a comparison of all voxels.
        for k in np.flatnonzero(np.isclose(sums, float(sample.sum(dtype=np.float64)), rtol=1e-6)):
            if np.array_equal(sample.astype(np.float32), examples.truth[k]):
                found[row] = int(k)
    return found


def _choose_pattern(columns: dict[str, NDArray[Any]], rows: list[int]) -> tuple[int, int]:
    """Return particle and pattern with most of the rows, or with most shapes of gap where none are given."""
    identity = np.stack([columns["particle"], columns["pattern"]], axis=1)
    patterns, member = np.unique(identity, axis=0, return_inverse=True)
    member = member.reshape(-1)
    if rows:
        score = np.bincount(member[rows], minlength=len(patterns))
    else:
        score = np.array([len(np.unique(columns["gap_shape"][member == k])) for k in range(len(patterns))])
    particle, pattern = patterns[int(np.argmax(score))]
    return int(particle), int(pattern)


def _varied(shapes: NDArray[np.integer], rows: NDArray[np.intp]) -> list[int]:
    """Return up to `MOST` rows, one of each shape of gap in turn."""
    seen: dict[int, int] = {}
    keys = []
    for shape, row in zip(shapes, rows, strict=True):
        seen[int(shape)] = seen.get(int(shape), 0) + 1
        keys.append((seen[int(shape)], int(shape), int(row)))
    return [row for _, _, row in sorted(keys)][:MOST]


def _cut(file: h5py.File, columns: dict[str, NDArray[Any]], row: int) -> Cut:
    label = gap_label(int(columns["gap_shape"][row]), int(columns["gap_width"][row]))
    counts = Counts(file)[row].astype(np.float64)
    if counts.ndim != 3:
        raise ValueError(f"samples of {counts.ndim} axes, not 3")
    return Cut(_corner(columns, row), counts, file["mask"][row].astype(bool), label)


def _filled_cut(file: h5py.File, columns: dict[str, NDArray[Any]], row: int, examples: Examples, k: int) -> Cut:
    return Cut(
        _corner(columns, row),
        Counts(file)[row].astype(np.float64),
        examples.mask[k],
        _example_label(examples, k),
        examples.network[k],
    )


def _held_out(examples: Examples, k: int) -> Cut:
    return Cut(None, examples.truth[k], examples.mask[k], _example_label(examples, k), examples.network[k])


def _example_label(examples: Examples, k: int) -> str:
    return f"vertical, {int(examples.gap_width[k])} px"


def _corner(columns: dict[str, NDArray[Any]], row: int) -> tuple[int, int, int]:
    z, y, x = (int(value) for value in columns["corner"][row])
    return z, y, x
