"""Shards against raw memory-mapped numpy: writing, reading in random order, and bytes per sample.

The samples are 32^3 patches of simulated gold particles with Poisson noise. Reading is counted in CPU-seconds of one
process, in two states: with the files in the page cache (warm), and dropped from it before each pass (cold), as for
datasets beyond the memory's size. Both sides return one sample's counts at a time as an array of its own.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braggworks.campaigns import DetectorConfig, GapConfig, PatchConfig
from braggworks.datasets.shards import Pattern, ShardFiles, create_shard
from braggworks.diffraction.detector import detect
from braggworks.diffraction.engines import load_engine
from braggworks.diffraction.sampling import largest_extent, random_rotation, reflection_vector, voxel_size
from braggworks.particles.crystals import cut
from braggworks.particles.materials import MATERIALS
from braggworks.recipes import ShardRecipe
from braggworks.records import Record
from braggworks.seeds import generator
from braggworks.versions import STAGE_VERSIONS

SEED = 0
PARTICLES, PATTERNS, PATCHES, GRID = 4, 4, 128, 64
REPEATS = 5


def measure() -> Iterator[Record]:
    """Yield rates, ratios and sizes."""
    recipe = ShardRecipe(
        version=STAGE_VERSIONS["shard"],
        campaign="benchmark",
        family="atomistic",
        seed=SEED,
        task="inpaint",
        patches=PatchConfig(per_pattern=PATCHES),
        gaps=GapConfig(),
        detector=DetectorConfig(),
    )
    patterns = {particle: _patterns(recipe, particle) for particle in range(PARTICLES)}
    samples = PARTICLES * PATTERNS * PATCHES
    with tempfile.TemporaryDirectory(dir=".") as folder:  # a disk; the system's temporary folder may be memory
        shard, raw = Path(folder) / "shard.h5", Path(folder) / "raw.npy"
        begun = _cpu()
        with create_shard(shard, recipe, batch=0, particles=list(patterns), patterns=PATTERNS, ndim=3) as writer:
            for particle, found in patterns.items():
                writer.add(particle, found)
        write = _cpu() - begun
        counts = np.concatenate(
            [ShardFiles([shard]).read(0, slice(i, i + 256), ["counts"])[0] for i in range(0, samples, 256)]
        )
        begun = _cpu()
        np.save(raw, counts)
        raw_write = _cpu() - begun
        yield Record("shard.write.rate", samples / write, "samples per CPU-second", n=samples, seed=SEED)
        yield Record(
            "shard.write.ratio", raw_write / write, "1", n=samples, seed=SEED, source="cuts and masks included"
        )
        yield Record("shard.bytes_per_sample.32", shard.stat().st_size / samples, "bytes", n=samples, seed=SEED)
        yield Record("shard.bytes_per_sample.32.raw", raw.stat().st_size / samples, "bytes", n=samples, seed=SEED)
        for state in ("cold", "warm"):
            yield from _reading(shard, raw, samples, state)


def _reading(shard: Path, raw: Path, samples: int, state: str) -> Iterator[Record]:
    order = generator("benchmark", SEED, "order").permutation(samples).tolist()

    def from_shard() -> int:
        files = ShardFiles([shard])
        return sum(int(files.read(0, slice(index, index + 1), ["counts"])[0][0, 0, 0, 0]) for index in order)

    def from_numpy() -> int:
        array = np.load(raw, mmap_mode="r")
        return sum(int(np.array(array[index])[0, 0, 0]) for index in order)

    # A ratio is above 1 where the shard is faster.
    ratios, cpu, wall = [], [], []
    for _ in range(REPEATS):
        (slow, slow_wall), (fast, fast_wall) = (_timed(read, (shard, raw), state) for read in (from_shard, from_numpy))
        ratios.append(fast / slow)
        cpu.append(samples / slow)
        wall.append(fast_wall / slow_wall)
    suffix = "" if state == "cold" else ".warm"
    about = f"{state} page cache, median of {REPEATS} alternating passes"
    spread = {"low": min(ratios), "high": max(ratios)}
    yield Record(
        f"shard.read.ratio{suffix}", float(np.median(ratios)), "1", n=samples, seed=SEED, source=about, **spread
    )
    yield Record(f"shard.read.ratio.wall{suffix}", float(np.median(wall)), "1", n=samples, seed=SEED, source=about)
    yield Record(f"shard.read.rate{suffix}", float(np.median(cpu)), "samples per CPU-second", n=samples, seed=SEED)


def _timed(read: Callable[[], int], files: tuple[Path, ...], state: str) -> tuple[float, float]:
    if state == "cold":
        for path in files:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    else:
        read()
    begun, start = _cpu(), time.perf_counter()
    read()
    return _cpu() - begun, time.perf_counter() - start


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _patterns(recipe: ShardRecipe, particle: int) -> list[Pattern]:
    rng, gold, engine = generator("benchmark", SEED, particle), MATERIALS["Au"], load_engine("nufft")
    crystal = cut("random", gold, (4_000, 12_000), rng)
    found = []
    for _ in range(PATTERNS):
        rotation = random_rotation(rng)
        positions = crystal.positions @ rotation.T
        ratio = rng.uniform(2.2, 5.0)
        dq = voxel_size(largest_extent(positions), ratio)
        centre = rotation @ reflection_vector((1, 1, 1), gold.lattice_constant, crystal.orientation)
        intensity: NDArray[np.float64] = np.abs(engine.amplitude(positions, centre, dq, GRID, 1)) ** 2
        seen = detect(intensity, recipe.detector, rng)
        values = {
            "oversampling": np.full(3, ratio),
            "total_counts": seen.total_counts,
            "phase_range": 0.0,
            "gradient": 0.0,
        }
        values |= {"strain": 0.0, "atoms": len(positions)}
        found.append(Pattern(seen.counts, None, seen.bad, values))
    return found
