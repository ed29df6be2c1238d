"""Finding and reading an array in a file of any supported format, with bounds on what is believed."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - registers the compressions that beamlines use
import numpy as np
import tifffile
from numpy.typing import NDArray

from braggworks.errors import FileError, ScanError
from braggworks.files import open_h5
from braggworks.memory import free_memory

MAX_VOXELS = 4_000_000_000  # whatever the memory
_WORKING_BYTES = 36  # for each voxel besides its counts, from reading to the peak, as measured with `phase --dry-run`
FORMATS = "CXI, HDF5, npz, npy, or tif (one file of many pages, or a folder of files)"

# Where CXI keeps the counts; the first that exists is taken.
_CXI_DATA = ("entry_1/data_1/data", "entry_1/instrument_1/detector_1/data", "entry_1/image_1/data")
_SIGNATURES = {
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"PK\x03\x04": "npz",
    b"PK\x05\x06": "npz",
    b"\x93NUMPY": "npy",
    b"II*\x00": "tif",
    b"MM\x00*": "tif",
    b"II+\x00": "tif",
    b"MM\x00+": "tif",
}
_DAMAGE = (OSError, ValueError, KeyError, IndexError, TypeError, EOFError, RuntimeError, struct.error, zlib.error)
_TIF_SUFFIXES = {".tif", ".tiff"}


@dataclass(frozen=True)
class Found:
    """An array that was read.

    Parameters
    ----------
    values
        The array.
    format
        Format of the file.
    name
        Where in the file it was; empty where a file holds one array.
    """

    values: NDArray[Any]
    format: str
    name: str


def read_array(path: str | Path, ndims: tuple[int, ...], dataset: str | None = None) -> Found:
    """Read the array that a file holds.

    Parameters
    ----------
    path
        File, or folder of tif files, which are taken by name.
    ndims
        Accepted numbers of axes; of several arrays the largest one is taken.
    dataset
        Name of the array in an HDF5 or npz file, where the largest is not the right one.

    Raises
    ------
    FileError
        If the file is missing, damaged, of an unknown format, or needs pickle.
    ScanError
        If it holds no such array, more than one of the same size, or one that is not numeric, empty or too large.
    """
    path = Path(path)
    kind = file_format(path)
    readers: dict[str, Callable[..., Found]] = {
        "HDF5": _read_hdf5,
        "npz": _read_npz,
        "npy": _read_npy,
        "tif": _read_tif,
    }
    if dataset is not None and kind not in {"HDF5", "npz"}:
        raise ScanError(f"{path} holds one array only, and --dataset names {dataset!r}: leave --dataset out.")
    with explained(path):
        return readers[kind](path, ndims, dataset)


def file_format(path: Path) -> str:
    """Return HDF5, npz, npy or tif from a file's first bytes; see `FORMATS`. Raises `FileError`."""
    if path.is_dir():
        return "tif"
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
    except FileNotFoundError:
        raise FileError(f"{path} does not exist: check the path.") from None
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error.strerror}): check its permissions.") from None
    for signature, name in _SIGNATURES.items():
        if start.startswith(signature):
            return name
    what = "is empty" if not start else f"is of an unknown format (it starts with {start!r})"
    raise FileError(f"{path} {what}: give a file in CXI, HDF5, npz, npy or tif.")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what libraries raise on damaged files into a `FileError`."""
    try:
        yield
    except MemoryError:
        raise ScanError(f"{path} holds more than this machine's memory: crop it first.") from None
    except (*_DAMAGE, zipfile.BadZipFile, tifffile.TiffFileError) as error:
        reason = (str(error).strip("'\"") or type(error).__name__).splitlines()[0]
        raise FileError(f"{path} is truncated or damaged ({reason}): copy it again from its source.") from None


def choose_dataset(file: h5py.File, path: Path, ndims: tuple[int, ...], dataset: str | None = None) -> str:
    """Return the name of the array that holds the counts; see `read_array`."""
    if dataset is not None:
        if not isinstance(file.get(dataset), h5py.Dataset):
            known = ", ".join(name for name, _ in _candidates(file, ndims)) or "none of the right dimension"
            raise ScanError(f"{path} holds no dataset {dataset!r}: use --dataset with one of {known}.")
        return dataset
    for name in _CXI_DATA:
        if 3 in ndims and isinstance(file.get(name), h5py.Dataset) and file[name].ndim == 3:
            return name
    return _largest(path, _candidates(file, ndims), ndims)


def choose_mask(file: h5py.File, path: Path) -> str:
    """Return the name of the array that is a mask: the first of that name, or the only one. Raises `ScanError`."""
    names = [name for name, _ in _candidates(file, (2, 3))]
    called = [name for name in names if name.rsplit("/")[-1] == "mask"]
    if called:
        return called[0]
    if len(names) != 1 or names[0] in _CXI_DATA:
        raise ScanError(
            f"{path} holds no array of the name mask, and {', '.join(names) or 'no other'}: give a file with the mask "
            "alone, or name it mask."
        )
    return names[0]


def read_dataset(file: h5py.File, path: Path, name: str, ndims: tuple[int, ...]) -> NDArray[Any]:
    """Return a checked dataset; see `read_array`."""
    dataset = file[name]
    check(path, name, dataset.shape, dataset.dtype, ndims)
    if dataset.is_virtual:
        for source in dataset.virtual_sources():
            if (
                source.file_name != "."
                and "%" not in source.file_name
                and not (path.parent / source.file_name).exists()
            ):
                raise FileError(
                    f"{path}: {name} is put together from other files, and {source.file_name} is missing, which would "
                    "read as zeros: bring it beside the file."
                )
    return np.asarray(dataset[()])


def check(path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], ndims: tuple[int, ...]) -> None:
    """Raise `ScanError` unless an array is real, of an accepted dimension, not empty and fits into memory."""
    where = f"{path}: {name}" if name else str(path)
    size = "x".join(map(str, shape))
    if len(shape) not in ndims:
        wanted = " or ".join(map(str, ndims))
        raise ScanError(
            f"{where} has {len(shape)} dimensions ({size or 'a single value'}), not {wanted}: "
            "give a stack of detector frames, or name another array with --dataset."
        )
    if 0 in shape:
        raise ScanError(f"{where} is empty ({size}): give a file that holds frames.")
    # A mask, which may have two dimensions, may hold truth values; counts may not.
    if dtype.kind not in ("uifb" if 2 in ndims else "uif"):
        raise ScanError(f"{where} is of type {dtype}, not of real numbers: give detector counts.")
    _check_size(where, shape, dtype.itemsize + _WORKING_BYTES)


def _check_size(where: str, shape: tuple[int, ...], each: int) -> None:
    """Raise `ScanError`, with the size that fits, if an array of so many bytes for each voxel is too large."""
    voxels, free = int(np.prod(shape, dtype=object)), free_memory()
    fits = min(free // each, MAX_VOXELS)
    if voxels > fits:
        size, edge = "x".join(map(str, shape)), int(fits ** (1 / len(shape)))
        raise ScanError(
            f"{where} holds {size} voxels, which need {voxels * each / 2**30:.1f} GiB to be worked on, and "
            f"{free / 2**30:.1f} GiB are free: crop it to about {'x'.join([str(edge)] * len(shape))}."
        )


def _candidates(file: h5py.File, ndims: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
    found: list[tuple[str, tuple[int, ...]]] = []

    kinds = "uifb" if 2 in ndims else "uif"

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim in ndims and item.dtype.kind in kinds:
            found.append((name, item.shape))

    file.visititems(visit)
    return found


def _largest(path: Path, candidates: list[tuple[str, tuple[int, ...]]], ndims: tuple[int, ...]) -> str:
    if not candidates:
        wanted = " or ".join(map(str, ndims))
        raise ScanError(f"{path} holds no array of {wanted} dimensions: give a stack of detector frames.")
    sizes = [int(np.prod(shape, dtype=object)) for _, shape in candidates]
    best = [name for (name, _), size in zip(candidates, sizes, strict=True) if size == max(sizes)]
    if len(best) > 1:
        raise ScanError(
            f"{path} holds several arrays of the same size: choose with --dataset one of {', '.join(best)}."
        )
    return best[0]


def _read_hdf5(path: Path, ndims: tuple[int, ...], dataset: str | None) -> Found:
    with open_h5(path) as file:
        name = choose_dataset(file, path, ndims, dataset)
        return Found(read_dataset(file, path, name, ndims), "CXI" if "cxi_version" in file else "HDF5", name)


def _read_npz(path: Path, ndims: tuple[int, ...], dataset: str | None) -> Found:
    headers = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as stream:
                headers[member.removesuffix(".npy")] = _npy_header(path, stream)
    if dataset is not None and dataset not in headers:
        raise ScanError(f"{path} holds no array {dataset!r}: use --dataset with one of {', '.join(headers)}.")
    fitting = [(key, shape) for key, (shape, _) in headers.items() if len(shape) in ndims]
    name = dataset if dataset is not None else _largest(path, fitting, ndims)
    check(path, name, *headers[name], ndims)
    with np.load(path, allow_pickle=False) as arrays:
        return Found(np.asarray(arrays[name]), "npz", name)


def _read_npy(path: Path, ndims: tuple[int, ...], dataset: str | None) -> Found:
    with path.open("rb") as stream:
        check(path, "", *_npy_header(path, stream), ndims)
    return Found(np.load(path, allow_pickle=False), "npy", "")


def _npy_header(path: Path, stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise FileError(f"{path} holds Python objects, which could run code when read: save it as plain numbers.")
    return shape, dtype


def _read_tif(path: Path, ndims: tuple[int, ...], dataset: str | None) -> Found:
    if not path.is_dir():
        return Found(_read_tif_file(path, ndims), "tif", "")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in _TIF_SUFFIXES)
    if not files:
        raise ScanError(f"{path} holds no .tif file: give a folder with one file for each frame.")
    first = _read_tif_file(files[0], (2,))
    check(path, "", (len(files), *first.shape), first.dtype, ndims)
    stack = np.empty((len(files), *first.shape), first.dtype)
    for number, file in enumerate(files):
        with explained(file):
            frame = first if number == 0 else _read_tif_file(file, (2,))
        if frame.shape != first.shape or frame.dtype != first.dtype:
            raise ScanError(
                f"{file} is {frame.shape} of {frame.dtype}, and {files[0].name} is {first.shape} of {first.dtype}: "
                "keep only the frames of one scan in the folder."
            )
        stack[number] = frame
    return Found(stack, "tif", f"{len(files)} files")


def _read_tif_file(path: Path, ndims: tuple[int, ...]) -> NDArray[Any]:
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        check(path, "", series.shape, np.dtype(series.dtype), ndims)
        return np.asarray(series.asarray())
