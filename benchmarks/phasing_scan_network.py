"""The measured scan of gold, phased from the network's object, against the consensus of iterative phasing.

`braggworks phase` is called as a person would call it: from ten random starts, as in `phasing_scan`; from six views of
the network, refined by 300 cycles of ER; the same with 100 of HIO and 200 of ER; and, as a control, from six random
starts with those cycles. What is told is how alike the objects are to the first one, after shift, twin and constant
phase. The scan lies in BRAGGWORKS_TEST_DATA.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.phasing_scan import FILE, SEED, STARTS, Found, phased
from braggworks.errors import ScanError
from braggworks.phasing.alignment import align, correlation, likeness
from braggworks.records import Record

VIEWS = "6"
NETWORK = ("--method", "rsp+er", "--starts", VIEWS)
RUNS = {
    "er": (*NETWORK, "--er", "300"),
    "hio_er": (*NETWORK, "--refine-hio", "100", "--er", "200"),
    "random": ("--starts", VIEWS, "--hio", "100", "--raar", "0", "--er", "200"),
    "random.seed1": ("--starts", VIEWS, "--hio", "100", "--raar", "0", "--er", "200", "--seed", "1"),
}


def measure() -> Iterator[Record]:
    """Yield how alike the refined objects are to the iterative one, their likelihoods and times."""
    folder = os.environ.get("BRAGGWORKS_TEST_DATA")
    if not folder or not Path(folder, FILE).exists():
        raise ScanError(f"{FILE} is absent: set BRAGGWORKS_TEST_DATA to its folder.")
    with tempfile.TemporaryDirectory() as name:
        whole = phased(Path(folder, FILE), Path(name))
        for how, options in RUNS.items():
            yield from _records(f"phase.aps.rsp.{how}", phased(Path(folder, FILE), Path(name), *options), whole)


def _records(name: str, run: Found, whole: Found) -> Iterator[Record]:
    moved = align(run.found, whole.found)
    inside = np.abs(whole.found) > 0.3 * np.abs(whole.found).max()
    note = f"{VIEWS} views or starts, the best 3, against the object of {STARTS} random starts"
    moduli = (np.abs(moved), np.abs(whole.found))
    found = {
        "modulus": (correlation(*moduli), "1"),
        "modulus.inside": (correlation(*(each[inside] for each in moduli)), "1"),
        "likeness": (likeness(moved, whole.found), "1"),
        "consensus": (float(run.agreement.min()), "1"),
        "free_llk": (float(np.min(run.free_llk)), "1"),
        "free_llk.iterative": (float(np.min(whole.free_llk)), "1"),
        "seconds": (run.seconds, "s"),
        "seconds.iterative": (whole.seconds, "s"),
    }
    for what, (value, unit) in found.items():
        yield Record(f"{name}.{what}", value, unit, n=1, seed=SEED, source=note)
