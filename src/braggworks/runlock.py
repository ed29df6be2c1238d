"""One run at a time in a results folder, and whether the last one was cut off."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from braggworks.errors import UserError


@dataclass(frozen=True)
class RunLock:
    """A held lock.

    Parameters
    ----------
    descriptor
        File descriptor to pass to a child that works on: the lock lasts until the last holder ends, however it ends.
    cut_off
        Whether the run before ended without saying so, for example by SIGKILL.
    """

    descriptor: int
    cut_off: bool


@contextlib.contextmanager
def hold_run_lock(path: str | Path) -> Iterator[RunLock]:
    """Hold the lock of a results folder.

    Parameters
    ----------
    path
        File that carries the lock; it holds text while a run is on.

    Raises
    ------
    UserError
        If another run holds it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"Another run is at work in {path.parent}: wait until it has ended.") from None
        stream.seek(0)
        cut_off = bool(stream.read())
        stream.write("a run is on\n")
        stream.flush()
        try:
            yield RunLock(stream.fileno(), cut_off)
        finally:
            stream.truncate(0)
