"""Compute the diffraction of one batch of relaxed crystals around their reflections.

Each pattern has its own rotation, reflection and oversampling ratio, drawn from the particle's identity, and is centred
on the reflection of the particle's relaxed mean lattice. Draws with an oversampling below 2 along any axis, as measured
on the grid, are rejected and counted. The result holds amplitudes, without noise.

The family atomistic sums atom by atom with an engine; the family autophasenn transforms density and lattice phase on a
coarse grid.

example:
    braggworks scatter --campaign config/campaigns/demo-free.yaml --input relaxed.h5 --output patterns.h5
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from braggworks.campaigns import DiffractionConfig
from braggworks.campaigns import Engine as EngineName
from braggworks.commands._recipes import (
    add_held_batch_argument,
    add_recipe_arguments,
    read_recipe,
    thread_count,
)
from braggworks.commands._scatter_files import check_complete, create_group, read_crystal
from braggworks.errors import ConfigError
from braggworks.recipes import ScatterRecipe

if TYPE_CHECKING:
    import h5py
    import numpy as np
    import numpy.typing as npt

    from braggworks.diffraction.engines import ComplexArray
    from braggworks.diffraction.methods import Method
    from braggworks.diffraction.relaxed import RelaxedCrystal
    from braggworks.diffraction.sampling import View


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_recipe_arguments(parser, campaign=True)
    parser.add_argument("--engine", choices=get_args(EngineName), help="scattering engine, instead of the recipe's")
    parser.add_argument("--input", metavar="H5", required=True, help="relaxed crystals, as `braggworks relax` writes")
    add_held_batch_argument(parser)
    parser.add_argument("--output", metavar="H5", required=True, help="file to write")
    parser.add_argument("--threads", metavar="N", type=thread_count, default=1, help="threads to use (default 1)")


def run(args: argparse.Namespace) -> None:
    """Run the verb. Raises `UserError` for a bad recipe, a bad input, or an engine that is not installed."""
    import numpy as np

    from braggworks.files import check_batch, create_h5, open_h5
    from braggworks.provenance import lineage

    recipe = read_recipe(args, ScatterRecipe, "scatter")
    method = _method(recipe, args.engine)
    with open_h5(args.input, "relaxed") as relaxed:
        check_batch(relaxed, recipe.campaign, args.batch)
        check_complete(relaxed)
        tools = {method.name: method.version, "numpy": np.__version__}
        header = {
            "campaign": recipe.campaign,
            "batch": int(relaxed.attrs["batch"]),
            "recipe": recipe.to_json(),
            "particles": len(relaxed),
            "engine": method.name,
            "engine_version": method.version,
            "threads": args.threads,
            "lineage": lineage(relaxed.attrs.get("lineage"), "scatter", recipe, tools),
        }
        with create_h5(args.output, "patterns", **header) as patterns:
            _scatter_batch(relaxed, patterns, recipe, method, args.threads)


def _method(recipe: ScatterRecipe, engine: str | None) -> Method:
    from braggworks.diffraction.engines import load_engine
    from braggworks.diffraction.methods import atomistic, gridded

    settings = recipe.diffraction
    if isinstance(settings, DiffractionConfig):
        return atomistic(settings, load_engine(engine or settings.engine))
    if engine:
        raise ConfigError(
            f"--engine {engine} sums over atoms, but campaign {recipe.campaign!r} is of the family {recipe.family}, "
            "which is gridded: leave --engine away."
        )
    return gridded(settings)


def _scatter_batch(
    relaxed: h5py.File, patterns: h5py.File, recipe: ScatterRecipe, method: Method, threads: int
) -> None:
    from tqdm import tqdm

    from braggworks.seeds import generator

    names = sorted(relaxed)
    each = recipe.diffraction.patterns_per_particle
    title = f"scatter {recipe.campaign} batch {relaxed.attrs['batch']} ({method.name})"
    interval = 0.1 if sys.stderr.isatty() else 5.0
    seconds, crowded, rejected = 0.0, 0, 0
    with tqdm(total=len(names) * each, desc=title, unit="pattern", mininterval=interval, file=sys.stderr) as bar:
        for name in names:
            where = f"{relaxed.filename}: particle {name}"
            crystal = read_crystal(relaxed[name], where)
            rng = generator(recipe.campaign, recipe.seed, int(name), "scatter")
            try:
                views = [method.draw(rng, crystal) for _ in range(each)]
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from None
            group = create_group(patterns, relaxed[name], name, crystal, views)
            for pattern, amplitude, spent in _amplitudes(crystal, views, method, threads):
                group["amplitude"][pattern] = amplitude
                group.attrs["seconds"] += spent
                bar.update()
            seconds += float(group.attrs["seconds"])
            crowded += sum(view.crowded for view in views)
            rejected += int(group.attrs["rejected"])
    patterns.attrs["seconds"] = seconds
    patterns.attrs["rejected"] = rejected
    if crowded:
        print(
            f"braggworks scatter: another reflection reaches into {crowded} of {len(names) * each} patterns; "
            "larger particles, a smaller grid or more oversampling keep it out.",
            file=sys.stderr,
        )


def _amplitudes(
    crystal: RelaxedCrystal, views: list[View], method: Method, threads: int
) -> Iterator[tuple[int, npt.NDArray[np.complex64], float]]:
    """Yield each pattern's number, amplitude, and share of the wall time; side by side where the method can."""
    import time
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    workers = threads if method.concurrent else 1

    def compute(view: View) -> ComplexArray:
        return method.amplitude(crystal, view, threads)

    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(views), workers):
            began = time.perf_counter()
            results = list(pool.map(compute, views[start : start + workers]))
            spent = (time.perf_counter() - began) / len(results)
            for offset, result in enumerate(results):
                yield start + offset, result.astype(np.complex64), spent
