"""Reading a scan, with the detector's fields and the geometry where the file holds them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from braggworks.errors import ScanError
from braggworks.files import open_h5
from braggworks.scans.arrays import (
    Found,
    choose_dataset,
    choose_mask,
    explained,
    file_format,
    read_array,
    read_dataset,
)
from braggworks.scans.scan import AXES, Scan

EV_PER_JOULE = 1 / 1.602176634e-19
_ENERGY_EV = {"j": EV_PER_JOULE, "ev": 1.0, "kev": 1e3}
_LENGTH_M = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6}
_ANGLE_DEG = {"deg": 1.0, "degree": 1.0, "degrees": 1.0, "rad": float(np.rad2deg(1)), "radian": float(np.rad2deg(1))}
_DETECTOR, _GEOMETRY = "entry_1/instrument_1/detector_1", "entry_1/sample_1/geometry_1"
_WHITE_FIELDS = ("whitefield", "white_field", "flatfield")
_MAX_ANGLES = 100_000
_MAX_NOTE = 1000
NOTES = (
    "entry_1/start_time",
    "entry_1/end_time",
    "entry_1/entry_identifier",
    "entry_1/experiment_identifier",
    "entry_1/instrument_1/name",
    f"{_DETECTOR}/description",
    *(f"entry_1/sample_1/{name}" for name in ("name", "description", "temperature", "unit_cell", "unit_cell_group")),
)
"""What is carried along as it is, by CXI's names."""


_MOST_MASKED = 0.75  # beyond it a mask is taken for one in which 1 means good


def read_scan(path: str | Path, dataset: str | None = None, mask: str | Path | None = None) -> Scan:
    """Read a scan.

    In CXI and HDF5 files, mask, dark field and white field are looked for beside the counts, and the geometry where
    CXI keeps it. In masks, as in CXI, 0 is a good voxel and any other value is one that was not measured.

    Parameters
    ----------
    path
        CXI, HDF5, npz or npy file, tif file of many pages, or folder of tif files, which are taken by name.
    dataset
        Name of the counts in an HDF5 or npz file, where the largest 3-D array is not the right one.
    mask
        Further file with a mask of the scan's or a frame's shape, in any of these formats; in HDF5, an array of the
        name ``mask``, or the only one.

    Returns
    -------
    Scan
        Not yet checked for unusable counts; see `usable`.

    Raises
    ------
    FileError
        If a file is missing, damaged, or of an unknown format.
    ScanError
        If it holds no stack of frames, or the mask does not fit.
    """
    path = Path(path)
    scan = (
        _read_hdf5(path, dataset) if file_format(path) == "HDF5" else _from_array(path, read_array(path, (3,), dataset))
    )
    if mask is None:
        return scan
    extra = _fit_mask(_read_mask(Path(mask)), scan.counts.shape, mask)
    return replace(scan, mask=extra | scan.gap)


def usable(scan: Scan, *, bad_to_mask: bool = False) -> Scan:
    """Return the scan with counts that are finite and not negative, except under the mask, where they become 0.

    Parameters
    ----------
    scan
        The scan as read.
    bad_to_mask
        Mask unusable counts instead of refusing them.

    Raises
    ------
    ScanError
        If there are such counts, and they shall not be masked; or if nothing is left.
    """
    counts, gap = scan.counts, scan.gap
    bad = ~(np.isfinite(counts) & (counts >= 0)) & ~gap
    if bad.any() and not bad_to_mask:
        first = tuple(int(n) for n in np.unravel_index(int(bad.argmax()), bad.shape))
        raise ScanError(
            f"{scan.source} holds unusable counts ({_kinds(counts[bad])}), the first at (z, y, x) = {first}: "
            "correct them, give a --mask that covers them, or pass --bad-to-mask."
        )
    hidden = gap | bad
    if hidden.all():
        raise ScanError(f"{scan.source}: the mask covers every voxel: check that 0 means good in it.")
    if gap.mean() > _MOST_MASKED:
        raise ScanError(
            f"{scan.source}: the mask covers {gap.mean():.0%} of the voxels: check that 0 means good in it, or "
            "crop the scan to what was measured."
        )
    return replace(scan, counts=np.where(hidden, counts.dtype.type(0), counts), mask=hidden if hidden.any() else None)


def read_field(path: str | Path) -> NDArray[Any]:
    """Return the dark field or white field that a file holds, (rows, columns). Raises as `read_scan` does."""
    return read_array(path, (2,)).values


def _read_mask(path: Path) -> NDArray[Any]:
    if file_format(path) != "HDF5":
        return read_array(path, (2, 3)).values
    with open_h5(path) as file, explained(path):
        return read_dataset(file, path, choose_mask(file, path), (2, 3))


def _kinds(bad: NDArray[Any]) -> str:
    numbers = {"NaN": np.isnan(bad).sum(), "infinite": np.isinf(bad).sum(), "negative": (bad < 0).sum()}
    return ", ".join(f"{number} {kind}" for kind, number in numbers.items() if number)


def _from_array(path: Path, found: Found) -> Scan:
    source = f"{path}: {found.name}" if found.name else str(path)
    return Scan(found.values, format=found.format, source=source)


def _read_hdf5(path: Path, dataset: str | None) -> Scan:
    with open_h5(path) as file, explained(path):
        name = choose_dataset(file, path, (3,), dataset)
        counts = read_dataset(file, path, name, (3,))
        beside = [file[name].parent, *([file[_DETECTOR]] if isinstance(file.get(_DETECTOR), h5py.Group) else [])]
        mask = _find(beside, ("mask",), path, (2, 3))
        detector = beside[-1]
        pixel = (_quantity(detector, "y_pixel_size", _LENGTH_M), _quantity(detector, "x_pixel_size", _LENGTH_M))
        axes = _text(file[name].attrs.get("axes")).split(":")
        return Scan(
            counts,
            mask=None if mask is None else _fit_mask(mask, counts.shape, path),
            dark=_find(beside, ("dark",), path, (2,)),
            white_field=_find(beside, _WHITE_FIELDS, path, (2,)),
            energy_ev=_quantity(file, "entry_1/instrument_1/source_1/energy", _ENERGY_EV),
            distance_m=_quantity(detector, "distance", _LENGTH_M),
            pixel_m=None if pixel[0] is None or pixel[1] is None else (pixel[0], pixel[1]),
            middle_px=_middle(detector),
            angles=_angles(file),
            notes=_notes(file),
            axes=tuple(axes) if len(axes) == 3 else AXES,
            title=_text(file["entry_1/title"][()]) if isinstance(file.get("entry_1/title"), h5py.Dataset) else "",
            format="CXI" if "cxi_version" in file else "HDF5",
            source=f"{path}: {name}",
            simulated=bool(file.attrs.get("simulated", False)),
        )


def _find(groups: list[h5py.Group], names: tuple[str, ...], path: Path, ndims: tuple[int, ...]) -> NDArray[Any] | None:
    """Return the first of the named arrays that lies in one of the groups."""
    for group in groups:
        for name in names:
            if isinstance(group.get(name), h5py.Dataset):
                return read_dataset(group, path, name, ndims)
    return None


def _fit_mask(mask: NDArray[Any], shape: tuple[int, ...], path: str | Path) -> NDArray[np.bool_]:
    if mask.shape not in {shape, shape[1:]}:
        raise ScanError(
            f"The mask in {path} is {'x'.join(map(str, mask.shape))}, and the scan {'x'.join(map(str, shape))}: "
            "give a mask of the shape of the scan or of one frame."
        )
    if not (mask == np.floor(mask)).all():
        raise ScanError(
            f"The mask in {path} holds NaN or fractions: give 0 for a good voxel and another whole number for one that "
            "was not measured."
        )
    return np.broadcast_to(mask != 0, shape)


def _quantity(group: h5py.Group, name: str, units: dict[str, float]) -> float | None:
    """Return a positive number in the base unit, None where there is none; without a unit, the base unit is meant."""
    item = group.get(name)
    if not isinstance(item, h5py.Dataset) or item.size != 1 or item.dtype.kind not in "uif":
        return None
    unit = _text(item.attrs.get("units")).lower()
    # CXI means joule where it names no unit; nobody measures with X-rays of less than 1 eV.
    value = float(item[()].ravel()[0] if item.ndim else item[()])
    factor = units.get(unit, EV_PER_JOULE if units is _ENERGY_EV and value < 1 else 1.0)
    return value * factor if np.isfinite(value) and value > 0 else None


def _middle(detector: h5py.Group) -> tuple[float, float] | None:
    """Return where the direct beam would meet the detector at angles of 0, as NeXus names it."""
    found = []
    for name in ("beam_center_y", "beam_center_x"):
        item = detector.get(name)
        if not isinstance(item, h5py.Dataset) or item.size != 1 or item.dtype.kind not in "uif":
            return None
        found.append(float(np.ravel(item[()])[0]))
    return (found[0], found[1]) if np.isfinite(found).all() else None


def _angles(file: h5py.File) -> dict[str, NDArray[np.float64]]:
    """Return what the geometry group holds in degrees or radians."""
    group, found = file.get(_GEOMETRY), {}
    for name in sorted(group) if isinstance(group, h5py.Group) else []:
        item = group[name]
        unit = _text(item.attrs.get("units")).lower()
        small = isinstance(item, h5py.Dataset) and item.ndim < 2 and item.size <= _MAX_ANGLES
        if small and unit in _ANGLE_DEG and item.dtype.kind in "uif":
            found[name] = np.asarray(item[()], np.float64) * _ANGLE_DEG[unit]
    return found


def _notes(file: h5py.File) -> dict[str, str | NDArray[Any]]:
    """Return what is said of sample, instrument and time, as far as it is short."""
    found: dict[str, str | NDArray[Any]] = {}
    for name in NOTES:
        item = file.get(name)
        if not isinstance(item, h5py.Dataset) or item.size is None or not 0 < item.size <= _MAX_NOTE:
            continue
        if h5py.check_string_dtype(item.dtype) and item.size == 1:
            text = _text(item[()] if not item.ndim else item[()].ravel()[0])
            found |= {name: text[:_MAX_NOTE]} if text else {}
        elif item.dtype.kind in "uif":
            found[name] = np.asarray(item[()])
    return found


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""
