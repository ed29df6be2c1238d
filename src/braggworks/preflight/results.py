"""Whether the results' folder can be written, before and while a run writes into it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from braggworks.config import Config
from braggworks.errors import FileError, UserError
from braggworks.files import check_writable


def check_results(config: Config) -> None:
    """Make the results' folder. Raises `UserError` where it is full, read-only, or someone else's.

    It comes last of the checks, so that a refused run leaves no folder behind.
    """
    check_writable(config.results)


def folder_identity(folder: str | Path) -> tuple[int, int] | None:
    """Return what tells a folder from another one that is mounted at its place later; None where there is none."""
    try:
        status = Path(folder).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def watch_results(lock_file: str | Path, descriptor: int, planned: tuple[int, int] | None = None) -> Iterator[None]:
    """Say so where a run ends badly because of the disk: its jobs cannot, if their logs lie on it.

    Parameters
    ----------
    lock_file
        The run's lock in the results' folder.
    descriptor
        The open lock.
    planned
        `folder_identity` of the folder that the run was planned for.

    Raises
    ------
    FileError
        If the disk is full, read-only, or is not the one that the run began on.
    """
    if planned is not None and folder_identity(Path(lock_file).parent) != planned:
        raise _gone(Path(lock_file).parent)
    try:
        yield
    except (UserError, OSError):
        _check_same(Path(lock_file), descriptor)
        check_writable(Path(lock_file).parent)
        raise
    _check_same(Path(lock_file), descriptor)


def _check_same(lock_file: Path, descriptor: int) -> None:
    with contextlib.suppress(OSError):
        if os.path.samestat(lock_file.stat(), os.fstat(descriptor)):
            return
    raise _gone(lock_file.parent)


def _gone(folder: Path) -> FileError:
    return FileError(
        f"The file system that holds {folder} went away while the run was on: mount it again and run the same command "
        "again."
    )
