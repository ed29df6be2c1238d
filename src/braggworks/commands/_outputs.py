"""Files that a command will write, looked at before it computes anything."""

from __future__ import annotations

import os
from pathlib import Path

from braggworks.errors import FileError


def make_folders(*files: str | None) -> None:
    """Make the folders that files will lie in; raise `FileError` for one that cannot be made."""
    for file in filter(None, files):
        folder = Path(file).absolute().parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{folder} cannot be made ({error.strerror}): give a file in another folder.") from None


def check_outputs(*files: str | None) -> None:
    """Raise `FileError` for a file that cannot be written, and say which will be replaced; None is none."""
    for file in filter(None, files):
        folder = next((each for each in Path(file).absolute().parents if each.exists()), Path("/"))
        other = Path(file).exists() and not Path(file).is_file()
        if other or not folder.is_dir() or not os.access(folder, os.W_OK):
            raise FileError(f"{file} cannot be written: give the path of a file in a folder that you may write to.")
        if not Path(file).absolute().parent.is_dir():
            print(f"note: the folder of {file} is missing and will be made")
        if Path(file).exists():
            print(f"note: {file} exists and will be replaced")
