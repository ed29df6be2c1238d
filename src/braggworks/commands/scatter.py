"""Compute the diffraction of one batch of relaxed crystals around a reflection.

Each pattern has its own rotation and oversampling ratio, drawn from the particle's identity, and is centred on the
reflection of the particle's relaxed mean lattice. The result holds amplitudes, without noise.

example:
    braggworks scatter --campaign config/campaigns/demo-free.yaml --input relaxed.h5 --output patterns.h5
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from braggworks.commands._recipes import add_recipe_arguments, read_recipe
from braggworks.config import DiffractionConfig
from braggworks.config import Engine as EngineName
from braggworks.errors import FileError
from braggworks.recipes import ScatterRecipe

if TYPE_CHECKING:
    import h5py
    import numpy as np
    import numpy.typing as npt

    from braggworks.diffraction.engines import ComplexArray, Engine
    from braggworks.diffraction.sampling import FloatArray, View

_COPIED = ("shape", "material", "lattice_constant")
_MOST_ATOMS = 10_000_000


@dataclass(frozen=True, eq=False)
class _Crystal:
    atoms: FloatArray
    gradient: FloatArray
    lattice_constant: float
    orientation: FloatArray
    attributes: dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_recipe_arguments(parser, campaign=True)
    parser.add_argument("--engine", choices=get_args(EngineName), help="scattering engine, instead of the recipe's")
    parser.add_argument("--input", metavar="H5", required=True, help="relaxed crystals, as `braggworks relax` writes")
    parser.add_argument("--output", metavar="H5", required=True, help="file to write")
    parser.add_argument("--threads", metavar="N", type=_threads, default=1, help="threads to use (default 1)")


def _threads(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of threads: use 1 to 1024")
    return int(text)


def run(args: argparse.Namespace) -> None:
    """Run the verb. Raises `UserError` for a bad recipe, a bad input, or an engine that is not installed."""
    from braggworks.diffraction.engines import load_engine
    from braggworks.files import create_h5, open_h5

    recipe = read_recipe(args, ScatterRecipe, "scatter")
    engine = load_engine(args.engine or recipe.diffraction.engine)
    with open_h5(args.input, "relaxed") as relaxed:
        _check_batch(relaxed, recipe.campaign)
        header = {
            "campaign": recipe.campaign,
            "batch": int(relaxed.attrs["batch"]),
            "recipe": recipe.to_json(),
            "particles": len(relaxed),
            "engine": engine.name,
            "engine_version": engine.version,
            "threads": args.threads,
        }
        with create_h5(args.output, "patterns", **header) as patterns:
            _scatter_batch(relaxed, patterns, recipe, engine, args.threads)


def _check_batch(relaxed: h5py.File, campaign: str) -> None:
    path, found = relaxed.filename, relaxed.attrs.get("campaign")
    if found != campaign:
        raise FileError(f"{path} belongs to campaign {found!r}, not {campaign!r}: give the file of this campaign.")
    complete = len(relaxed) > 0 and len(relaxed) == relaxed.attrs.get("particles") and "batch" in relaxed.attrs
    if not complete or not all(name.isdigit() for name in relaxed):
        raise FileError(f"{path} does not hold all its particles: delete it and run `braggworks relax` again.")


def _scatter_batch(
    relaxed: h5py.File, patterns: h5py.File, recipe: ScatterRecipe, engine: Engine, threads: int
) -> None:
    from tqdm import tqdm

    names = sorted(relaxed)
    each = recipe.diffraction.patterns_per_particle
    title = f"scatter {recipe.campaign} batch {relaxed.attrs['batch']} ({engine.name})"
    interval = 0.1 if sys.stderr.isatty() else 5.0
    seconds, crowded = 0.0, 0
    with tqdm(total=len(names) * each, desc=title, unit="pattern", mininterval=interval, file=sys.stderr) as bar:
        for name in names:
            crystal = _read_crystal(relaxed[name], f"{relaxed.filename}: particle {name}")
            views = _draw_views(crystal, recipe, int(name))
            group = _create_group(patterns, name, crystal, views, recipe.diffraction)
            for pattern, amplitude, spent in _amplitudes(crystal, views, engine, threads):
                group["amplitude"][pattern] = amplitude
                group.attrs["seconds"] += spent
                bar.update()
            seconds += float(group.attrs["seconds"])
            crowded += sum(view.crowded for view in views)
    patterns.attrs["seconds"] = seconds
    if crowded:
        print(
            f"braggworks scatter: another reflection reaches into {crowded} of {len(names) * each} patterns; "
            "larger particles, a smaller grid or more oversampling keep it out.",
            file=sys.stderr,
        )


def _read_crystal(group: h5py.Group, where: str) -> _Crystal:
    import numpy as np

    from braggworks.diffraction.sampling import displacement_gradient

    try:
        positions, displacement = (_vectors(group[key]) for key in ("positions", "displacement"))
        orientation = np.asarray(group.attrs["orientation"], dtype=np.float64)
        attributes = {key: group.attrs[key] for key in _COPIED}
        lattice_constant = float(attributes["lattice_constant"])
    except KeyError as error:
        raise FileError(f"{where} lacks a part ({error.args[0]}): run `braggworks relax` again.") from None
    except (TypeError, ValueError) as error:
        raise FileError(f"{where} cannot be used ({error}): run `braggworks relax` again.") from None
    proper = orientation.shape == (3, 3) and np.allclose(orientation @ orientation.T, np.eye(3), atol=1e-6)
    if positions.shape != displacement.shape or not proper or not lattice_constant > 0:
        raise FileError(f"{where} contradicts itself in shape, orientation or lattice: run `braggworks relax` again.")
    gradient = displacement_gradient(positions, displacement)
    return _Crystal(positions + displacement, gradient, lattice_constant, orientation, attributes)


def _vectors(dataset: h5py.Dataset) -> FloatArray:
    """Read (N, 3) finite numbers. Raises `ValueError`."""
    import numpy as np

    if dataset.ndim != 2 or dataset.shape[1] != 3 or not 2 <= len(dataset) <= _MOST_ATOMS:
        raise ValueError(f"{dataset.name} has shape {dataset.shape}, not 2 to {_MOST_ATOMS} rows of 3")
    values = np.asarray(dataset[()], dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{dataset.name} holds NaN or infinity")
    return values


def _draw_views(crystal: _Crystal, recipe: ScatterRecipe, index: int) -> list[View]:
    from braggworks.diffraction.sampling import deformed_reflection, draw_view, reflection_vector
    from braggworks.seeds import generator

    settings = recipe.diffraction
    reference = reflection_vector(settings.reflection, crystal.lattice_constant, crystal.orientation)
    rng = generator(recipe.campaign, recipe.seed, index, "scatter")
    return [
        draw_view(
            rng,
            crystal.atoms,
            deformed_reflection(reference, crystal.gradient),
            n=settings.grid,
            oversampling=settings.oversampling,
            rotate=settings.rotation == "random",
            lattice_constant=crystal.lattice_constant,
            orientation=crystal.orientation,
        )
        for _ in range(settings.patterns_per_particle)
    ]


def _create_group(
    patterns: h5py.File, name: str, crystal: _Crystal, views: list[View], settings: DiffractionConfig
) -> h5py.Group:
    import numpy as np

    n = settings.grid
    group = patterns.create_group(name)
    group.create_dataset(
        "amplitude", shape=(len(views), n, n, n), dtype=np.complex64, chunks=(1, n, n, n), fletcher32=True
    )
    group["rotation"] = np.stack([view.rotation for view in views])
    group["oversampling"] = np.array([view.oversampling for view in views])
    group["dq"] = np.array([view.grid.dq for view in views])
    group["centre"] = np.stack([view.grid.centre for view in views])
    group.attrs.update(crystal.attributes)
    group.attrs["atoms"] = len(crystal.atoms)
    group.attrs["seconds"] = 0.0
    return group


def _amplitudes(
    crystal: _Crystal, views: list[View], engine: Engine, threads: int
) -> Iterator[tuple[int, npt.NDArray[np.complex64], float]]:
    """Yield each pattern's number, amplitude, and share of the wall time; side by side where the engine can."""
    import time
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    workers = threads if engine.concurrent else 1

    def compute(view: View) -> ComplexArray:
        grid = view.grid
        return engine.amplitude(crystal.atoms @ view.rotation.T, grid.centre, grid.dq, grid.n, threads)

    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(views), workers):
            began = time.perf_counter()
            results = list(pool.map(compute, views[start : start + workers]))
            spent = (time.perf_counter() - began) / len(results)
            for offset, result in enumerate(results):
                yield start + offset, result.astype(np.complex64), spent
