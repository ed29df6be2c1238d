"""What a person gets wrong with a scan is answered in one sentence."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from scan_inputs import WRITERS, blob, refused, save_tif_folder, scan_verb, write_cxi

from braggworks.cli import main
from braggworks.scans import arrays
from braggworks.scans.readers import read_scan, usable
from braggworks.scans.scan import Scan


@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "1 NaN"), (np.inf, "1 infinite"), (-3, "1 negative")], ids=["nan", "inf", "negative"]
)
def test_unusable_counts(tmp_path, capsys, value, words):
    counts = blob().astype(np.float32)
    counts[4, 5, 6] = value
    np.save(tmp_path / "s.npy", counts)
    assert scan_verb(tmp_path / "s.npy", tmp_path) == 2
    refused(capsys, tmp_path, words, "(4, 5, 6)", "--bad-to-mask")
    assert scan_verb(tmp_path / "s.npy", tmp_path, "--bad-to-mask") == 0
    found = read_scan(tmp_path / "out.cxi")
    assert found.mask.sum() == 1
    assert found.counts[found.mask] == [0]


def test_unusable_counts_under_the_mask_are_fine(tmp_path):
    counts = blob().astype(np.float32)
    counts[4, 5, 6] = np.nan
    scan = usable(Scan(counts, np.isnan(counts)))
    assert scan.counts[4, 5, 6] == 0


def test_a_mask_over_everything(tmp_path, capsys):
    write_cxi(tmp_path / "s.cxi", blob(), mask=np.ones((24, 28), np.uint8))
    assert scan_verb(tmp_path / "s.cxi", tmp_path) == 2
    refused(capsys, tmp_path, "mask covers every voxel")


def test_no_peak(tmp_path, capsys):
    np.save(tmp_path / "s.npy", np.random.default_rng(0).poisson(2.0, (20, 20, 20)))
    assert scan_verb(tmp_path / "s.npy", tmp_path) == 2
    refused(capsys, tmp_path, "no peak", "right scan and dataset")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
def test_truncated_files(tmp_path, capsys, name, share):
    WRITERS[name](tmp_path / name, blob((40, 40, 40), (20, 20, 20)))
    path = tmp_path / name / "frame_0030.tif" if name == "frames" else tmp_path / name
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert scan_verb(tmp_path / name, tmp_path) == 2
    refused(capsys, tmp_path, path.name)


@pytest.mark.parametrize("name", ["s.npy", "s.npz", "s.h5", "s.tif"])
def test_wrong_dimensions(tmp_path, capsys, name):
    frame = blob()[0]
    writers = {
        "s.npy": np.save,
        "s.npz": lambda path, values: np.savez(path, a=values),
        "s.h5": lambda path, values: h5py.File(path, "w").create_dataset("a", data=values).file.close(),
        "s.tif": tifffile.imwrite,
    }
    writers[name](tmp_path / name, frame)
    assert scan_verb(tmp_path / name, tmp_path) == 2
    refused(capsys, tmp_path, name, "3", "dimensions" if name != "s.npz" else "array", "stack of detector frames")


@pytest.mark.parametrize("name", ["s.npy", "s.npz"])
def test_python_objects_are_never_unpickled(tmp_path, capsys, name):
    class Harmful:
        def __reduce__(self):
            return (Path.write_text, (tmp_path / "harm", "done"))

    values = np.full((3, 3, 3), Harmful(), dtype=object)
    np.save(tmp_path / name, values) if name == "s.npy" else np.savez(tmp_path / name, a=values)
    (tmp_path / "harm").unlink(missing_ok=True)
    assert scan_verb(tmp_path / name, tmp_path) == 2
    refused(capsys, tmp_path, "Python objects")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("kind", [np.complex64, np.bool_, "U3"])
def test_numbers_that_are_no_counts(tmp_path, capsys, kind):
    np.save(tmp_path / "s.npy", np.zeros((4, 4, 4), kind))
    assert scan_verb(tmp_path / "s.npy", tmp_path) == 2
    refused(capsys, tmp_path, "of type", "real numbers")


def test_empty_arrays_and_folders(tmp_path, capsys):
    np.save(tmp_path / "s.npy", np.zeros((0, 4, 4)))
    assert scan_verb(tmp_path / "s.npy", tmp_path) == 2
    refused(capsys, tmp_path, "is empty (0x4x4)")
    (tmp_path / "folder").mkdir()
    assert scan_verb(tmp_path / "folder", tmp_path) == 2
    refused(capsys, tmp_path, "no .tif file")


def test_too_many_voxels_are_refused_unread(tmp_path, capsys):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.create_dataset("data", (2000, 2000, 2000), "u4", chunks=(1, 100, 100))
    assert scan_verb(tmp_path / "s.h5", tmp_path) == 2
    refused(capsys, tmp_path, "2000x2000x2000", "crop it to about")


def test_unknown_formats_and_missing_files(tmp_path, capsys):
    (tmp_path / "s.dat").write_bytes(b"scan 54\n1 2 3\n")
    assert scan_verb(tmp_path / "s.dat", tmp_path) == 2
    refused(capsys, tmp_path, "unknown format", "CXI, HDF5, npz, npy or tif")
    assert scan_verb(tmp_path / "none.cxi", tmp_path) == 2
    refused(capsys, tmp_path, "none.cxi does not exist")


def test_datasets_must_exist_and_be_unambiguous(tmp_path, capsys):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["a"], file["b"] = blob(), blob()
    assert scan_verb(tmp_path / "s.h5", tmp_path) == 2
    refused(capsys, tmp_path, "several arrays", "--dataset", "a, b")
    assert scan_verb(tmp_path / "s.h5", tmp_path, "--dataset", "c") == 2
    refused(capsys, tmp_path, "no dataset 'c'", "a, b")
    assert scan_verb(tmp_path / "s.h5", tmp_path, "--dataset", "b") == 0
    np.save(tmp_path / "s.npy", blob())
    (tmp_path / "out.cxi").unlink()
    assert scan_verb(tmp_path / "s.npy", tmp_path, "--dataset", "b") == 2
    refused(capsys, tmp_path, "leave --dataset out")


def test_a_virtual_dataset_with_a_missing_source(tmp_path, capsys):
    layout = h5py.VirtualLayout((20, 24, 28), "u4")
    layout[:] = h5py.VirtualSource("frames.h5", "data", (20, 24, 28))
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    assert scan_verb(tmp_path / "s.h5", tmp_path) == 2
    refused(capsys, tmp_path, "frames.h5 is missing")
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file["data"] = blob()
    assert scan_verb(tmp_path / "s.h5", tmp_path) == 0


def test_frames_of_different_shapes(tmp_path, capsys):
    save_tif_folder(tmp_path / "frames", blob())
    tifffile.imwrite(tmp_path / "frames" / "frame_0004.tif", np.zeros((5, 5), np.uint32))
    assert scan_verb(tmp_path / "frames", tmp_path) == 2
    refused(capsys, tmp_path, "frame_0004.tif", "(5, 5)", "(24, 28)")


def test_fields_that_do_not_fit(tmp_path, capsys):
    write_cxi(tmp_path / "s.cxi", blob(), dark=np.zeros((30, 30)), whitefield=np.zeros((24, 28)))
    assert scan_verb(tmp_path / "s.cxi", tmp_path, "--roi-origin", "7", "0") == 2
    refused(capsys, tmp_path, "dark field is 30x30", "24x28", "--roi-origin")
    assert scan_verb(tmp_path / "s.cxi", tmp_path) == 2
    refused(capsys, tmp_path, "no pixel above 0", "--no-white-field")


@pytest.mark.parametrize("size", ["15", "600"])
def test_crops_that_cannot_be(tmp_path, capsys, size):
    np.save(tmp_path / "s.npy", blob())
    assert main(["scan", str(tmp_path / "s.npy"), "--output", str(tmp_path / "out.cxi"), "--crop", size]) == 2
    refused(capsys, tmp_path, f"--crop {size}", "even number")


def test_a_scan_of_one_frame(tmp_path, capsys):
    np.save(tmp_path / "s.npy", blob()[:1])
    assert scan_verb(tmp_path / "s.npy", tmp_path) == 2
    refused(capsys, tmp_path, "1x24x28", "two voxels")


def test_more_than_the_memory(tmp_path, capsys, monkeypatch):
    np.save(tmp_path / "s.npy", blob())
    monkeypatch.setattr(arrays.np, "load", lambda *args, **options: (_ for _ in ()).throw(MemoryError))
    assert scan_verb(tmp_path / "s.npy", tmp_path) == 2
    refused(capsys, tmp_path, "memory")
