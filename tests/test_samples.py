"""Samples written pattern by pattern, in two and three dimensions, and stored phases."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from releases import files_below, shard_recipe

from braggworks.datasets.counts import Counts
from braggworks.datasets.samples import COLUMNS, Pattern, decode_phase, encode_phase
from braggworks.datasets.shards import create_shard
from braggworks.recipes import ShardRecipe, parse_recipe


def read(path):
    with h5py.File(path, "r") as file:
        return {name: file[name][()] for name in (*COLUMNS, "mask") if name in file} | {"counts": Counts(file)[:]}


@given(st.lists(st.floats(-20, 20), min_size=1))
def test_stored_phases_wrap_and_are_near(angles):
    angles = np.array(angles)
    back = decode_phase(encode_phase(angles))
    assert back.dtype == np.float32
    assert ((back >= -np.float32(np.pi)) & (back < np.float32(np.pi))).all()
    assert np.abs(np.angle(np.exp(1j * (back - angles)))).max() < 1e-6 + np.pi / 65536
    assert decode_phase(encode_phase(np.array([0.0, np.pi]))).tolist() == [0, -np.float32(np.pi)]


# --- writing pattern by pattern ---


def write(path, patterns, ndim=2, particles=(3,), each=1):
    recipe = shard_recipe(per_pattern=2).replace('"atomistic"', '"polygon2d"')
    given = parse_recipe(ShardRecipe, recipe)
    with create_shard(path, given, batch=1, particles=particles, patterns=each, ndim=ndim) as writer:
        for index, own in patterns:
            writer.add(index, own)
    return writer.sidecar(4, [])


def flat(shape=(24, 24), **changed):
    counts = np.random.default_rng(0).poisson(9.0, shape).astype(np.uint32)
    values = {"oversampling": [2.5, 3.0], "total_counts": 1e4, "phase_range": 1.0, "gradient": 0.1}
    return Pattern(counts, values=values, **changed)


def test_two_dimensional_shards(tmp_path):
    sidecar = write(tmp_path / "s.h5", [(3, [flat()])])
    assert (sidecar.shape, sidecar.samples, sidecar.rejected, sidecar.batch) == ((16, 16), 2, 4, 1)
    data = read(tmp_path / "s.h5")
    assert set(data) == {*COLUMNS, "counts", "mask"}
    assert data["counts"].shape == data["mask"].shape == (2, 16, 16)
    assert (data["oversampling"].shape, data["corner"].shape) == ((2, 2), (2, 2))
    for row, (y, x) in enumerate(data["corner"]):
        assert np.array_equal(data["counts"][row], flat().counts[y : y + 16, x : x + 16])
    assert np.array_equal(data["mask"].sum(axis=(1, 2)), data["masked"])


@pytest.mark.parametrize(
    ("patterns", "sentence"),
    [
        ([(2, [flat()])], "particle 2 comes out of turn"),
        ([], "only 0 of 1 particles were added"),
        ([(3, [])], "particle 3 has 0 patterns instead of 1"),
        ([(3, [flat(), flat()])], "or one too many"),
        ([(3, [flat((24, 24, 24))])], "is no array of 2 axes"),
        ([(3, [flat(phase=np.zeros((24, 24)))])], "for the task phase, and only then"),
        ([(3, [flat(bad=np.zeros((24, 23), bool))])], "are not those of a frame"),
        ([(3, [Pattern(flat().counts, values={"oversampling": 2})])], "a pattern has no value"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(tmp_path, patterns, sentence):
    with pytest.raises(ValueError, match=sentence):
        write(tmp_path / "s.h5", patterns)
    assert not files_below(tmp_path)
