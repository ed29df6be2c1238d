"""The two scattering engines side by side, on whole strained gold particles and the same scattering vectors.

The particles have random facets and a smooth displacement, so that nothing is symmetric. PyNX's CPU path is the faster
of its compiled loop and of OpenCL on PoCL. Both engines get one core. Where a whole PyNX pattern would take minutes, it
computes every k-th plane of the grid, and its time is scaled by k; the plane of the peak is among them. Errors are the
largest deviation from a float64 direct sum, as a fraction of the largest amplitude found, over 600 voxels near the
centre and 600 anywhere in those planes: of the NUFFT, of this project's PyNX engine, which sums blocks of atoms with
reduced phases, and of the PyNX call that is timed.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from braggworks.diffraction.direct import direct_sum
from braggworks.diffraction.engines import load_engine
from braggworks.diffraction.sampling import QGrid, largest_extent, random_rotation, reflection_vector, voxel_size
from braggworks.errors import MissingToolError
from braggworks.particles.crystals import cut
from braggworks.particles.materials import MATERIALS
from braggworks.paths import environment_prefix
from braggworks.records import Record
from braggworks.seeds import generator

SEED = 0
OVERSAMPLING = 3.0
# Name, atoms, voxels per axis, every k-th plane for PyNX.
CASES = (
    ("18k_64", 18_000, 64, 1),
    ("134k_64", 134_000, 64, 8),
    ("18k_128", 18_000, 128, 8),
    ("134k_128", 134_000, 128, 64),
)
REPEATS = 3
_VOXELS = 600


def measure() -> Iterator[Record]:
    """Yield speed-ups, times and errors."""
    errors: dict[str, list[float]] = {"nufft": [], "pynx": [], "pynx.timed": []}
    for name, atoms, n, every in CASES:
        positions, grid = _particle(atoms, n)
        seconds, amplitude = _nufft(positions, grid)
        planes = np.arange(n // 2 % every, n, every)
        pynx_seconds, language, blocked, timed = _pynx(positions, grid, planes)
        scaled = pynx_seconds * n / len(planes)
        note = f"{len(positions)} atoms, {n}^3, PyNX ({language}) on {len(planes)} of {n} planes, time scaled"
        yield Record(f"scatter.speedup.{name}", scaled / seconds, "1", n=len(planes), seed=SEED, source=note)
        yield Record(f"scatter.seconds.nufft.{name}", seconds, "s", n=REPEATS, seed=SEED)
        yield Record(f"scatter.seconds.pynx.{name}", scaled, "s", n=1, seed=SEED, source=note)
        for engine, values in (("nufft", amplitude[planes]), ("pynx", blocked), ("pynx.timed", timed)):
            errors[engine].append(_error(positions, grid, planes, values))
    for engine, found in errors.items():
        yield Record(
            f"scatter.error.{engine}", max(found), "fraction of the peak", n=len(CASES) * 2 * _VOXELS, seed=SEED
        )


def _particle(atoms: int, n: int) -> tuple[np.ndarray, QGrid]:
    """Return a rotated, strained particle, and the grid around its 111 reflection."""
    rng = generator("benchmark", SEED, atoms)
    gold = MATERIALS["Au"]
    crystal = cut("random", gold, (round(0.99 * atoms), round(1.01 * atoms)), rng)
    rotation = random_rotation(rng)
    reach = np.abs(crystal.positions).max()
    strained = crystal.positions + np.sin(crystal.positions @ rng.normal(size=(3, 3)) / reach) @ rng.normal(size=(3, 3))
    positions = strained @ rotation.T
    centre = rotation @ reflection_vector((1, 1, 1), gold.lattice_constant, crystal.orientation)
    return positions, QGrid(n, voxel_size(largest_extent(positions), OVERSAMPLING), centre)


def _nufft(positions: np.ndarray, grid: QGrid) -> tuple[float, np.ndarray]:
    engine = load_engine("nufft")
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        amplitude = engine.amplitude(positions, grid.centre, grid.dq, grid.n, 1)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), amplitude


def _pynx(positions: np.ndarray, grid: QGrid, planes: np.ndarray) -> tuple[float, str, np.ndarray, np.ndarray]:
    """Return seconds and name of PyNX's faster CPU path, and the amplitudes of our engine and of that path."""
    python = environment_prefix("pynx") / "bin" / "python"
    if not python.exists():
        raise MissingToolError("PyNX is not installed: run `make pynx`.")
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "given.npz", Path(folder) / "result.npz"
        np.savez(given, positions=positions, centre=grid.centre, dq=grid.dq, n=grid.n, planes=planes)
        done = subprocess.run(
            [python, "benchmarks/_pynx_worker.py", given, result], capture_output=True, text=True, check=True
        )
        seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        fastest = min(seconds, key=seconds.__getitem__)
        found = np.load(result)
        return seconds[fastest], fastest, found["engine"], found[fastest]


def _error(positions: np.ndarray, grid: QGrid, planes: np.ndarray, values: np.ndarray) -> float:
    rng = generator("benchmark", SEED, "voxels")
    middle = int(np.flatnonzero(planes == grid.n // 2)[0])
    near = np.stack([np.full(_VOXELS, middle), *rng.integers(grid.n // 2 - 8, grid.n // 2 + 9, (2, _VOXELS))])
    far = np.stack([rng.integers(0, len(planes), _VOXELS), *rng.integers(0, grid.n, (2, _VOXELS))])
    z, y, x = np.hstack([near, far])
    steps = np.stack([x, y, planes[z]], axis=-1) - grid.n // 2
    exact = direct_sum(positions, grid.centre + grid.dq * steps)
    return float(np.abs(values[z, y, x] - exact).max() / np.abs(exact).max())
