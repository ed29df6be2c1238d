"""Training the plane network on one scan: where its slabs lie, what is refused before it, and what it writes."""

import numpy as np
import pytest
from slab_inputs import SMALL, digest, pattern, slab

from braggworks.cli import main
from braggworks.commands._figure_inputs.results import read_finetuned
from braggworks.commands.finetune import Judged, _around_peak, _plan
from braggworks.config import NetworkConfig, SlabConfig, TrainingConfig
from braggworks.files import read_json, sha256_of
from braggworks.inpainting.model import load_inpainter
from braggworks.networks import build
from braggworks.networks.plane_network import PLANES
from braggworks.scans.scan import Scan
from braggworks.scans.writers import write_scan
from braggworks.training.checkpoints import Weights, read_weights, write_weights
from braggworks.training.scan_windows import Windows, find_windows
from braggworks.training.slab_samples import ScanSlabs


def write_inputs(folder, gap, seed=0):
    """A scan with a gap, and weights for gaps of 2 and 3 px."""
    counts = np.random.default_rng(seed).poisson(pattern(gap.shape)).astype(np.uint32)
    write_scan(folder / "in" / "scan.cxi", Scan(np.where(gap, 0, counts).astype(np.uint32), gap, title="test"))
    write_weights(folder / "in" / "w", Weights(SMALL, 64, (2, 3), build(SMALL).state_dict()))
    return counts


def finetune(folder, *more):
    scan, weights = str(folder / "in" / "scan.cxi"), str(folder / "in" / "w")
    short = ["--windows", "8", "--epochs", "1"]
    return main(["finetune", scan, "--weights", weights, "--out", str(folder / "out" / "mine"), *short, *more])


@pytest.fixture
def inputs(tmp_path):
    write_inputs(tmp_path, slab((40, 64, 110), 2, 20, 4))
    return tmp_path


# --- where slabs lie ---


def test_slabs_of_a_scan_never_see_a_masked_voxel():
    counts = pattern((50, 60, 70))
    mask = slab(counts.shape, 2, 40, 6)
    windows = find_windows(mask, (1, 2), 6)
    samples = ScanSlabs(np.where(mask, -1.0, counts), windows, SlabConfig(widths_px=(2, 6)), number=40, seed=3)
    found = list(samples.batches(0, np.arange(40), lambda order: np.array_split(order, 5)))
    assert len(found) == 5
    for values, truth, gap in found:
        assert (truth >= 0).all()
        assert truth.shape[-1] == int(gap[0, 0, 0, 0].sum()) + 2 * PLANES
        assert not values[gap > 0].any()
    assert digest(found) == digest(list(samples.batches(0, np.arange(40), lambda order: np.array_split(order, 5))))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_windows_are_all_that_hold_no_masked_voxel(axis):
    mask = np.random.default_rng(axis).random((26, 27, 28)) < 0.0007
    size = [5, 5, 5]
    size[axis] = 3 + 2 * PLANES
    boxes = np.lib.stride_tricks.sliding_window_view(mask, size)
    windows = Windows(mask, (axis,), 5)
    assert windows.number(3) == (~boxes.any(axis=(3, 4, 5))).sum() > 0
    rng = np.random.default_rng(0)
    for _ in range(20):
        normal, window = windows.draw(3, rng)
        assert normal == axis
        assert mask[window].shape == tuple(size)
        assert not mask[window].any()
    assert windows.normals(windows.widest) == (axis,)
    assert windows.normals(windows.widest + 1) == ()


def test_the_only_window_is_found():
    mask = np.ones((60, 60, 60), bool)
    mask[3:51, 7:55, 9 : 9 + 6 + 2 * PLANES] = False
    windows = find_windows(mask, (2,), 6)
    assert (windows.edge, windows.number(6)) == (48, 1)
    _, window = windows.draw(6, np.random.default_rng(0))
    assert [part.start for part in window] == [3, 7, 9]


def test_windows_shrink_until_every_axis_has_one():
    assert find_windows(np.zeros((60, 60, 60), bool), (1, 2), 6).edge == 48
    assert find_windows(np.zeros((47, 60, 60), bool), (1, 2), 6).edge == 40
    # Along y there is no room at any size.
    low = find_windows(np.zeros((60, 20, 60), bool), (1, 2), 6)
    assert (low.edge, low.normals(6)) == (16, (2,))
    assert find_windows(np.zeros((60, 20, 60), bool), (1,), 6).normals(6) == ()


def test_equal_axes_are_cut_where_no_gap_is_normal_if_that_leaves_room():
    shape = (80, 80, 80)
    cross = slab(shape, 1, 52, 4) | slab(shape, 2, 50, 4)
    plan = _plan(Scan(pattern(shape), cross), None)
    assert plan.judged.number(4) > 0
    assert all(plan.judged.draw(4, np.random.default_rng(n))[1][0].start > 30 for n in range(9))
    spoilt = cross.copy()
    spoilt[35:, ::3, ::3] = True
    plan = _plan(Scan(pattern(shape), spoilt), None)
    assert min(plan.learned.number(4), plan.judged.number(4)) > 0
    assert all(plan.judged.draw(4, np.random.default_rng(n))[1][0].stop <= 35 for n in range(9))


def test_finetuning_looks_at_what_lies_around_the_peak():
    counts = np.pad(pattern((40, 64, 110)), ((0, 0), (200, 100), (90, 150)))
    peak = np.unravel_index(int(counts.argmax()), counts.shape)
    kept = _around_peak(Scan(counts)).counts
    assert kept.shape == (40, 128, 128)
    assert kept.max() == counts.max()
    assert kept[:, 64, 64].max() == counts[:, peak[1], peak[2]].max()


# --- what is refused before training ---


def test_a_part_without_room_is_named_with_what_has_room(tmp_path, capsys):
    shape = (40, 64, 110)
    write_inputs(tmp_path, slab(shape, 2, 20, 4) | slab(shape, 2, 75, 4))
    for more in ([], ["--dry-run"]):
        assert finetune(tmp_path, "--widths", "3", "50", *more) == 2
        sentence = capsys.readouterr().err
        assert "in/scan.cxi" in sentence
        assert "no measured window in its training part for a slab of 50 px" in sentence
        assert "give --widths of at most 35." in sentence
    assert finetune(tmp_path, "--widths", "35", "--dry-run") == 0
    assert finetune(tmp_path, "--widths", "36", "--dry-run") == 2


def test_gaps_wider_than_can_be_trained_on(inputs, capsys):
    assert finetune(inputs, "--widths", "65") == 2
    assert "at most 64" in capsys.readouterr().err


def test_a_scan_that_is_too_small_is_refused(tmp_path, capsys):
    write_inputs(tmp_path, slab((20, 20, 40), 2, 2, 3))
    assert finetune(tmp_path, "--dry-run") == 2
    sentence = capsys.readouterr().err
    assert "in its held-out part for a slab of 3 px" in sentence
    assert "use the weights as they are" in sentence


@pytest.mark.parametrize("rate", ["1e3", "-1", "0", "nan", "inf", "fast"])
def test_a_learning_rate_that_is_none(inputs, capsys, rate):
    with pytest.raises(SystemExit) as stop:
        finetune(inputs, "--dry-run", "--learning-rate", rate)
    assert stop.value.code == 2
    assert f"{rate!r} is no learning rate: use a number above 0 and at most 1" in capsys.readouterr().err
    with pytest.raises(ValueError, match="learning_rate"):
        TrainingConfig(release="r", learning_rate=rate)


@pytest.mark.parametrize("option", ["--output", "--examples", "--scores"])
@pytest.mark.parametrize("path", ["in", "in/w/below"])
def test_an_output_that_cannot_be_written_is_refused_before_training(inputs, capsys, option, path):
    for more in ([], ["--dry-run"]):
        assert finetune(inputs, option, str(inputs / path), *more) == 2
        assert f"{path} cannot be written" in capsys.readouterr().err
    assert not (inputs / "out").exists()


def test_only_the_plane_network_is_trained_on_a_scan(inputs, capsys):
    config = NetworkConfig(width=0.1)
    write_weights(inputs / "in" / "w", Weights(config, 16, (2, 3), build(config).state_dict()))
    assert finetune(inputs) == 2
    assert "only plane_network" in capsys.readouterr().err


# --- what is said and written ---


def test_finetuning_improves_what_it_has_not_seen(tmp_path, capsys):
    counts = write_inputs(tmp_path, slab((40, 64, 110), 2, 20, 4))
    more = ["--windows", "96", "--epochs", "2", "--learning-rate", "3e-3"]
    assert finetune(tmp_path, *more, "--dry-run") == 0
    assert not (tmp_path / "out").exists()
    more += ["--scores", str(tmp_path / "out" / "scores.json"), "--examples", str(tmp_path / "out" / "examples.h5")]
    assert finetune(tmp_path, *more) == 0
    scores = read_json(tmp_path / "out" / "scores.json")["pcc"]
    assert scores["after"]["4"] > scores["before"]["4"] > scores["linear"]["4"]
    shown = read_finetuned(str(tmp_path / "out" / "examples.h5"))
    assert len({planes.shape for planes in shown.fillings.values()}) == 1
    measured = shown.fillings["truth"]
    np.testing.assert_allclose(measured, measured.round(), rtol=1e-4, atol=1e-4)
    assert 0 < measured.max() <= counts.max()
    assert shown.pcc["after"].mean() > shown.pcc["linear"].mean()
    assert "4 px normal to x" in capsys.readouterr().out


def test_equal_axes_and_a_cross_are_planned_and_trained_alike(tmp_path, capsys):
    shape = (72, 72, 72)
    write_inputs(tmp_path, slab(shape, 1, 50, 4) | slab(shape, 2, 48, 4))
    assert finetune(tmp_path, "--dry-run") == 0
    announced = capsys.readouterr().out
    assert finetune(tmp_path) == 0
    assert capsys.readouterr().out.startswith(announced)


def test_it_says_how_long_it_takes_and_counts_in_good_grammar(inputs, capsys):
    assert finetune(inputs, "--windows", "6400", "--epochs", "5", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "5 epochs of 6400 slabs" in said
    assert "about 40 minutes on one core" in said
    assert finetune(inputs) == 0
    said = capsys.readouterr().out
    assert "about 1 minute on one core" in said
    assert "mine: weights of 1 epoch on" in said


def test_weights_keep_their_range_and_say_what_made_them(inputs):
    np.save(inputs / "in" / "mask.npy", slab((40, 64, 110), 2, 90, 2))
    assert finetune(inputs, "--widths", "9", "--mask", str(inputs / "in" / "mask.npy")) == 0
    assert load_inpainter(inputs / "out" / "mine").widths_px == (2, 3)
    made_by = read_weights(inputs / "out" / "mine").provenance
    assert made_by["command"].split()[0] == "braggworks"
    assert made_by["scan"] == "scan.cxi"
    for name, file in {"scan": "scan.cxi", "weights": "w", "mask": "mask.npy"}.items():
        assert made_by[f"{name}_sha256"] == sha256_of(inputs / "in" / file)
    assert {"braggworks", "torch", "environment"} <= made_by.keys()


def test_where_nothing_was_counted_there_is_no_accuracy():
    dark = np.zeros((2, 3, 4, 5), np.float32)
    assert Judged(dark, dark, dark).mean(dark + 1) is None
