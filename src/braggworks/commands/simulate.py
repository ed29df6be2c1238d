"""Simulate one batch of bodies without atoms, polygons or polyhedra with a phase, straight to training samples.

Writes an HDF5 file of kind "shard" with a JSON sidecar that says what it must hold. What a pattern looks like depends
on its campaign, seed, particle and number alone; the same device gives the same bytes with any number of threads.

example:
    braggworks simulate --campaign config/campaigns/small-shape3d.yaml --batch 0 --output shard.h5
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from braggworks.commands._recipes import (
    add_batch_arguments,
    add_recipe_arguments,
    batch_indices,
    read_recipe,
    thread_count,
)
from braggworks.errors import ConfigError, MissingToolError
from braggworks.recipes import SimulateRecipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from braggworks.datasets.samples import Pattern
    from braggworks.diffraction.simulation import Simulated, Steps

# Voxels, and patterns at most, that a GPU computes at once; a CPU's caches suit one pattern.
_GPU_VOXELS = 2**24
_GPU_PATTERNS = 256

Batch = list[tuple["Simulated", list["Pattern"]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_recipe_arguments(parser, campaign=True)
    add_batch_arguments(parser)
    parser.add_argument("--device", choices=("cpu", "cuda"), help="where to compute, instead of the recipe's")
    parser.add_argument("--threads", metavar="N", type=thread_count, default=1, help="threads to use (default 1)")
    parser.add_argument("--output", metavar="H5", help="shard to write")
    parser.add_argument("--sidecar", metavar="JSON", help="sidecar to write (default: beside the shard)")
    parser.add_argument("--steps", metavar="H5", help="write the steps of the batch's first pattern, for the figure")


def run(args: argparse.Namespace) -> None:
    """Write the shard and its sidecar, the steps, or both. Raises `UserError`."""
    recipe = _read(args)
    if not args.output and not args.steps:
        raise ConfigError("Nothing to write: give --output for the shard, --steps for the steps of a pattern, or both.")
    indices = batch_indices(args)
    if args.steps:
        _write_steps(args.steps, recipe, indices[0])
    if args.output:
        _write_shard(args, recipe, indices)


def _read(args: argparse.Namespace) -> SimulateRecipe:
    """Return the recipe, with the device that is used."""
    import torch

    recipe = read_recipe(args, SimulateRecipe, "simulate")
    if args.device:
        recipe = recipe.model_copy(update={"device": args.device})
    if recipe.device == "cuda" and not torch.cuda.is_available():
        raise MissingToolError(
            f"Campaign {recipe.campaign!r} asks for the device cuda, but torch finds no CUDA device here: "
            "write device: cpu into the campaign (or add --device cpu to this command), or use a machine with one."
        )
    return recipe


def _write_shard(args: argparse.Namespace, recipe: SimulateRecipe, indices: range) -> None:
    from tqdm import tqdm

    from braggworks.datasets.shards import create_shard
    from braggworks.diffraction.simulation import dimensions
    from braggworks.files import write_json
    from braggworks.provenance import lineage

    output = Path(args.output)
    path = Path(args.sidecar) if args.sidecar else output.with_suffix(".json")
    each, rejected = recipe.sampling.patterns_per_particle, 0
    step = max(1, _together(recipe) // each)
    groups = [indices[start : start + step] for start in range(0, len(indices), step)]
    shard = create_shard(output, recipe, batch=args.batch, particles=indices, patterns=each, ndim=dimensions(recipe))
    interval = 0.1 if sys.stderr.isatty() else 5
    title = f"simulate {recipe.campaign}"
    with shard as writer, tqdm(total=len(indices) * each, desc=title, unit="pattern", mininterval=interval) as bar:
        for batch in _in_order(lambda group: _simulate(recipe, group), groups, args.threads):
            for particle, patterns in batch:
                writer.add(particle.index, patterns)
                rejected += particle.rejected
                bar.update(each)
    sidecar = writer.sidecar(rejected, lineage(None, "simulate", recipe, _tools()))
    write_json(path, replace(sidecar, file=os.path.relpath(output, path.parent)).to_json())
    print(f"{output}: {sidecar.samples} samples of {len(sidecar.particles)} particles, {rejected} views rejected")


def _together(recipe: SimulateRecipe) -> int:
    """Return the number of patterns that are computed at once."""
    from braggworks.diffraction.simulation import dimensions

    if recipe.device == "cpu":
        return 1
    voxels = int(recipe.sampling.grid ** dimensions(recipe))
    return max(1, min(_GPU_PATTERNS, _GPU_VOXELS // voxels))


def _simulate(recipe: SimulateRecipe, indices: Sequence[int]) -> Batch:
    """Return particles with their patterns as the detector sees them."""
    from braggworks.datasets.samples import Pattern
    from braggworks.diffraction.detector import detect
    from braggworks.diffraction.simulation import simulate
    from braggworks.seeds import generator

    result = []
    for particle in simulate(recipe, indices, recipe.device, _together(recipe)):
        rng = generator(recipe.campaign, recipe.seed, particle.index, "detector")
        patterns = []
        for exposure in particle.exposures:
            detected = detect(exposure.intensity, recipe.detector, rng, recipe.task)
            values = {
                "oversampling": exposure.oversampling,
                "total_counts": detected.total_counts,
                "phase_range": exposure.phase_range,
                "gradient": exposure.gradient,
            }
            patterns.append(Pattern(detected.counts, exposure.rsp, detected.bad, values))
        result.append((particle, patterns))
    return result


def _write_steps(path: str, recipe: SimulateRecipe, index: int) -> None:
    from braggworks.diffraction.simulation import dimensions, pattern_steps
    from braggworks.files import create_h5

    if dimensions(recipe) != 2:
        raise ConfigError(
            f"--steps are those of a 2-D pattern, but campaign {recipe.campaign!r} is of the family {recipe.family}: "
            "name a campaign of the family polygon2d."
        )
    steps = pattern_steps(recipe, index)
    images = {
        "modulus": steps.body,
        "phase": steps.phase,
        "smoothed": steps.modulus,
        "intensity": steps.intensity,
        "counts": steps.counts,
        "mask": _gap(recipe, index, steps),
    }
    attributes = {
        "campaign": recipe.campaign,
        "recipe": recipe.to_json(),
        "oversampling": steps.oversampling,
        "total_counts": steps.total_counts,
        "label": f"{recipe.campaign}, particle {index}",
    }
    with create_h5(path, "steps", **attributes) as file:
        for name, image in images.items():
            file.create_dataset(name, data=image, fletcher32=True)
    print(f"{path}: the steps of particle {index}")


def _gap(recipe: SimulateRecipe, index: int, steps: Steps) -> NDArray[np.uint8]:
    """Return the gap of the pattern's first sample, where the sample lies in it; nothing for the task phase."""
    import numpy as np

    from braggworks.datasets.samples import Pattern, particle_samples

    mask = np.zeros(steps.counts.shape, dtype=np.uint8)
    if recipe.task == "inpaint":
        values = {"oversampling": steps.oversampling, "total_counts": steps.total_counts}
        pattern = Pattern(steps.counts, values={**values, "phase_range": 0.0, "gradient": 0.0})
        count = recipe.sampling.patterns_per_particle
        sample = next(particle_samples(index, [pattern], count, recipe, mask.ndim))
        y, x = sample["corner"][0]
        mask[y : y + recipe.patches.size, x : x + recipe.patches.size] = sample["mask"][0]
    return mask


def _in_order(work: Callable[[range], Batch], groups: list[range], threads: int) -> Iterator[Batch]:
    """Yield the results in order, with one torch thread per worker, so that no sum depends on their number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from map(work, groups) if threads == 1 else _pooled(work, groups, threads)
    finally:
        torch.set_num_threads(before)


def _pooled(work: Callable[[range], Batch], groups: list[range], threads: int) -> Iterator[Batch]:
    from concurrent.futures import Future, ThreadPoolExecutor

    import torch

    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: deque[Future[Batch]] = deque()
        for group in groups:
            waiting.append(pool.submit(work, group))
            # A few ahead keep every thread busy and the memory small.
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _tools() -> dict[str, str]:
    import numpy as np
    import scipy
    import torch

    return {"numpy": np.__version__, "scipy": scipy.__version__, "torch": torch.__version__}
