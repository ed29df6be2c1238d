"""Small scans as files, and what the tests of scans check in common."""

import h5py
import numpy as np
import pytest
import tifffile

from braggworks.cli import main
from braggworks.config import data_folder


def measured_scan():
    """The measured scan of gold; tests that ask for it are skipped where it is absent."""
    folder = data_folder()
    if folder is None or not (folder / "aps34idc_au_scan54.cxi").is_file():
        pytest.skip("the measured scan is absent: set BRAGGWORKS_TEST_DATA")
    return folder / "aps34idc_au_scan54.cxi"


def blob(shape=(20, 24, 28), centre=(9, 11, 13), counts=500.0, background=0.2, seed=0):
    """Poisson counts of one broad peak."""
    distance = sum((grid - c) ** 2 for grid, c in zip(np.indices(shape), centre, strict=True))
    return np.random.default_rng(seed).poisson(counts * np.exp(-distance / 8) + background).astype(np.uint32)


def write_cxi(path, counts, **detector):
    """A CXI file as beamlines write them, without this package's writer."""
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        group = file.create_group("entry_1/instrument_1/detector_1")
        group["data"] = counts
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        file["entry_1/instrument_1/source_1/energy"] = 9000 * 1.602176634e-19
        for name, value in detector.items():
            group[name] = value


def refused(capsys, folder, *words):
    """Check the sentence on standard error, and that nothing was left behind."""
    message = capsys.readouterr().err
    assert len(message.strip().splitlines()) == 1, message
    for word in words:
        assert word in message
    assert [path.name for path in folder.iterdir() if "out" in path.name or path.suffix == ".part"] == []


def scan_verb(path, folder, *more):
    return main(["scan", str(path), "--output", str(folder / "out.cxi"), "--crop", "16", *more])


def save_tif_folder(path, counts):
    path.mkdir()
    for number, frame in enumerate(counts):
        tifffile.imwrite(path / f"frame_{number:04d}.tif", frame)


def save_hdf5(path, counts):
    with h5py.File(path, "w") as file:
        file["entry/other"] = np.zeros((2, 3, 4))
        file["entry/frames"] = counts
        file["entry/image"] = counts[0]


WRITERS = {
    "scan.cxi": write_cxi,
    "scan.h5": save_hdf5,
    "scan.npy": np.save,
    "scan.npz": lambda path, counts: np.savez(path, small=np.zeros((2, 2, 2)), data=counts, frame=counts[0]),
    "scan.tif": lambda path, counts: tifffile.imwrite(path, counts, photometric="minisblack"),
    "frames": save_tif_folder,
}
