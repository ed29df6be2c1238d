"""Records: every number that the project publishes, where it comes from, and what was published before."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from braggworks.errors import FileError
from braggworks.files import read_json, write_json


@dataclass(frozen=True)
class Record:
    """One published number.

    Parameters
    ----------
    name
        Dotted name, such as ``inpaint.pcc.network.6px``; later runs keep it.
    value, unit
        The number and its unit; a ratio or a correlation has the unit ``1``.
    low, high
        Bounds of its 95 % interval.
    n
        How many samples it rests on.
    published, source
        What was published, and where.
    command, commit, seed, machine, date
        How it came about.
    """

    name: str
    value: float | int | None
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    published: float | str | None = None
    source: str | None = None
    command: str | None = None
    commit: str | None = None
    seed: int | None = None
    machine: str | None = None
    date: str | None = None

    def __post_init__(self) -> None:
        for field in ("value", "low", "high"):
            number = getattr(self, field)
            if number is not None and not math.isfinite(number):
                object.__setattr__(self, field, None)


def machine_description() -> str:
    """Return processor, cores in use and operating system, in one line."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = models[0] if models else processor
    return f"{processor}, {len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.release()}"


def current_commit() -> str | None:
    """Return the git commit of the working folder, with ``+changes`` where files differ; None outside a checkout.

    Records themselves do not count, so that one benchmark after another is stamped with the commit that was measured.
    Where `braggworks run` told it in BRAGGWORKS_COMMIT, as to jobs in containers, which have no git, that is taken.
    """
    if told := os.environ.get("BRAGGWORKS_COMMIT"):
        return told
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=30)
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+changes" if status.stdout.strip() else "")


def stamp(records: Iterable[Record], command: str) -> list[Record]:
    """Return the records with command, commit, machine and date filled in where they are empty."""
    commit, machine = current_commit(), machine_description()
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        replace(
            record,
            command=record.command or command,
            commit=record.commit or commit,
            machine=record.machine or machine,
            date=record.date or date,
        )
        for record in records
    ]


def write_records(path: str | Path, records: Sequence[Record]) -> None:
    """Write ``{"records": [...]}``, completely or not at all.

    Raises
    ------
    ValueError
        If two records share a name.
    """
    names = [record.name for record in records]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"records named twice: {', '.join(twice)}")
    write_json(path, {"records": [asdict(record) for record in records]})


def read_records(path: str | Path) -> list[Record]:
    """Read what `write_records` wrote. Raises `FileError` for anything else."""
    try:
        return [Record(**entry) for entry in read_json(path)["records"]]
    except (KeyError, TypeError) as error:
        raise FileError(f"{path} holds no records ({error}): delete it and make it again.") from None


def format_number(value: float | int | str | None) -> str:
    """Return a number with the digits that a reader wants; an empty string for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e6):
        return f"{int(value):,}".replace(",", "\N{THIN SPACE}")
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e5 else f"{value:.2e}"


def render_table(records: Sequence[Record]) -> str:
    """Return the HTML table "published beside reproduced"."""
    head = ("record", "published", "reproduced", "95 % interval", "n", "unit", "source")
    rows = []
    for record in records:
        interval = (
            f"{format_number(record.low)} – {format_number(record.high)}"
            if record.low is not None and record.high is not None
            else ""
        )
        cells = (
            record.name,
            format_number(record.published),
            format_number(record.value),
            interval,
            format_number(record.n),
            record.unit if record.unit != "1" else "",
            record.source,
        )
        rows.append("<tr>" + "".join(f"<td>{escape(cell or '')}</td>" for cell in cells) + "</tr>")
    header = "".join(f"<th>{name}</th>" for name in head)
    return f"<table class='records'><thead><tr>{header}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
