"""Counts in a shard: every number comes back, however bright its voxel."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from braggworks.datasets.counts import LOW, Counts, CountsWriter

EDGES = [0, 1, 65_534, 65_535, 65_536, 2**32 - 1]


def written(path: Path, *parts: np.ndarray) -> Path:
    shape = (sum(map(len, parts)), *parts[0].shape[1:])
    with h5py.File(path, "w") as file:
        writer, row = CountsWriter(file, shape, {"chunks": (1, *shape[1:])}), 0
        for part in parts:
            writer.write(row, part)
            row += len(part)
        writer.finish()
    return path


@settings(max_examples=60, deadline=None)
@given(
    counts=arrays(np.uint32, (5, 3, 4), elements=st.sampled_from(EDGES) | st.integers(0, 2**32 - 1)),
    cut=st.integers(1, 4),
    rows=st.tuples(st.integers(0, 5), st.integers(0, 5)),
)
def test_every_count_comes_back(
    counts: np.ndarray, cut: int, rows: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = written(tmp_path_factory.mktemp("counts") / "shard.h5", counts[:cut], counts[cut:])
    with h5py.File(path) as file:
        found = Counts(file)
        assert found[:].dtype == np.uint32
        assert np.array_equal(found[:], counts)
        assert np.array_equal(found[slice(*rows)], counts[slice(*rows)])
        assert all(np.array_equal(found[row], counts[row]) for row in range(-5, 5))
        with pytest.raises(IndexError):
            found[5]


def test_only_bright_voxels_are_listed(tmp_path: Path) -> None:
    counts = np.array([[[5, 65_534], [65_535, 9]], [[0, 0], [0, 70_000]]], np.uint32)
    with h5py.File(written(tmp_path / "shard.h5", counts)) as file:
        assert file[LOW].dtype == np.uint16
        assert file["bright_first"][()].tolist() == [0, 1, 2]
        assert file["bright_voxel"][()].tolist() == [2, 3]
        assert file["bright_counts"][()].tolist() == [65_535, 70_000]


def test_dim_samples_list_nothing(tmp_path: Path) -> None:
    counts = np.full((2, 4, 4), 12, np.uint32)
    with h5py.File(written(tmp_path / "shard.h5", counts)) as file:
        assert file["bright_voxel"].shape == (0,)
        assert np.array_equal(Counts(file)[:], counts)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("bright_first", [0, 2, 1]),
        ("bright_first", [0, 1]),
        ("bright_first", [0, 1, 9]),
        ("bright_voxel", [4, 0]),
        ("bright_counts", [70_000, 12]),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path: Path, name: str, values: list[int]) -> None:
    path = written(tmp_path / "shard.h5", np.full((2, 2, 2), [[70_000, 1], [1, 1]], np.uint32))
    with h5py.File(path, "r+") as file:
        kind = file[name].dtype
        del file[name]
        file[name] = np.array(values, kind)
        with pytest.raises(ValueError, match="list of bright voxels"):
            Counts(file)
