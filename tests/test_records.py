"""Records: written once, read back, rendered beside what was published."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from braggworks.errors import FileError
from braggworks.records import Record, format_number, read_records, render_table, stamp, write_records

FIELDS = "name value unit low high n published source command commit seed machine date"


def test_record_has_exactly_the_agreed_fields() -> None:
    assert [field.name for field in fields(Record)] == FIELDS.split(" ")


def test_round_trip(tmp_path: Path) -> None:
    records = stamp([Record("a.b", 0.5, "1", low=0.4, high=0.6, n=10), Record("c", None)], "braggworks report")
    write_records(tmp_path / "summary.json", records)
    assert read_records(tmp_path / "summary.json") == records
    assert records[0].command == "braggworks report"
    assert records[0].machine


def test_not_a_number_becomes_null() -> None:
    assert Record("a", float("nan"), low=float("inf")).value is None


def test_two_records_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="twice"):
        write_records(tmp_path / "x.json", [Record("a", 1), Record("a", 2)])
    assert not list(tmp_path.iterdir())


def test_foreign_json_is_no_record_file(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"records": [{"nome": 1}]}')
    with pytest.raises(FileError, match="holds no records"):
        read_records(tmp_path / "x.json")


def test_table_escapes_and_shows_published_beside_value() -> None:
    html = render_table([Record("a<b", 0.91234, published=0.95, source="x & y", low=0.9, high=0.92)])
    assert "a&lt;b" in html
    assert "<td>0.95</td><td>0.9123</td><td>0.9 – 0.92</td>" in html


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (3, "3"), (0.98765, "0.9877"), (1.5e-7, "1.50e-07"), (12345, "12\u2009345")]
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert format_number(value) == text
