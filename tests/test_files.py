"""Files appear whole or not at all, and damaged ones are told in a sentence."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("h5py", reason="batch files are HDF5")

from braggworks.errors import FileError
from braggworks.files import atomic_path, create_h5, open_h5, read_json, sha256_of, write_json, write_text
from braggworks.seeds import generator, identity_digest, unit_interval


def test_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    final = tmp_path / "new" / "x.txt"
    with atomic_path(final) as temporary:
        temporary.write_text("whole")
        assert not final.exists()
    assert final.read_text() == "whole"
    assert [path.name for path in final.parent.iterdir()] == ["x.txt"]


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    final = tmp_path / "x.txt"
    final.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(final) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_is_one_sentence(tmp_path: Path, code: int) -> None:
    with pytest.raises(FileError, match="is full: free some space"), atomic_path(tmp_path / "x"):
        raise OSError(code, "write failed")
    assert not list(tmp_path.iterdir())


def test_folder_in_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(FileError, match="no folder"):
        write_text(tmp_path / "a" / "b.txt", "x")


def test_links_stay_and_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    link, target = tmp_path / "link.json", tmp_path / "far" / "target.json"
    target.parent.mkdir()
    link.symlink_to(target)
    write_json(link, 1)
    assert link.is_symlink()
    assert read_json(target) == 1
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="no file that can be replaced"):
        write_json(tmp_path / "pipe", 1)
    assert (tmp_path / "pipe").is_fifo()
    with pytest.raises(FileError, match="cannot be written"):
        write_json("/proc/braggworks.json", 1)


def test_json_round_trip_and_mistakes(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": 1, "a": [2]})
    assert read_json(tmp_path / "x.json") == {"a": [2], "b": 1}
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(FileError, match="not valid JSON"):
        read_json(tmp_path / "x.json")
    with pytest.raises(FileError, match="does not exist"):
        read_json(tmp_path / "y.json")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "z.json", float("nan"))
    assert not (tmp_path / "z.json").exists()


def test_h5_of_another_kind_or_damaged_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with create_h5(path, "relaxed", recipe={"a": 1}) as file:
        file.create_dataset("values", data=np.arange(1000), chunks=(100,), fletcher32=True)
    with open_h5(path, "relaxed") as file:
        assert file["values"][3] == 3
    with pytest.raises(FileError, match="holds relaxed, not patterns"), open_h5(path, "patterns"):
        pass
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match="truncated or is no HDF5 file"), open_h5(path):
        pass
    with pytest.raises(FileError, match="does not exist"), open_h5(tmp_path / "y.h5"):
        pass


def test_same_content_has_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        with create_h5(tmp_path / name, "relaxed") as file:
            file.create_dataset("values", data=np.arange(10), track_times=False)
    assert sha256_of(tmp_path / "a") == sha256_of(tmp_path / "b")


def test_random_numbers_belong_to_an_identity() -> None:
    assert generator("c", 1, 7, "scatter").random() == generator("c", 1, 7, "scatter").random()
    different = {
        identity_digest(*identity) for identity in [("c", 1, 7), ("c", 17), ("c1", 7), ("c", "1", 7), ("c", 1, "7")]
    }
    assert len(different) == 5


def test_numpy_values_name_the_same_identity() -> None:
    assert identity_digest(np.str_("c"), np.int64(7)) == identity_digest("c", 7)


def test_unit_interval_is_uniform() -> None:
    values = np.array([unit_interval("c", index) for index in range(4000)])
    assert 0 <= values.min() < values.max() < 1
    np.testing.assert_allclose(np.histogram(values, 4, (0, 1))[0], 1000, atol=120)
