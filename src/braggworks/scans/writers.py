"""Writing a scan as a CXI file.

Layout (CXI 1.60): ``entry_1/instrument_1/detector_1/data`` holds the counts and ``entry_1/data_1/data`` links to them;
beside them lies ``mask``, where, as CXI has it, 0 is a measured voxel and 1 one that was not measured. What has no
place in CXI lies in ``entry_1/braggworks``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from braggworks.files import create_h5
from braggworks.scans.readers import EV_PER_JOULE
from braggworks.scans.scan import Scan

CXI_VERSION = 160
EXTRA_GROUP = "entry_1/braggworks"
_DETECTOR = "entry_1/instrument_1/detector_1"


def write_scan(
    path: str | Path, scan: Scan, extra: Mapping[str, NDArray[Any]] | None = None, **attributes: Any
) -> None:
    """Write a CXI file of kind "scan".

    Parameters
    ----------
    path
        File to write.
    scan
        What to write. Dark and white field are left out, because prepared counts hold their correction already.
    extra
        Further arrays by name, for the group ``entry_1/braggworks``.
    **attributes
        Further root attributes; see `create_h5`.

    Raises
    ------
    FileError
        If the disk is full or the folder cannot be written.
    """
    with create_h5(path, "scan", simulated=int(scan.simulated), **attributes) as file:
        file["cxi_version"], file["number_of_entries"] = CXI_VERSION, 1
        file["entry_1/title"] = scan.title
        detector = file.create_group(_DETECTOR)
        voxels(detector, "data", scan.counts).attrs.update({"axes": ":".join(scan.axes), "units": "counts"})
        voxels(detector, "mask", scan.gap.astype(np.uint8)).attrs["meaning"] = "0: measured, 1: not measured"
        file["entry_1/data_1/data"] = h5py.SoftLink(f"/{_DETECTOR}/data")
        if scan.pixel_m is not None:
            _quantity(detector, "y_pixel_size", scan.pixel_m[0], "m")
            _quantity(detector, "x_pixel_size", scan.pixel_m[1], "m")
        if scan.middle_px is not None:  # NeXus's names
            _quantity(detector, "beam_center_y", scan.middle_px[0], "pixel")
            _quantity(detector, "beam_center_x", scan.middle_px[1], "pixel")
        if scan.distance_m is not None:
            _quantity(detector, "distance", scan.distance_m, "m")
        if scan.energy_ev is not None:
            _quantity(file, "entry_1/instrument_1/source_1/energy", scan.energy_ev / EV_PER_JOULE, "J")
        for name, value in scan.angles.items():
            _quantity(file, f"entry_1/sample_1/geometry_1/{name}", value, "deg")
        for name, note in scan.notes.items():
            file[name] = note
        for name, values in (extra or {}).items():
            voxels(file.require_group(EXTRA_GROUP), name, values)


def voxels(group: h5py.Group, name: str, values: NDArray[Any]) -> h5py.Dataset:
    """Write an array, compressed, and return its dataset."""
    chunks = tuple(min(64, size) for size in values.shape)
    # gzip, because every program of the field reads it without a plugin.
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
    return group.create_dataset(name, data=values, chunks=chunks, track_times=False, **options)


def _quantity(group: h5py.Group, name: str, value: object, units: str) -> None:
    group[name] = value
    group[name].attrs["units"] = units
