"""SIGKILL at random moments of a small campaign of every family, and which of Snakemake's rules the kills hit.

A run is started and, after a random time, either everything or one process of it is killed. The same command is given
again, and the SHA-256 of every shard is compared with that of a run which nobody disturbed. `python -m benchmarks
faults` does the same with many more kinds of fault.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from benchmarks.faults.campaign import Outcome, inject
from benchmarks.faults.kinds import FAULTS
from benchmarks.faults.modes import MODES
from benchmarks.faults.project import CAMPAIGNS, SEED
from benchmarks.faults.site import Site
from braggworks.records import Record

KILLS = 20
# In turn: all of a run, one of its jobs, the process that computes in a job, and the one that a person started.
_KINDS = ("kill_workflow", "kill_job", "kill_worker", "kill_workflow", "kill_runner")


def measure(kills: int = KILLS, names: tuple[str, ...] = tuple(CAMPAIGNS)) -> Iterator[Record]:
    """Yield the number of kills, with the rules that they hit, and of shards that differ."""
    folder = Path(tempfile.mkdtemp(prefix="braggworks-kills-"))
    with Site(MODES["local"], folder, names) as site:
        try:
            site.prepare()
            shards = len(site.project.shards)
            turns = [FAULTS[_KINDS[number % len(_KINDS)]] for number in range(kills)]
            found = [
                outcome
                for number, fault in enumerate(tqdm(turns, desc="kills", unit="kill", mininterval=5))
                if (outcome := inject(site, fault, 1000 + number))
            ]
        finally:
            site.unmount()
    shutil.rmtree(folder, ignore_errors=True)
    about = f"{shards} shards of {len(names)} families; {_list(found)}"
    differing = sum(name.endswith(".h5") and "/shards/" in name for outcome in found for name in outcome.differing)
    yield Record("faults.kills", len(found), "kills", n=len(found), seed=SEED, source=about)
    yield Record("faults.shards_differing", differing, "shards", n=shards, seed=SEED, source=about)


def _list(outcomes: list[Outcome]) -> str:
    kinds = Counter(outcome.kind for outcome in outcomes)
    rules = Counter(rule for outcome in outcomes for rule in outcome.rules)
    parts = [", ".join(f"{name} {number}" for name, number in sorted(counter.items())) for counter in (kinds, rules)]
    return f"{parts[0]}; rules that ran or were hit: {parts[1]}"
