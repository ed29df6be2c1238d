"""From what a network for reciprocal-space phases reached to its records."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from braggworks.records import Record
from braggworks.reporting.gather import beside_of
from braggworks.reporting.published import RSP_WCA

if TYPE_CHECKING:
    import xarray as xr

_SUCCESS = re.compile(r"sweep\.phasing\.(ranges-)?(?P<kind>[\w-]+)\.(?P<range>\d+\.\d)rad\.(?P<method>\w+)\.success")
_SCORES = (("wca", "1"), ("wca_log_intensity", "1"), ("accuracy", "%"), ("likeness", "1"))


def phase_records(evaluation: xr.Dataset, gate: dict[str, Any]) -> list[Record]:
    """Return the mean scores of the network and of a phase of 0, and the margin between their losses."""
    seed, n = int(evaluation.attrs["seed"]), int(evaluation.attrs["n"])
    records = [Record("phase.evaluation.particles", int(evaluation.attrs["particles"]), "particles")]
    for method in map(str, evaluation["method"].values):
        at = evaluation.sel({"method": method})
        for score, unit in _SCORES:
            mean, low, high = (float(at[f"{score}_{part}"]) for part in ("mean", "low", "high"))
            beside = beside_of(RSP_WCA) if (score, method) == ("wca", "network") else {}
            name = f"phase.{score}.{_slug(method)}"
            records.append(Record(name, mean, unit, low=low, high=high, n=n, seed=seed, **beside))
    found, true = evaluation["isotropy"].sel({"method": "network"}).values, evaluation["true_isotropy"].values
    records.append(Record("phase.isotropy.excess", float((found - true).mean()), "1", n=n))
    if gate.get("margin") is not None:
        interval = {key: gate[key] for key in ("low", "high", "n", "seed")}
        records.append(Record("phase.margin", gate["margin"], "1", **interval))
    return records


def phase_study_records(study: str, evaluations: Mapping[str, xr.Dataset]) -> list[Record]:
    """Return mean loss, accuracy and isotropy of the variants and a phase of 0, and the isotropy of the truth."""
    records = []
    shown = {variant: (data, "network") for variant, data in evaluations.items()}
    if evaluations:
        first = next(iter(evaluations.values()))
        true = first["true_isotropy"].values
        records.append(Record(f"study.{study}.truth.isotropy", float(true.mean()), "1", n=len(true)))
        shown["flat-phase"] = first, "flat phase"
    for variant, (data, method) in shown.items():
        at, seed, n = data.sel({"method": method}), int(data.attrs["seed"]), int(data.attrs["n"])
        for score, unit in (("wca", "1"), ("accuracy", "%"), ("isotropy", "1")):
            mean, low, high = (float(at[f"{score}_{part}"]) for part in ("mean", "low", "high"))
            records.append(Record(f"study.{study}.{variant}.{score}", mean, unit, low=low, high=high, n=n, seed=seed))
    return records


def phasing_records(sweep: xr.Dataset) -> list[Record]:
    """Return accuracy and success of every method by group of phase ranges, and the gain of the refined network."""
    records: list[Record] = []
    stem, n = f"sweep.phasing.{sweep.attrs['campaign']}", int(sweep.attrs["n"]) // sweep.sizes["group"]
    for group, at in enumerate(float(value) for value in sweep["range_mean"].values):
        here = sweep.isel(group=group)
        for method in map(str, sweep["method"].values):
            found = here.sel({"method": method})
            name = f"{stem}.{at:.1f}rad.{_slug(method)}"
            mean, low, high = (float(found[f"accuracy_{part}"]) for part in ("mean", "low", "high"))
            records.append(Record(f"{name}.accuracy", mean, "%", low=low, high=high, n=n))
            share, low, high = (float(found[part]) for part in ("success", "success_low", "success_high"))
            records.append(Record(f"{name}.success", share, "1", low=low, high=high, n=n))
        for gain in ("gain", "gain_either", "gain_alike"):
            mean, low, high = (float(here[gain + part]) for part in ("", "_low", "_high"))
            records.append(Record(f"{stem}.{at:.1f}rad.{gain}", mean, "%", low=low, high=high, n=n))
    return records


def shell_records(sweep: xr.Dataset) -> list[Record]:
    """Return the mean loss of every shell, by what its patches are given."""
    stem, n = f"sweep.shells.{sweep.attrs['campaign']}", int(sweep.attrs["n"])
    records = []
    for given in map(str, sweep["given"].values):
        for shell in map(int, sweep["shell"].values):
            at = sweep.sel({"given": given, "shell": shell})
            mean, low, high = (float(at[part]) for part in ("mean", "low", "high"))
            records.append(Record(f"{stem}.{_slug(given)}.shell{shell}", mean, "1", low=low, high=high, n=n))
    return records


def step_records(sweep: xr.Dataset) -> list[Record]:
    """Return the mean accuracy and loss of every step."""
    stem, n = f"sweep.steps.{sweep.attrs['campaign']}", sweep.sizes["particle"]
    records = []
    for step in map(int, sweep["step"].values):
        here = sweep.sel(step=step)
        for score, unit in (("accuracy", "%"), ("wca", "1")):
            mean, low, high = (float(here[f"{score}_{part}"]) for part in ("mean", "low", "high"))
            name = f"{stem}.{float(here['phase_range'].mean()):.1f}rad.{score}"
            records.append(Record(name, mean, unit, low=low, high=high, n=n))
    return records


def success_rows(records: Iterable[Record]) -> list[dict[str, str]]:
    """Return a table of the success of every method: by kind of phase and mean range, with 95 % intervals.

    A dash stands where a method was not measured.

    Parameters
    ----------
    records
        With those of `phasing_records` among them.
    """
    rows: dict[tuple[str, float], dict[str, str]] = {}
    for record in records:
        if found := _SUCCESS.fullmatch(record.name):
            about = {"phases": found["kind"].replace("-", " "), "mean range (rad)": found["range"], "n": str(record.n)}
            row = rows.setdefault((found["kind"], float(found["range"])), about)
            share, low, high = (100 * (value or 0.0) for value in (record.value, record.low, record.high))
            row[found["method"].replace("_", " ")] = f"{share:.0f} % ({low:.0f}–{high:.0f})"
    columns = dict.fromkeys(name for row in rows.values() for name in row)
    return [{name: rows[key].get(name, "–") for name in columns} for key in sorted(rows)]


SWEEPS: dict[str, Callable[[xr.Dataset], list[Record]]] = {
    "phasing": phasing_records,
    "shells": shell_records,
    "steps": step_records,
}
"""Sweeps of networks for phases, by their kind."""


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower())
