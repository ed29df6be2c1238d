"""Shards against raw memory-mapped numpy: writing, reading in random order, and bytes per sample.

The samples are 32^3 patches of simulated gold particles with Poisson noise. Reading is counted in CPU-seconds of one
process, in two states: with the files in the page cache (warm), and dropped from it before each pass (cold), as for
datasets beyond the memory's size. All return one sample's counts at a time as an array of uint32 of its own. The raw
array holds uint32, as the counts are; or uint16, as shards hold them, which suffices where no voxel is brighter.
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
        shard, raw, half = (Path(folder) / name for name in ("shard.h5", "raw.npy", "half.npy"))
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
        np.save(half, np.minimum(counts, np.iinfo(np.uint16).max).astype(np.uint16))
        yield Record("shard.write.rate", samples / write, "samples per CPU-second", n=samples, seed=SEED)
        yield Record(
            "shard.write.ratio", raw_write / write, "1", n=samples, seed=SEED, source="cuts and masks included"
        )
        yield Record("shard.bytes_per_sample.32", shard.stat().st_size / samples, "bytes", n=samples, seed=SEED)
        yield Record("shard.bytes_per_sample.32.raw", raw.stat().st_size / samples, "bytes", n=samples, seed=SEED)
        for state in ("cold", "warm"):
            yield from _reading(shard, raw, half, samples, state)


def _reading(shard: Path, raw: Path, half: Path, samples: int, state: str) -> Iterator[Record]:
    order = generator("benchmark", SEED, "order").permutation(samples).tolist()

    def from_shard() -> int:
        files = ShardFiles([shard])
        return sum(int(files.read(0, slice(index, index + 1), ["counts"])[0][0, 0, 0, 0]) for index in order)

    def from_numpy(path: Path) -> int:
        array = np.load(path, mmap_mode="r")
        return sum(int(array[index].astype(np.uint32)[0, 0, 0]) for index in order)

    found: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        reads = (from_shard, lambda: from_numpy(raw), lambda: from_numpy(half))
        own, whole, halved = (_timed(read, (shard, raw, half), state) for read in reads)
        # A ratio is above 1 where the shard is faster.
        for name, other in (("", whole), (".uint16", halved)):
            found.setdefault(f"ratio{name}", []).append(other[0] / own[0])
            found.setdefault(f"ratio.wall{name}", []).append(other[1] / own[1])
        found.setdefault("rate", []).append(samples / own[0])
    suffix = "" if state == "cold" else ".warm"
    about = f"{samples} samples, {state} page cache, median and range of {REPEATS} alternating passes"
    for name, values in found.items():
        unit = "samples per CPU-second" if name == "rate" else "1"
        middle, spread = float(np.median(values)), {"low": min(values), "high": max(values)}
        yield Record(f"shard.read.{name}{suffix}", middle, unit, n=REPEATS, seed=SEED, source=about, **spread)


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
