"""One run at a time in a results folder, and which run was cut off before."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from braggworks.errors import UserError

_RUN = re.compile(r"^(braggworks-[0-9a-f]{12}) ([a-z-]{1,40})(?: (\d{1,10}) (\S{1,255}))?\n$")
_LONGEST = 1000


class RunLock:
    """A held lock, whose file holds the name of the run that is on.

    Parameters
    ----------
    stream
        The open and locked file.
    executor
        Where this run's jobs run.

    Attributes
    ----------
    name
        This run's name, which the names of its cluster jobs begin with.
    cut_off
        Whether the run before ended without saying so, for example by SIGKILL.
    former
        Name and executor of the run that was cut off, where it left them.
    """

    def __init__(self, stream: TextIO, executor: str) -> None:
        self._stream = stream
        self._ended = True
        self.name = f"braggworks-{secrets.token_hex(6)}"
        self.executor = executor
        stream.seek(0)
        text = stream.read(_LONGEST)
        match = _RUN.match(text)
        self.cut_off = bool(text)
        self.former = (match[1], match[2]) if match else None
        if not text:
            self.sign()

    @property
    def descriptor(self) -> int:
        """File descriptor to pass to a child: the lock lasts until the last holder ends, however it ends."""
        return self._stream.fileno()

    def sign(self) -> None:
        """Put this run's name into the file, once nothing is left of the run that was cut off."""
        self._stream.truncate(0)
        self._stream.write(f"{self.name} {self.executor} {os.getpid()} {socket.gethostname()}\n")
        self._stream.flush()
        self.cut_off, self.former, self._ended = False, None, True

    def leave(self) -> None:
        """Let the next run find the file as it is, because not everything of this run has ended."""
        self._ended = False

    def close(self) -> None:
        """Empty the file, unless something of a run may be left."""
        if self._ended and not self.cut_off:
            self._stream.truncate(0)


@contextlib.contextmanager
def hold_run_lock(path: str | Path, executor: str = "local") -> Iterator[RunLock]:
    """Hold the lock of a results folder.

    Parameters
    ----------
    path
        File that carries the lock.
    executor
        Where the run's jobs will run; a later run asks there for what is left of this one.

    Raises
    ------
    UserError
        If another run holds it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"Another run is at work in {path.parent}{_whose(stream)}: wait until it has ended."
            ) from None
        lock = RunLock(stream, executor)
        try:
            yield lock
        finally:
            lock.close()


def left_run(path: str | Path) -> tuple[str, str] | None:
    """Return the name and the executor of the run that a lock's file names; None where it names none."""
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as stream:
            match = _RUN.match(stream.read(_LONGEST))
    except OSError:
        return None
    return (match[1], match[2]) if match else None


def _whose(stream: TextIO) -> str:
    """Return who holds a lock, in words; nothing where its file does not say."""
    stream.seek(0)
    match = _RUN.match(stream.read(_LONGEST))
    return f" (process {match[3]} on {match[4]}, or what it started)" if match and match[3] else ""
