"""Cycles of iterative phase retrieval per second: ours, PyNX's CPU backend, and a bare loop of scipy's transforms.

All three phase the same pattern from the same start in one run, in turns: RAAR, and one update of the support at
the end. The bare loop is a forward and a backward transform and nothing else. PyNX's CPU backend works on one thread
and on one start after the other. Ours works on one start with one thread; on eight with every core of the machine, and,
for comparison, with one. Seconds include reading the start and judging the result, as a person would wait for them.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.fft
import torch
from scipy.ndimage import gaussian_filter

from braggworks.errors import MissingToolError
from braggworks.paths import environment_prefix
from braggworks.phasing.iterative import phase
from braggworks.phasing.likelihood import free_voxels
from braggworks.phasing.schedule import Pattern, Schedule, Start, Step, SupportRule
from braggworks.phasing.starts import draw_start
from braggworks.records import Record
from braggworks.seeds import generator

SEED = 0
CYCLES = {64: 100, 128: 20}
REPEATS = 3
MANY = 8


def measure() -> Iterator[Record]:
    """Yield cycles per second and start, and their ratios."""
    ratios: dict[int, list[float]] = {1: [], MANY: []}
    cores = len(os.sched_getaffinity(0))
    for size, cycles in CYCLES.items():
        pattern = _pattern(size)
        schedule = Schedule((Step("RAAR", cycles),), SupportRule(period=cycles))
        start = draw_start(pattern, schedule, SEED, 0)
        for number in (1, MANY):
            rates = _rates(pattern, schedule, start, number, cores)
            for name, values in rates.items():
                rate, low, high = (float(np.quantile(values, q)) for q in (0.5, 0, 1))
                threads = _threads(name, number, cores)
                spread = f"{low:.3g} to {high:.3g} in {REPEATS} runs"
                note = f"{size}^3, {number} start{'s' * (number > 1)}, cycles of all starts, {threads}; {spread}"
                what = f"phase.cycles.{name}.{size}.{number}"
                yield Record(what, rate, "1/s", n=REPEATS, seed=SEED, source=note)
            ratio = float(np.median(rates["ours"]) / np.median(rates["pynx"]))
            ratios[number].append(ratio)
            yield Record(f"phase.cycles_ratio.{number}.{size}", ratio, "1", n=REPEATS, seed=SEED)
    for number, found in ratios.items():
        note = f"the smaller of {' and '.join(f'{size}^3' for size in CYCLES)}"
        yield Record(f"phase.cycles_ratio.{number}", min(found), "1", n=REPEATS, seed=SEED, source=note)


def _threads(name: str, number: int, cores: int) -> str:
    return f"{cores} threads" if name == "ours" and number > 1 else "one thread"


def _rates(pattern: Pattern, schedule: Schedule, start: Start, number: int, cores: int) -> dict[str, list[float]]:
    """Return cycles per second, those of all starts together, by what makes them."""
    torch.set_num_threads(1)
    found: dict[str, list[float]] = {"ours": [], "pynx": [], "scipy": []}
    if number > 1:
        found["ours_one_thread"] = []
    total = number * schedule.cycles
    for _ in range(REPEATS):
        begun = time.perf_counter()
        phase(pattern, schedule, [start] * number, threads=cores if number > 1 else 1)
        found["ours"].append(total / (time.perf_counter() - begun))
        found["pynx"].append(total / _pynx_seconds(pattern, start, schedule.cycles, number))
        wave = np.fft.ifftshift(start.found)
        begun = time.perf_counter()
        for _ in range(total):
            wave = scipy.fft.ifftn(scipy.fft.fftn(wave, norm="ortho", overwrite_x=True), norm="ortho", overwrite_x=True)
        found["scipy"].append(total / (time.perf_counter() - begun))
        if number > 1:
            begun = time.perf_counter()
            phase(pattern, schedule, [start] * number)
            found["ours_one_thread"].append(total / (time.perf_counter() - begun))
    return found


def _pynx_seconds(pattern: Pattern, start: Start, cycles: int, number: int) -> float:
    program = environment_prefix("pynx") / "bin" / "python"
    if not program.exists():
        raise MissingToolError("PyNX is not installed, and this benchmark compares with it: run `make pynx`.")
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder, "given.npz")
        arrays = {"counts": pattern.counts, "mask": pattern.mask, "free": pattern.free}
        np.savez(given, found=start.found, support=start.support, **arrays)
        command = [str(program), "benchmarks/_pynx_cdi_worker.py", str(given), str(cycles), str(number)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _pattern(size: int) -> Pattern:
    """Return Poisson counts of a smooth random body with a smooth phase, oversampled about three times."""
    rng = generator("phasing speed", size)
    grid = (np.indices((size,) * 3) - size // 2) / (size / 6)
    body = (grid**4).sum(axis=0) < 1 + 0.3 * gaussian_filter(rng.standard_normal((size,) * 3), size / 16) * size
    field = 3 * gaussian_filter(rng.standard_normal((size,) * 3), size / 12) * size
    wave = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(body * np.exp(1j * field))))
    counts = rng.poisson(np.abs(wave) ** 2 * 1e6 / (np.abs(wave) ** 2).max()).astype(np.float32)
    mask = np.zeros(counts.shape, bool)
    return Pattern(counts, mask, free_voxels(counts.shape, mask, rng))
