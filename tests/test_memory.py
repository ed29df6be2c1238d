"""How much memory can be had, of a machine, a batch job and a process."""

from __future__ import annotations

import resource
from pathlib import Path

from braggworks import memory


def test_what_is_free_is_less_than_what_the_machine_has() -> None:
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    assert 0 < memory.free_memory() < int(total.split()[1]) * 1024


def test_a_job_s_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 100\n")
    assert memory._room(tmp_path) == 700
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._room(tmp_path) > 2**60
    assert memory._room(tmp_path / "none") > 2**60


def test_a_process_s_limit_counts() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    assert memory._process() > 2**60
    resource.setrlimit(resource.RLIMIT_AS, (2**40, before[1]))
    try:
        assert 0 < memory._process() < 2**40
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
