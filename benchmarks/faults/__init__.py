"""Faults of many kinds at random moments of a small campaign of every family; the dataset must not differ.

An undisturbed run gives the hash of every file and of every sample. Then, again and again, a part of the results is
removed, a run is started and disturbed, the recovery that docs/recovery.md names is carried out, and everything is
compared. Where the machine allows it, the results are a small file system of their own, which can fill up, become
read-only and go away. Progress is kept in the folder: stopped and started again, it goes on.

BRAGGWORKS_FAULTS_MINUTES ends a call after that time; BRAGGWORKS_FAULTS_FOLDER is where the folder of each mode lies.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from braggworks.records import Record, current_commit


def folder_of(mode: str) -> Path:
    """Return the folder in which a mode's faults are injected."""
    parent = Path(os.environ.get("BRAGGWORKS_FAULTS_FOLDER", tempfile.gettempdir()))
    # Outcomes of one commit are never counted as those of another.
    return parent / f"braggworks-faults-{mode}-{(current_commit() or 'unknown')[:12]}"


def measure(mode: str = "local") -> Iterator[Record]:
    """Yield the numbers of all injections that are done, those of earlier calls among them."""
    from benchmarks.faults.campaign import records, run

    done = run(mode, folder_of(mode), minutes=float(os.environ.get("BRAGGWORKS_FAULTS_MINUTES", "1e9")))
    if done.left:
        print(f"  {done.left} faults are still to be injected: run the same command again", flush=True)
    yield from records(mode, done)
