"""The torch reader: both tasks, its own files in every process, and its order."""

import os
import pickle

import numpy as np
import pytest
import torch
from releases import make_release
from torch.utils.data import DataLoader

from braggworks.datasets.gaps import gap_pixels
from braggworks.datasets.manifests import load_samples, read_manifest, select_samples
from braggworks.datasets.order import bounded_order
from braggworks.datasets.reader import BoundedShuffle, SampleDataset
from braggworks.datasets.samples import ATOM_COLUMNS, COLUMNS
from braggworks.datasets.shards import ShardFiles
from braggworks.errors import ConfigError


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def phases(tmp_path_factory):
    return make_release(tmp_path_factory.mktemp("phases"), task="phase", batches=1)


def test_inpainting_samples(release):
    dataset = SampleDataset(release, "train")
    assert not dataset._files._open
    counts, mask = dataset.load_all()
    assert len(dataset) == len(counts) == len(dataset.particles) == len(dataset.campaigns)
    assert (dataset.task, dataset.size, dataset.shape) == ("inpaint", 16, (16, 16, 16))
    for sample in (0, 5, len(dataset) - 1):
        item, gap = dataset[sample]
        assert (item.dtype, gap.dtype) == (torch.float32, torch.bool)
        assert np.array_equal(item.numpy(), counts[sample].astype(np.float32))
        assert np.array_equal(gap.numpy(), mask[sample] == 1)
        start = dataset.metadata["gap_start"][sample]
        areas = gap_pixels(int(dataset.gap_shapes[sample]), 16, int(dataset.gap_widths[sample]), start)
        assert {int(gap.sum())} == {16 * area for area in areas} == {int(dataset.metadata["masked"][sample])}
    assert set(dataset.metadata) == {*COLUMNS, *ATOM_COLUMNS}
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_phase_samples(phases):
    dataset = SampleDataset(phases, None)
    counts, phase = dataset.load_all()
    assert (dataset.task, counts.dtype, phase.dtype) == ("phase", np.uint32, np.float32)
    assert (phase >= -np.float32(np.pi)).all()
    assert (phase < np.float32(np.pi)).all()
    assert phase.min() < -3
    assert phase.max() > 3
    for sample in (0, len(dataset) - 1):
        item, label = dataset[sample]
        assert (item.dtype, label.dtype) == (torch.float32, torch.float32)
        assert np.array_equal(item.numpy(), counts[sample].astype(np.float32))
        assert np.array_equal(label.numpy(), phase[sample])
    assert (dataset.gap_shapes == 255).all()


@pytest.mark.parametrize(("task", "method"), [("inpaint", "fork"), ("inpaint", "spawn"), ("phase", "fork")])
def test_two_workers_return_what_a_direct_read_returns(release, phases, method, task):
    dataset = SampleDataset(release if task == "inpaint" else phases, None)
    dataset[0]
    direct = load_samples(dataset.table)
    order = BoundedShuffle(len(dataset), seed=5, block=4, buffer=16)
    loader = DataLoader(dataset, batch_size=5, sampler=order, num_workers=2, multiprocessing_context=method)
    parts = [torch.cat(part).numpy() for part in zip(*loader, strict=True)]
    rows = bounded_order(len(dataset), 5, 0, 4, 16)
    for part, whole in zip(parts, direct, strict=True):
        assert part.tobytes() == whole[rows].astype(part.dtype).tobytes()
    # The parent's handles are its own.
    assert list(dataset._files._open) == [os.getpid()]


def test_files_do_not_travel(release):
    dataset = SampleDataset(release, "train")
    dataset[0]
    again = pickle.loads(pickle.dumps(dataset))  # noqa: S301
    assert not again._files._open
    assert torch.equal(again[3][0], dataset[3][0])


def test_order_by_epoch():
    order = BoundedShuffle(100, seed=2, block=8, buffer=32)
    first = list(order)
    assert len(order) == 100
    assert first == list(order)
    order.set_epoch(1)
    assert first != list(order)
    assert sorted(order) == sorted(first) == list(range(100))


def test_a_process_keeps_few_files_open(release, monkeypatch):
    monkeypatch.setattr("braggworks.datasets.shards._MAX_OPEN", 2)
    table = select_samples(read_manifest(release))
    files = ShardFiles(table.files)
    for number in (0, 1, 2, 3, 0):
        files.read(number, slice(0, 1), ["counts"])
    assert len(files._open[os.getpid()]) == 2
    files.close()
    assert not files._open


def test_a_split_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="There is no split 'tset': use train, validation, test, or None"):
        SampleDataset(tmp_path / "manifest.json", "tset")
