"""What every kind of fault has: a name, what it does, where it applies, and the documented way back."""

from __future__ import annotations

import contextlib
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
    hit
        Whether the fault met something; a run that was over before is no injection, but is judged all the same.
    """

    rules: tuple[str, ...]
    said: Said | None = None
    damaged: tuple[Path, ...] = ()
    hit: bool = True


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
        Disturbs a campaign; None where it cannot.
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


def at_random_moment(site: Site, campaign: str, chance: random.Random) -> subprocess.Popen[str]:
    """Start the run of a removed campaign; return it while it plans or, mostly, works, or when it is over."""
    if chance.random() >= _PLANNING:
        return at_random_job(site, campaign, chance)
    site.project.remove(campaign)
    process = site.project.start()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(chance.uniform(0.2, 4))
    return process


def at_random_job(site: Site, campaign: str, chance: random.Random) -> subprocess.Popen[str]:
    """Start the run of a removed campaign; return it a moment after one of its jobs, chosen at random, began."""
    site.project.remove(campaign)
    process = site.project.start()
    wanted, seen = chance.randrange(site.reference.jobs[campaign]), set()
    while process.poll() is None:
        seen |= {job.processes[0].pid for job in jobs_in(site.project.folder)}
        if len(seen) > wanted:
            time.sleep(chance.uniform(0, _JOB_SECONDS))
            break
        time.sleep(0.1)
    return process


def is_over(process: subprocess.Popen[str]) -> bool:
    """Return whether a run has ended."""
    return process.poll() is not None


def missed(site: Site, process: subprocess.Popen[str]) -> Event:
    """Let a run end that no fault has met."""
    event = ended(site, process, ())
    event.hit = False
    return event


def unless_unmoved(event: Event) -> Event:
    """Return the event of a fault that shows in the run's end, as no hit where the run ended well."""
    event.hit = event.said is None or event.said.code != 0
    return event


def ended(site: Site, process: subprocess.Popen[str], rules: tuple[str, ...]) -> Event:
    """Wait for the end of a disturbed run and of everything that it left behind."""
    said = site.project.said(process)
    wait_until_quiet(site.project.folder, 300)
    return Event(rules, said)


def running_rules(site: Site) -> tuple[str, ...]:
    """Return the rules that run now."""
    return rules_in(site.project.folder)
