"""How much memory can be had."""

from __future__ import annotations

import os
import resource
from pathlib import Path

_KNOWN = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 2**63 - 1


def free_memory() -> int:
    """Return bytes that can be had here: of the machine, of a batch job or container, and of a `ulimit -v`."""
    return max(0, min(_machine(), _group(), _process()))


def _machine() -> int:
    """Return what is available; what the system keeps of files, it gives back."""
    for line in _KNOWN.read_text().splitlines() if _KNOWN.exists() else []:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _group() -> int:
    """Return what the process's control group (version 2) and those around it, as a batch job's, leave."""
    own = next((line[3:] for line in _lines(Path("/proc/self/cgroup")) if line.startswith("0::")), "/").strip("/")
    parts = Path(own).parts
    return min(_room(_GROUP.joinpath(*parts[:depth])) for depth in range(len(parts) + 1))


def _room(group: Path) -> int:
    limit, used = ("".join(_lines(group / name)) for name in ("memory.max", "memory.current"))
    kept = next((line.split()[1] for line in _lines(group / "memory.stat") if line.startswith("inactive_file ")), "0")
    if not (limit.isdigit() and used.isdigit()):
        return _UNLIMITED
    return int(limit) - int(used) + int(kept)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _process() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return _UNLIMITED
    pages = next(iter(_lines(Path("/proc/self/statm"))), "0").split()[0]
    return soft - int(pages) * os.sysconf("SC_PAGE_SIZE")
