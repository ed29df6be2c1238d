"""The file system of the results: full, read-only, or gone in the middle of a run."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING

from benchmarks.faults.kinds.base import (
    Event,
    Fault,
    at_random_moment,
    ended,
    is_over,
    missed,
    run_again,
    running_rules,
    unless_unmoved,
)

if TYPE_CHECKING:
    from benchmarks.faults.site import Site

# Bytes that are left: none, or too few for what a job writes.
_LEFT = (0, 0, 4096, 16384)


def _fill(site: Site, chance: random.Random) -> None:
    left = chance.choice(_LEFT)
    with (site.store / "ballast").open("wb") as stream:
        for _ in range(100):
            free = os.statvfs(site.store).f_bavail * os.statvfs(site.store).f_frsize
            # A job that writes at the same moment may take the room.
            with contextlib.suppress(OSError):
                os.posix_fallocate(stream.fileno(), 0, max(1, free - left))
                return


def _full_disk(site: Site, campaign: str, chance: random.Random) -> Event:
    process = at_random_moment(site, campaign, chance)
    if is_over(process):
        return missed(site, process)
    rules = running_rules(site)
    _fill(site, chance)
    return _with_space_if_unmoved(site, ended(site, process, rules))


def _full_before(site: Site, campaign: str, chance: random.Random) -> Event:
    site.project.remove(campaign)
    _fill(site, chance)
    return _with_space_if_unmoved(site, Event(("planning",), site.project.run()))


def _with_space_if_unmoved(site: Site, event: Event) -> Event:
    """Make space where the run had all that it needed before the disk was full."""
    if not unless_unmoved(event).hit:
        _make_space(site, event)
    return event


def _make_space(site: Site, event: Event) -> None:
    (site.store / "ballast").unlink()


def _lock_away(site: Site) -> None:
    """Lay a read-only view of the results over them: a remount would be refused while files are open."""
    results = str(site.project.results)
    subprocess.run(["mount", "--bind", results, results], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", results], check=True)


def _read_only(site: Site, campaign: str, chance: random.Random) -> Event:
    if chance.random() < 0.3:
        site.project.remove(campaign)
        _lock_away(site)
        return Event(("planning",), site.project.run())
    process = at_random_moment(site, campaign, chance)
    if is_over(process):
        return missed(site, process)
    rules = running_rules(site)
    _lock_away(site)
    event = unless_unmoved(ended(site, process, rules))
    if not event.hit:
        subprocess.run(["umount", str(site.project.results)], check=True)
    return event


def _make_writable(site: Site, event: Event) -> None:
    subprocess.run(["umount", str(site.project.results)], check=True)
    run_again(site)


def _lost_mount(site: Site, campaign: str, chance: random.Random) -> Event:
    process = at_random_moment(site, campaign, chance)
    if is_over(process):
        return missed(site, process)
    rules = running_rules(site)
    site.detach()
    event = unless_unmoved(ended(site, process, rules))
    _mount_again(site)
    return event


def _mount_again(site: Site) -> None:
    """Bring the file system back; what was written without it lies below, unseen."""
    for path in site.project.results.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    site.attach()


def _then_run(site: Site, event: Event) -> None:
    _make_space(site, event)
    run_again(site)


DISKS = [
    Fault(
        "full_disk",
        "the results' disk fills up in the middle of a run",
        6,
        _full_disk,
        _then_run,
        sentence="is full: free some space|make room",
        needs_mount=True,
    ),
    Fault(
        "full_disk_before",
        "the results' disk is full when the run starts",
        3,
        _full_before,
        _then_run,
        sentence="is full: free some space|make room",
        needs_mount=True,
    ),
    Fault(
        "read_only",
        "the results' folder becomes read-only, before or in the middle of a run",
        5,
        _read_only,
        _make_writable,
        sentence="cannot be written",
        needs_mount=True,
    ),
    Fault(
        "lost_mount",
        "the results' file system goes away in the middle of a run, and comes back",
        6,
        _lost_mount,
        sentence="went away",
        needs_mount=True,
    ),
]
