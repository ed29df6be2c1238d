"""From the patterns of `braggworks scatter` to a shard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from braggworks.datasets.samples import Pattern
from braggworks.datasets.shards import Sidecar, create_shard
from braggworks.diffraction.detector import detect
from braggworks.diffraction.labels import rsp
from braggworks.errors import FileError
from braggworks.files import check_batch, open_h5
from braggworks.provenance import lineage
from braggworks.seeds import generator

if TYPE_CHECKING:
    from braggworks.recipes import ShardRecipe

Groups = list[tuple[int, h5py.Group]]

# Values of each pattern that go into the shard as they are.
_VALUES = ("oversampling", "phase_range", "gradient", "strain")


def write_shard(
    patterns: str | Path,
    shard: str | Path,
    recipe: ShardRecipe,
    batch: int | None = None,
    progress: Callable[[Groups], Iterable[tuple[int, h5py.Group]]] = iter,
) -> Sidecar:
    """Cut the training samples of one batch; the same input gives the same bytes.

    Parameters
    ----------
    patterns
        File of kind ``patterns``.
    shard
        File to write.
    recipe
        Detector, patches and gaps.
    batch
        The batch that the patterns must be of; None for any.
    progress
        Wraps the iteration over particles, for a progress bar.

    Returns
    -------
    Sidecar
        With `file` relative to the shard's own folder.

    Raises
    ------
    FileError
        If the patterns are damaged, of another campaign or of another batch, or the disk is full.
    ConfigError
        If the patches do not fit in the patterns, or a voxel gets more counts than 32 bits hold.
    """
    with open_h5(patterns, "patterns") as source:
        check_batch(source, recipe.campaign, batch)
        groups, batch, each = _check(source, patterns)
        history = lineage(source.attrs.get("lineage"), "shard", recipe, sample_tools())
        rejected = int(source.attrs.get("rejected", 0))
        indices = [index for index, _ in groups]
        with create_shard(shard, recipe, batch=batch, particles=indices, patterns=each, ndim=3) as writer:
            for index, group in progress(groups):
                writer.add(index, _patterns(group, index, recipe, patterns))
    return writer.sidecar(rejected, history)


def sample_tools() -> dict[str, str]:
    """Return the versions of what makes shards of patterns, for their provenance."""
    return {name: version(name) for name in ("numpy", "h5py", "hdf5plugin")}


def _check(source: h5py.File, path: str | Path) -> tuple[Groups, int, int]:
    """Return the particles, the batch and the number of patterns of each particle."""
    try:
        groups = [(int(name), source[name]) for name in sorted(source)]
        batch = int(source.attrs["batch"])
        (shape,) = {group["amplitude"].shape for _, group in groups}
        whole = len(groups) == int(source.attrs["particles"]) and len(shape) == 4 and 0 not in shape
        whole = whole and {group[name].shape[:1] for _, group in groups for name in _VALUES} == {shape[:1]}
    except (KeyError, ValueError):
        whole = False
    if not whole:
        raise FileError(f"{path} does not hold the patterns of all its particles: delete it and make it again.")
    return groups, batch, shape[0]


def _patterns(group: h5py.Group, index: int, recipe: ShardRecipe, path: str | Path) -> Iterator[Pattern]:
    """Yield the patterns of one particle as the detector counts them."""
    noise = generator(recipe.campaign, recipe.seed, index, "detector")
    values: dict[str, Any] = {name: group[name][()] for name in _VALUES}
    atoms = int(group.attrs["atoms"])
    for number in range(len(group["amplitude"])):
        amplitude = group["amplitude"][number].astype(np.complex128)
        try:
            detected = detect(np.abs(amplitude) ** 2, recipe.detector, noise, recipe.task)
        except ValueError as error:
            raise FileError(f"{path}: particle {index}, pattern {number}: {error}; make the file again.") from None
        own = {name: value[number] for name, value in values.items()}
        yield Pattern(
            detected.counts,
            rsp(amplitude) if recipe.task == "phase" else None,
            detected.bad,
            {**own, "total_counts": detected.total_counts, "atoms": atoms},
        )
