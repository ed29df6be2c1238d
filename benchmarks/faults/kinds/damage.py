"""Truncated files, flipped bits and foreign files: of shards, sidecars, intermediate files and manifests."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.faults.kinds.base import Event, Fault, NoRecoveryError, run_again

if TYPE_CHECKING:
    from benchmarks.faults.site import Site

_RULES = {"crystals": "cut_crystals", "relaxed": "relax_batch", "patterns-nufft": "scatter_batch"}
_RULES |= {"patterns-gridded": "grid_batch"}
# What is made of a stage's file; as long as the last of it is there, nothing is made and nothing is read.
_LATER = {
    "crystals": ("relaxed", "patterns-*", "shards"),
    "relaxed": ("patterns-*", "shards"),
    "patterns-nufft": ("shards",),
    "patterns-gridded": ("shards",),
}
# Each stage's damaged file may be found in turn.
_TRIES = 4


def _truncate(path: Path, others: list[Path], chance: random.Random) -> None:
    with path.open("r+b") as stream:
        stream.truncate(chance.randrange(path.stat().st_size))


def _flip(path: Path, others: list[Path], chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _replace(path: Path, others: list[Path], chance: random.Random) -> None:
    shutil.copyfile(chance.choice(others), path)


Damage = Callable[[Path, list[Path], random.Random], None]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "truncated": (_truncate, "is cut off at a random byte"),
    "flipped": (_flip, "has one flipped bit"),
    "foreign": (_replace, "is another file of its kind"),
}


def _finished(damage: Damage) -> Callable[..., Event | None]:
    """Damage a shard, a sidecar or a manifest of a finished dataset, as a bad disk does it: times stay the same."""

    def inject(site: Site, campaign: str, chance: random.Random) -> Event | None:
        kind = chance.choice(["shard", "shard", "sidecar", "manifest"])
        folder = site.project.results
        pattern = {
            "shard": "campaigns/{}/shards/*.h5",
            "sidecar": "campaigns/{}/shards/*.json",
            "manifest": "releases/{}/manifest.json",
        }[kind]
        path = chance.choice(sorted(folder.glob(pattern.format(campaign))))
        others = sorted(other for other in folder.glob(pattern.format("*")) if other != path)
        _keep_times(path, lambda: damage(path, others, chance))
        return Event((kind,), site.project.verb("scatter", "verify", "results"), (path,))

    return inject


def _intermediate(damage: Damage) -> Callable[..., Event | None]:
    """Damage an intermediate file while what is made of it is missing."""

    def inject(site: Site, campaign: str, chance: random.Random) -> Event | None:
        made_of_atoms = [name for name in ("fault-atoms", "fault-cubes") if name in site.project.names]
        folder = site.project.results / "campaigns" / chance.choice(made_of_atoms)
        stage = chance.choice(sorted(path.name for path in folder.iterdir() if path.name in _RULES))
        path = chance.choice(sorted((folder / stage).glob("*.h5")))
        others = sorted(site.project.results.glob(f"campaigns/*/{stage}/*.h5"))
        others = [other for other in others if other != path] or sorted((folder / "shards").glob("*.h5"))
        _keep_times(path, lambda: damage(path, others, chance))
        for later in (file for pattern in _LATER[stage] for file in folder.glob(f"{pattern}/{path.stem}.*")):
            later.unlink()
        return Event((_RULES[stage],), site.project.run(), (path,))

    return inject


def _keep_times(path: Path, change: Callable[[], None]) -> None:
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _verify_and_run(site: Site, event: Event) -> None:
    """Delete what is damaged with `braggworks verify --delete`, run again, and until nothing is damaged."""
    for _ in range(_TRIES):
        if site.project.verb("scatter", "verify", "results", "--delete").code == 0:
            return
        run_again(site)
    raise NoRecoveryError("`braggworks verify --delete` and `braggworks run`, in turn, do not end")


def _delete_and_run(site: Site, event: Event) -> None:
    """Delete the file that the sentence names, and run again."""
    said = event.said
    for _ in range(_TRIES):
        if said is None or said.code == 0:
            return
        named = re.search(r"(results/\S+\.h5)\b", said.sentence)
        if named is None:
            raise NoRecoveryError(f"no file is named: {said.sentence}")
        (site.project.folder / named[1]).unlink(missing_ok=True)
        said = site.project.run()
    raise NoRecoveryError(f"a file that was made anew is refused again: {said.sentence if said else ''}")


DAMAGE = [
    fault
    for name, (damage, what) in DAMAGES.items()
    for fault in (
        Fault(
            f"{name}_dataset",
            f"a shard, a sidecar or a manifest {what}",
            7,
            _finished(damage),
            _verify_and_run,
            sentence="delete",
        ),
        Fault(
            f"{name}_intermediate",
            f"crystals, relaxed crystals or patterns: a file {what}",
            3,
            _intermediate(damage),
            _delete_and_run,
            sentence="",
        ),
    )
]
