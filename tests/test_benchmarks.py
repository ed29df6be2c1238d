"""Benchmarks read what stages write: each of them on a few particles, so that a change of format is noticed."""

from __future__ import annotations

import sys

import pytest
from workflow_project import ROOT, needs_environments

pytestmark = pytest.mark.slow


@needs_environments
def test_families_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    from benchmarks import families

    monkeypatch.setattr(families, "REPEATS", 1)
    cases = {"polygon2d": ("polygon2d-inpaint", 3), "autophasenn": ("autophasenn-test", 1)}
    records = {record.name: record for record in families.measure(cases)}
    shares = [record.value for name, record in records.items() if name.startswith("dataset.share.autophasenn.")]
    assert len(shares) == 4
    assert sum(shares) == pytest.approx(1)
    assert records["dataset.rate.polygon2d"].n == 3
    assert records["dataset.rate.autophasenn"].value > 0
