"""Writing without half-written files, and reading HDF5 with errors that a person can act on."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import io
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braggworks.errors import FileError

if TYPE_CHECKING:
    import h5py

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_GONE = {errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.ENODEV, errno.ENXIO, errno.EHOSTDOWN, errno.ETIMEDOUT}
# A temporary file of another machine is taken for that of a dead process when it is older than any job.
_OLD_SECONDS = 7 * 86_400
# What a log and a small file take.
_SMALL_BYTES = 1 << 17


class _Disk(io.FileIO):
    """File for HDF5, which crashes when a write fails: the first failure is kept, and raised when HDF5 is done."""

    failure: BaseException | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        try:
            while self.failure is None and done < len(view):
                done += super().write(view[done:]) or 0
        except BaseException as error:  # an interrupt inside HDF5's call crashes it, too
            self.failure = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

    def __exit__(self, *_: object) -> None:
        self.close()
        if self.failure:
            raise self.failure


@contextlib.contextmanager
def atomic_path(final: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `final`, renamed to `final` when the block ends well and removed when it does not.

    Parameters
    ----------
    final
        The path that shall hold the complete file; its folder is made.

    Raises
    ------
    FileError
        If the disk is full, the folder cannot be written, or the path is that of a folder, device or the like.
    """
    # What a link points to is written, and the link stays.
    final = Path(final).resolve()
    if final.exists() and not final.is_file():
        raise FileError(f"{final} is no file that can be replaced: choose another path.")
    # Two machines may write into one folder, and their processes may have the same number.
    temporary = final.with_name(f".{final.name}.{platform.node()}.{os.getpid()}.part")
    try:
        _make_folder(final.parent)
        _remove_leftovers(final)
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(final)
        _sync_folder(final.parent)
    except OSError as error:
        raise _explain_write_error(error, final, temporary) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Bring a new name to the disk, where the file system knows how."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise FileError(f"{folder} is no folder and cannot become one: choose another output folder.") from None


def _remove_leftovers(final: Path) -> None:
    """Remove temporary files of processes that were killed while they wrote `final`."""
    head, tail = f".{final.name}.", ".part"
    for path in final.parent.glob(f"{glob.escape(head)}*{tail}"):
        node, _, number = path.name[len(head) : -len(tail)].rpartition(".")
        if not number.isdigit():
            continue
        with contextlib.suppress(OSError):
            here = node == platform.node()
            dead = not Path(f"/proc/{number}").exists() if here else time.time() - path.stat().st_mtime > _OLD_SECONDS
            if dead:
                path.unlink()


def _explain_write_error(error: OSError, final: Path, temporary: Path) -> Exception:
    sentence = disk_sentence(error, final.parent)
    if sentence is None and temporary.name in str(error):
        sentence = f"{final} cannot be written ({os.strerror(error.errno or errno.EIO)}): choose another path."
    if error.errno in {errno.EACCES, errno.EPERM}:
        sentence = _read_only(error, final.parent)
    elif error.errno == errno.ENOENT and not final.parent.exists():
        sentence = _gone(final.parent)
    return error if sentence is None else FileError(sentence)


def disk_sentence(error: OSError, folder: str | Path) -> str | None:
    """Return what a person can do about a disk that fails; None where the error is no such failure.

    Parameters
    ----------
    error
        What a write, or a read, raised.
    folder
        Where.
    """
    text = str(error)
    if error.errno in _FULL or any(os.strerror(code) in text for code in _FULL):
        return f"The disk that holds {folder} is full: free some space and run the same command again."
    if error.errno == errno.EROFS:
        return _read_only(error, folder)
    return _gone(folder) if error.errno in _GONE else None


def _read_only(error: OSError, folder: str | Path) -> str:
    return (
        f"{folder} cannot be written ({os.strerror(error.errno or 0)}): make it writable and run the same command "
        "again, or choose another output folder."
    )


def _gone(folder: str | Path) -> str:
    return f"The file system that holds {folder} went away: mount it again and run the same command again."


def check_writable(folder: str | Path) -> None:
    """Raise `FileError` where a folder cannot take even a small file; it is made where it is missing.

    Raises
    ------
    FileError
        If the disk is full, read-only, gone, or the folder belongs to someone else.
    """
    with atomic_path(Path(folder) / ".space") as temporary:
        temporary.write_bytes(bytes(_SMALL_BYTES))
    Path(folder, ".space").unlink(missing_ok=True)


def write_text(final: str | Path, text: str) -> None:
    """Write a text file completely or not at all."""
    with atomic_path(final) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(final: str | Path, value: Any) -> None:
    """Write JSON with sorted keys and a final newline, completely or not at all."""
    write_text(final, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    FileError
        If it is missing or is no JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileError(f"{path} does not exist: check the path, or run the stage that writes it.") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FileError(f"{path} is not valid JSON ({error}): delete it and run the stage that writes it.") from None


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def create_h5(final: str | Path, kind: str, **attributes: Any) -> Iterator[h5py.File]:
    """Open a new HDF5 file that takes its final name only when it is complete.

    Parameters
    ----------
    final
        Path of the complete file.
    kind
        What the file holds (``particles``, ``relaxed``, ``patterns``, ``shard``, ``scan``); kept as a root attribute.
    **attributes
        Further root attributes; dictionaries are kept as JSON.

    Raises
    ------
    FileError
        If the disk is full or the folder cannot be written.
    """
    import h5py

    with (
        atomic_path(final) as temporary,
        _Disk(temporary, "w+") as disk,
        h5py.File(disk, "w", libver=("v110", "v110"), track_order=False) as file,
    ):
        file.attrs["kind"] = kind
        for name, value in attributes.items():
            file.attrs[name] = json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
        yield file


@contextlib.contextmanager
def open_h5(path: str | Path, kind: str | None = None) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Parameters
    ----------
    path
        The file.
    kind
        What it must hold (see `create_h5`); ``None`` accepts any HDF5 file.

    Raises
    ------
    FileError
        If it is missing, truncated, damaged, no HDF5 file, or of another kind.
    """
    import h5py

    path = Path(path)
    if not path.exists():
        raise FileError(f"{path} does not exist: check the path, or run the stage that writes it.")
    try:
        file = h5py.File(path, "r")
        found = file.attrs.get("kind")
        found = found.decode(errors="replace") if isinstance(found, bytes) else found
    except (OSError, KeyError, RuntimeError) as error:
        raise FileError(
            f"{path} is truncated or is no HDF5 file ({str(error).splitlines()[0]}): copy it or make it again."
        ) from None
    with file:
        if kind is not None and found != kind:
            raise FileError(f"{path} holds {found or 'unknown data'}, not {kind}: give a file of the right stage.")
        try:
            yield file
        except OSError as error:
            if error.errno is not None or "read" not in str(error):
                raise
            raise FileError(f"{path} is damaged ({str(error).splitlines()[0]}): copy it or make it again.") from error


def check_batch(file: h5py.File, campaign: str, batch: int | None = None) -> None:
    """Check whose particles a file holds.

    Parameters
    ----------
    file
        An open file of a stage.
    campaign
        The campaign that it must belong to.
    batch
        The batch that it must hold; None for any.

    Raises
    ------
    FileError
        If it is another campaign's or another batch's.
    """
    path, found = file.filename, file.attrs.get("campaign")
    if found != campaign:
        raise FileError(f"{path} belongs to campaign {found!r}, not {campaign!r}: give this campaign's file.")
    held = file.attrs.get("batch")
    if batch is not None and held != batch:
        raise FileError(f"{path} holds batch {held} of the campaign, not {batch}: delete it and make it again.")
