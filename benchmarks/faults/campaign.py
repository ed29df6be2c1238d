"""A whole benchmark: a seeded list of injections, one after the other, each judged and kept as it is done."""

from __future__ import annotations

import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.faults.kinds import FAULTS, Event, Fault
from benchmarks.faults.modes import MODES
from benchmarks.faults.project import SEED
from benchmarks.faults.site import Site
from braggworks.records import Record

_PROGRESS = "progress.json"
# A run may be over before the fault comes; the next moment is another one.
_ATTEMPTS = 12


@dataclass
class Outcome:
    """One injection and what became of it.

    Parameters
    ----------
    kind, number, campaign, rules
        What was disturbed, and which of Snakemake's rules the fault hit.
    code, sentence
        How the disturbed command ended.
    clear
        Whether a person saw the sentence that the kind promises: one line, no traceback, an exit code above 0.
    torn
        Files under a final name that were neither whole nor damaged on purpose.
    recovered
        Whether the documented recovery ended well, and `braggworks verify` after it.
    silent
        Files that were missing or wrong although the disturbed run had ended well.
    differing
        Files that differ from the undisturbed run's in the end.
    wrong
        Samples lost, doubled, changed or foreign in the end.
    """

    kind: str
    number: int
    campaign: str
    rules: list[str]
    code: int | None = None
    sentence: str = ""
    clear: bool = True
    torn: list[str] = field(default_factory=list)
    recovered: bool = True
    silent: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    wrong: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def applicable(site: Site, kinds: Iterable[str] = FAULTS) -> list[Fault]:
    """Return the faults that can be injected here."""
    found = [FAULTS[kind] for kind in kinds]
    return [fault for fault in found if site.mode.name in fault.modes and (site.mounted or not fault.needs_mount)]


def plan(faults: list[Fault], share: float = 1.0) -> list[tuple[Fault, int]]:
    """Return every injection, shuffled in rounds of all kinds, so that a part of them is a sample of all kinds."""
    found = [(fault, number) for fault in faults for number in range(max(1, round(fault.count * share)))]
    random.Random(f"{SEED} order").shuffle(found)
    return sorted(found, key=lambda item: item[1])


def inject(site: Site, fault: Fault, number: int) -> Outcome | None:
    """Inject one fault, recover as documented, and judge; None where it never met anything.

    A run that ended well although a file is missing or wrong is an outcome, whether the fault met something or not; so
    is a fault or a recovery that hangs or crashes.
    """
    start = time.monotonic()
    for attempt in range(_ATTEMPTS):
        chance = random.Random(f"{SEED} {site.mode.name} {fault.name} {number} {attempt}")
        outcome = Outcome(fault.name, number, chance.choice(site.project.names), [])
        try:
            event = fault.inject(site, outcome.campaign, chance)
            done = event is not None and _judge(site, fault, event, outcome)
        except Exception as error:
            outcome.recovered, outcome.sentence = False, f"{outcome.sentence} | {error!r}"[:500]
            outcome.differing, outcome.wrong = site.differing(), site.wrong()
            site.restore()
            done = True
        if done:
            outcome.seconds = round(time.monotonic() - start, 1)
            return outcome
        if site.differing():  # what was removed for this attempt was not made again
            site.reset()
    return None


def _judge(site: Site, fault: Fault, event: Event, outcome: Outcome) -> bool:
    """Recover and compare; return whether this counts as an injection."""
    outcome.rules = list(event.rules)
    if event.damaged:
        outcome.campaign = event.damaged[0].relative_to(site.project.results).parts[1]
    ended_well = event.said is not None and event.said.code == 0
    if ended_well and not event.damaged:
        outcome.silent = site.differing()
        if not outcome.silent and not (event.hit and site.mode.retries):
            return False
    if event.said is not None:
        outcome.code, outcome.sentence = event.said.code, event.said.sentence[:300]
        if fault.sentence is not None:
            said = event.said.sentence
            told = re.search(fault.sentence, said) and said.startswith("braggworks ")
            promised = bool(told) and event.said.code > 0 and "Traceback" not in event.said.text
            outcome.clear = promised or (ended_well and not event.damaged)
    if outcome.silent:
        outcome.wrong = site.wrong()
        site.reset()
        return True
    outcome.torn = site.torn(event.damaged)
    fault.recover(site, event)
    outcome.recovered = site.project.verb("scatter", "verify", "results").code == 0
    outcome.differing, outcome.wrong = site.differing(), site.wrong()
    if outcome.differing or not outcome.recovered:
        site.reset()  # the next injection starts from a sound dataset
    return True


@dataclass(frozen=True)
class Done:
    """How far a benchmark is.

    Parameters
    ----------
    outcomes
        Of all injections that are done.
    missed
        Injections that never met anything.
    left
        Injections that are still to be done.
    """

    outcomes: list[Outcome]
    missed: int = 0
    left: int = 0


def run(mode: str, folder: Path, *, kinds: Iterable[str] = FAULTS, minutes: float = 1e9, share: float = 1.0) -> Done:
    """Inject what is still to be injected, for some minutes; return what is done by this call and those before it."""
    end = time.monotonic() + 60 * minutes
    with Site(MODES[mode], folder) as site:
        site.prepare()
        todo = plan(applicable(site, kinds), share)
        kept: dict[str, Any] = site.project.read_state(_PROGRESS) or {}
        interval = 0.1 if sys.stderr.isatty() else 10
        with tqdm(todo, desc=f"faults {mode}", unit="fault", mininterval=interval) as bar:
            for fault, number in bar:
                key = f"{fault.name} {number}"
                if key in kept or time.monotonic() > end:
                    continue
                bar.set_postfix_str(fault.name)
                outcome = inject(site, fault, number)
                kept[key] = asdict(outcome) if outcome else None
                site.project.write_state(_PROGRESS, kept)
        wanted = [f"{fault.name} {number}" for fault, number in todo]
    found = [Outcome(**kept[key]) for key in wanted if kept.get(key)]
    missed = sum(key in kept and kept[key] is None for key in wanted)
    return Done(found, missed, sum(key not in kept for key in wanted))


def records(mode: str, done: Done) -> Iterator[Record]:
    """Yield the numbers of a benchmark."""
    start = "faults." if mode == "local" else f"faults.{mode}."
    outcomes = done.outcomes
    total, kinds = len(outcomes), Counter(outcome.kind for outcome in outcomes)
    planned = total + done.missed + done.left

    def record(name: str, value: float, unit: str, source: str) -> Record:
        return Record(f"{start}{name}", value, unit, n=total, seed=SEED, source=source)

    wrong = Counter[str]()
    for outcome in outcomes:
        wrong.update(outcome.wrong)
    told = f"mode {mode}; {planned} planned; delays, files and bits drawn from the seed"
    yield record("injected", total, "faults", told)
    yield record("missed", done.missed, "faults", f"of {planned}, the run was over before each of {_ATTEMPTS} attempts")
    yield record("kinds", len(kinds), "kinds", ", ".join(sorted(kinds)))
    parts = ", ".join(f"{number} {name}" for name, number in sorted(wrong.items()))
    yield record(
        "samples_wrong",
        sum(wrong.values()),
        "samples",
        f"lost, doubled, changed and foreign in sum, after the documented recovery: {parts}",
    )
    for name, what, bad in _QUESTIONS:
        found = Counter(outcome.kind for outcome in outcomes if bad(outcome))
        yield record(name, sum(found.values()), "faults", f"{what}: {_list(found) or 'none'}")
    for kind in sorted(kinds):
        mine = [outcome for outcome in outcomes if outcome.kind == kind]
        hit = Counter(rule for outcome in mine for rule in outcome.rules)
        about = f"{FAULTS[kind].what}; hit {_list(hit)}"
        yield Record(f"{start}kind.{kind}", len(mine), "faults", n=len(mine), seed=SEED, source=about)


_QUESTIONS: tuple[tuple[str, str, Callable[[Outcome], bool]], ...] = (
    ("silent", "whose run ended well with a file missing or wrong", lambda outcome: bool(outcome.silent)),
    ("files_differing", "with a file that differs in the end", lambda outcome: bool(outcome.differing)),
    ("torn", "with a half-written file under a final name", lambda outcome: bool(outcome.torn)),
    ("not_recovered", "after which the documented recovery failed", lambda outcome: not outcome.recovered),
    ("unclear", "without the promised sentence, or with a traceback", lambda outcome: not outcome.clear),
)


def _list(found: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(found.items()))
