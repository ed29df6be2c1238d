"""What every kind of fault has: a name, what it does, where it applies, and the documented way back."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.faults.processes import jobs_in, rules_in, wait_until_quiet
from benchmarks.faults.project import Said

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.faults.site import Site

# Share of the moments before the first job; the others follow the jobs, because a busy machine knows no time.
_PLANNING = 0.15
# A job of the small campaigns takes about as long.
_JOB_SECONDS = 1.5
ALL_MODES = ("local", "apptainer", "slurm")


@dataclass
class Event:
    """What an injection hit.

    Parameters
    ----------
    rules
        Snakemake's rules that ran, or whose files were damaged.
    said
        What the disturbed command said; None where no command was running.
    damaged
        Files that were damaged on purpose.
    """

    rules: tuple[str, ...]
    said: Said | None = None
    damaged: tuple[Path, ...] = ()


class NoRecoveryError(RuntimeError):
    """The documented recovery does not recover."""


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Parameters
    ----------
    name
        Part of its record's name.
    what
        What it does.
    count
        Injections in a whole benchmark.
    inject
        Disturbs a campaign; None where the run had ended before.
    recover
        The documented recovery.
    sentence
        Regular expression of the sentence that a person must see, if the kind has one.
    modes
        Where it applies.
    needs_mount
        Whether the results must be a file system of their own.
    """

    name: str
    what: str
    count: int
    inject: Callable[[Site, str, random.Random], Event | None]
    recover: Callable[[Site, Event], None] = field(default=lambda site, event: run_again(site))
    sentence: str | None = None
    modes: tuple[str, ...] = ALL_MODES
    needs_mount: bool = False


def run_again(site: Site) -> None:
    """Give the same command again; where another run is still at work, as the sentence says, wait for its end."""
    said = site.project.run()
    if said.code and "Another run is at work" in said.sentence:
        wait_until_quiet(site.project.folder, 300)
        said = site.project.run()
    if said.code:
        raise NoRecoveryError(f"`braggworks run` ended with {said.code}: {said.sentence}")


def at_random_moment(site: Site, campaign: str, chance: random.Random) -> subprocess.Popen[str] | None:
    """Start the run of a removed campaign, and return it while it plans or, mostly, while it works."""
    if chance.random() >= _PLANNING:
        return at_random_job(site, campaign, chance)
    site.project.remove(campaign)
    process = site.project.start()
    try:
        process.wait(chance.uniform(0.2, 4))
    except subprocess.TimeoutExpired:
        return process
    return None


def at_random_job(site: Site, campaign: str, chance: random.Random) -> subprocess.Popen[str] | None:
    """Start the run of a removed campaign, and return it a moment after one of its jobs, chosen at random, began."""
    site.project.remove(campaign)
    process = site.project.start()
    wanted, seen = chance.randrange(site.reference.jobs[campaign]), set()
    while process.poll() is None:
        seen |= {job.processes[0].pid for job in jobs_in(site.project.folder)}
        if len(seen) > wanted:
            time.sleep(chance.uniform(0, _JOB_SECONDS))
            return process
        time.sleep(0.02)
    return None


def ended(site: Site, process: subprocess.Popen[str], rules: tuple[str, ...]) -> Event:
    """Wait for the end of a disturbed run and of everything that it left behind."""
    said = site.project.said(process)
    wait_until_quiet(site.project.folder, 300)
    return Event(rules, said)


def running_rules(site: Site) -> tuple[str, ...]:
    """Return the rules that run now."""
    return rules_in(site.project.folder)
