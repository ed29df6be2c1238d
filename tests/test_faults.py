"""One fault of every kind on this machine: what a person sees, and the same samples after the documented recovery."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from workflow_project import ROOT, needs_environments

pytest.importorskip("psutil", reason="processes are found with psutil")
pytestmark = [pytest.mark.slow, pytest.mark.alone, needs_environments]
sys.path.insert(0, str(ROOT))

from benchmarks.faults.campaign import Done, Outcome, applicable, inject, records  # noqa: E402
from benchmarks.faults.kinds import FAULTS  # noqa: E402
from benchmarks.faults.kinds.base import Event, Fault  # noqa: E402
from benchmarks.faults.modes import MODES  # noqa: E402
from benchmarks.faults.samples import wrong_samples  # noqa: E402
from benchmarks.faults.site import Site  # noqa: E402


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two families, with atoms and without, and an undisturbed run of them."""
    with Site(MODES["local"], tmp_path_factory.mktemp("faults"), ("fault-cubes", "fault-scan")) as found:
        try:
            found.prepare()
            yield found
        finally:
            found.unmount()


@pytest.mark.parametrize("kind", [fault.name for fault in FAULTS.values() if "local" in fault.modes])
def test_a_fault_is_told_and_its_recovery_gives_the_same_samples(site: Site, kind: str) -> None:
    if FAULTS[kind] not in applicable(site):
        pytest.skip("file systems cannot be mounted here, which needs root")
    outcome = inject(site, FAULTS[kind], 0)
    assert outcome is not None, "the run was over before every fault"
    assert outcome.clear, outcome.sentence
    assert outcome.torn == []
    assert outcome.recovered, outcome.sentence
    assert outcome.differing == []
    assert sum(outcome.wrong.values()) == 0, outcome.wrong


def lose_and_say_nothing(site: Site, campaign: str, chance: object) -> Event:
    """Remove a shard behind the back of a run that ends well."""
    said = site.project.run()
    (site.project.folder / site.project.shards[0]).unlink()
    return Event(("shard",), said, hit=False)


def crash(site: Site, *rest: object) -> None:
    raise subprocess.TimeoutExpired("run", 900)


def test_a_loss_that_nobody_tells_is_an_outcome(site: Site) -> None:
    outcome = inject(site, Fault("silent", "a test", 1, lose_and_say_nothing), 0)
    assert outcome is not None
    assert outcome.silent == [site.project.shards[0].removeprefix("results/")]
    assert outcome.wrong["lost"] > 0
    assert site.differing() == []


@pytest.mark.parametrize("part", ["inject", "recover"])
def test_a_fault_or_recovery_that_hangs_is_an_outcome(site: Site, part: str) -> None:
    parts = {"inject": lambda site, campaign, chance: Event((), site.project.verb("scatter", "none"))}
    outcome = inject(site, Fault("hang", "a test", 1, **{**parts, part: crash}), 0)
    assert outcome is not None
    assert not outcome.recovered
    assert "TimeoutExpired" in outcome.sentence
    assert site.differing() == []


def test_lost_doubled_and_changed_samples_are_counted() -> None:
    wanted = {("c", particle, 0, 0): [f"hash {particle}"] for particle in range(4)}
    found = {("c", 0, 0, 0): ["hash 0", "hash 0"], ("c", 1, 0, 0): ["other"], ("c", 3, 0, 0): ["hash 3"]}
    found["c", 9, 0, 0] = ["hash 9"]
    assert wrong_samples(wanted, found) == {"lost": 1, "doubled": 1, "changed": 1, "foreign": 1}
    assert not any(wrong_samples(wanted, wanted).values())


def test_every_wrong_thing_is_in_the_records() -> None:
    good = Outcome("kill_job", 0, "c", ["relax_batch"], 2, "sentence")
    bad = Outcome("time", 0, "c", ["relax_batch"], 1, "", clear=False, torn=["a"], recovered=False, differing=["a"])
    bad.wrong, bad.silent = {"lost": 2, "changed": 1}, ["b"]
    values = {record.name: record.value for record in records("local", Done([good, bad], missed=1))}
    assert values["faults.injected"] == values["faults.kinds"] == 2
    assert values["faults.samples_wrong"] == 3
    assert values["faults.missed"] == 1
    names = ("silent", "torn", "not_recovered", "unclear", "files_differing")
    assert [values[f"faults.{name}"] for name in names] == [1] * 5


def test_docs_name_every_kind() -> None:
    text = (Path(ROOT) / "docs" / "recovery.md").read_text()
    assert [fault.name for fault in FAULTS.values() if f"`{fault.name}`" not in text] == []
