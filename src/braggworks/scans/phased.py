"""Writing a phased object as CXI, laid out as PyNX lays out one reconstruction, so that readers of those open it.

``entry_1/image_1/data`` holds the complex object, ``mask`` (linked as ``support``) its support, and
``process_1/results`` its likelihoods; ``entry_1/data_1/data`` links to the object. What has no place in CXI lies in
``entry_1/braggworks``.
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
from braggworks.scans.writers import CXI_VERSION, EXTRA_GROUP, voxels

KIND = "phased object"


def write_phased(
    path: str | Path,
    found: NDArray[np.complexfloating[Any, Any]],
    support: NDArray[np.bool_],
    scan: Scan,
    extra: Mapping[str, tuple[NDArray[Any], str]],
    *,
    likelihoods: Mapping[str, float],
    **attributes: Any,
) -> None:
    """Write a CXI file of kind "phased object".

    Parameters
    ----------
    path
        File to write.
    found, support
        (z, y, x), on the conjugate axes of the scan's, the centre at n // 2.
    scan
        What was phased: title, energy, distance and pixels are copied.
    extra
        Further arrays and their units by name, for the group ``entry_1/braggworks``.
    likelihoods
        By PyNX's names, ``llk_poisson`` and ``free_llk_poisson``, in the convention of
        `braggworks.phasing.likelihood`.
    **attributes
        Further root attributes; see `create_h5`.

    Raises
    ------
    FileError
        If the disk is full or the folder cannot be written.
    """
    with create_h5(path, KIND, simulated=int(scan.simulated), **attributes) as file:
        file.attrs["default"] = "entry_1"
        file["cxi_version"], file["number_of_entries"] = CXI_VERSION, 1
        file["entry_1/title"], file["entry_1/program_name"] = scan.title, "braggworks"
        file["entry_last"] = h5py.SoftLink("/entry_1")
        image = file.create_group("entry_1/image_1")
        image.attrs.update({"NX_class": "NXdata", "signal": "data", "interpretation": "scaler"})
        voxels(image, "data", found.astype(np.complex64))
        voxels(image, "mask", support.astype(np.int8))
        image["support"] = h5py.SoftLink("/entry_1/image_1/mask")
        image["data_type"], image["data_space"], image["is_fft_shifted"] = "electron density", "real", 0
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/image_1/data")
        file["entry_1/data_1"].attrs.update({"NX_class": "NXdata", "signal": "data"})
        results = image.create_group("process_1/results")
        results.attrs["NX_class"] = "NXcollection"
        for result, number in (*likelihoods.items(), ("nb_point_support", int(support.sum()))):
            results[result] = number
        instrument = image.create_group("instrument_1")
        if scan.energy_ev is not None:
            instrument["source_1/energy"] = scan.energy_ev / EV_PER_JOULE
            instrument["source_1/energy"].attrs["units"] = "J"
        for name, value in (("distance", scan.distance_m), ("pixel_size", scan.pixel_m)):
            if value is not None:
                instrument[f"detector_1/{name}"] = value
                instrument[f"detector_1/{name}"].attrs["units"] = "m"
        group = file.require_group(EXTRA_GROUP)
        for name, (values, units) in extra.items():
            item = voxels(group, name, values) if values.ndim else group.create_dataset(name, data=values)
            item.attrs["units"] = units
