"""The measured scan of gold, phased: how far the best runs agree, ours and PyNX's, and what a gap does to the object.

`braggworks phase` is called as a person would call it. The consensus is the smallest correlation of moduli between any
two of the best three runs by free log-likelihood, after shift and twin are aligned. Then a cross gap is cut into the
scan: masked, so that its amplitudes are free; taken for zeros; and filled by `braggworks inpaint`. Each is phased from
the same starts, and its object compared with that of the scan without a gap. The scan lies in BRAGGWORKS_TEST_DATA.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from braggworks.datasets.gaps import cross_gap
from braggworks.errors import ScanError
from braggworks.phasing.alignment import align, correlation, likeness
from braggworks.records import Record
from braggworks.scans.prepare import correct, find_peak
from braggworks.scans.readers import read_scan, usable
from braggworks.scans.writers import write_scan

SEED = 0
FILE = "aps34idc_au_scan54.cxi"
STARTS = 10
GAP, OFFSET = 6, 12
CYCLES = ("--hio", "200", "--raar", "400", "--er", "100")
GRID = ("--bin", "2", "2", "1")


class Found(NamedTuple):
    """What a run of the command wrote."""

    found: NDArray[np.complex64]
    agreement: NDArray[np.float64]
    inside: NDArray[np.float64]
    free_llk: NDArray[np.float64]
    seconds: float


def measure() -> Iterator[Record]:
    """Yield agreements between runs, and between objects with and without a gap."""
    folder = os.environ.get("BRAGGWORKS_TEST_DATA")
    if not folder or not Path(folder, FILE).exists():
        raise ScanError(f"{FILE} is absent: set BRAGGWORKS_TEST_DATA to its folder.")
    scan = Path(folder, FILE)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        whole = phased(scan, scratch)
        yield from _agreement("phase.aps", whole, "ours")
        yield from _agreement("phase.aps.full_coherence", phased(scan, scratch, "--full-coherence"), "ours")
        pynx = phased(scan, scratch, "--method", "pynx")
        yield from _agreement("phase.aps.pynx", pynx, "PyNX's CPU backend, full coherence")
        yield from _likeness("phase.aps.pynx", pynx, whole)
        for how, path in _gapped(scan, scratch):
            found = phased(path, scratch)
            yield from _agreement(f"phase.aps.gap.{how}", found, f"cross gap of {GAP} px, {how}")
            yield from _likeness(f"phase.aps.gap.{how}", found, whole)


def phased(scan: Path, scratch: Path, *options: str) -> Found:
    """Call the command; options win over those of the module."""
    output = scratch / "object.cxi"
    command = [sys.executable, "-m", "braggworks", "phase", str(scan), "--out", str(output), "--seed", str(SEED)]
    begun = time.perf_counter()
    subprocess.run([*command, "--starts", str(STARTS), *CYCLES, *GRID, *options], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begun
    with h5py.File(output) as file:
        extra = file["entry_1/braggworks"]
        names = ("pairwise_correlation", "pairwise_correlation_inside", "free_llk")
        return Found(file["entry_1/image_1/data"][()], *(extra[name][()] for name in names), seconds)


def _agreement(name: str, run: Found, about: str) -> Iterator[Record]:
    note = f"{about}; best 3 of {STARTS} starts of {' '.join(CYCLES)}, {'x'.join(map(str, run.found.shape))}"
    yield Record(f"{name}.consensus", float(run.agreement.min()), "1", n=3, seed=SEED, source=note)
    yield Record(
        f"{name}.consensus.inside", float(run.inside.min()), "1", n=3, seed=SEED, source=f"{note}; in the support"
    )
    yield Record(f"{name}.free_llk", float(np.min(run.free_llk)), "1", n=STARTS, seed=SEED, source=note)
    yield Record(f"{name}.seconds", run.seconds, "s", n=1, seed=SEED, source=f"{note}, one thread")


def _likeness(name: str, run: Found, whole: Found) -> Iterator[Record]:
    moved = align(run.found, whole.found)
    note = "against the object of the scan without a gap, ours"
    yield Record(f"{name}.modulus", correlation(np.abs(moved), np.abs(whole.found)), "1", n=1, seed=SEED, source=note)
    yield Record(f"{name}.likeness", likeness(moved, whole.found), "1", n=1, seed=SEED, source=note)


def _gapped(path: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Yield the scan with a cross gap: masked, zeroed, and filled."""
    scan, _ = correct(usable(read_scan(path)))
    peak = find_peak(scan.counts, scan.mask).position
    gap = cross_gap(scan.counts.shape, (peak[1] + OFFSET, peak[2] + OFFSET), GAP)
    hidden = np.where(gap, scan.counts.dtype.type(0), scan.counts)
    masked, zeroed, filled = (scratch / f"{name}.cxi" for name in ("masked", "zeroed", "filled"))
    write_scan(masked, replace(scan, counts=hidden, mask=scan.gap | gap))
    yield "masked", masked
    write_scan(zeroed, replace(scan, counts=hidden))
    yield "zeroed", zeroed
    command = [sys.executable, "-m", "braggworks", "inpaint", str(masked), "--out", str(filled)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    yield "inpainted", filled
