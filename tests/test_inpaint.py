"""Filling the gaps of whole scans, and the verb that does it."""

import json

import h5py
import numpy as np
import pytest

from braggworks.cli import main
from braggworks.config import ScanConfig
from braggworks.errors import ScanError
from braggworks.evaluation.sweeps import interpolation
from braggworks.files import sha256_of
from braggworks.inpainting.interpolation import interpolate
from braggworks.inpainting.model import SHIPPED
from braggworks.inpainting.patch_inpainter import PatchInpainter
from braggworks.inpainting.slabs import Slab, find_slabs
from braggworks.inpainting.whole_scan import fill_scan, window_count
from braggworks.recipes import ScanRecipe
from braggworks.scans.readers import read_scan
from braggworks.scans.scan import Scan
from braggworks.scans.writers import write_scan

PATCH = 16
LINEAR = interpolation("linear")


def pattern(shape, seed=0):
    """Poisson counts of a peak in the middle, with fringes."""
    z, y, x = (grid - size // 2 for grid, size in zip(np.indices(shape), shape, strict=True))
    fringes = np.sinc(x / 5) ** 2 * np.sinc(y / 6) ** 2 * np.sinc(z / 7) ** 2
    return np.random.default_rng(seed).poisson(1e5 * fringes + 0.5).astype(np.uint32)


def slab(shape, axis, start, width):
    mask = np.zeros(shape, bool)
    np.moveaxis(mask, axis, 0)[start : start + width] = True
    return mask


def linear(counts, mask):
    return np.expm1(interpolate(np.log1p(np.where(mask, 0, counts).astype(np.float64)), mask))


# --- slabs ---


def test_slabs_are_found_and_those_at_the_edge_are_not():
    mask = slab((20, 24, 28), 2, 0, 2) | slab((20, 24, 28), 2, 9, 3) | slab((20, 24, 28), 1, 5, 4)
    mask |= slab((20, 24, 28), 1, 11, 1) | slab((20, 24, 28), 0, 18, 2)
    mask[3, 3, 3] = True
    assert find_slabs(mask) == [Slab(1, 5, 4), Slab(1, 11, 1), Slab(2, 9, 3)]
    assert find_slabs(np.zeros((4, 4, 4), bool)) == []
    assert find_slabs(np.ones((4, 4, 4), bool)) == []


# --- filling ---


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("start", "width", "stride"), [(9, 3, 4), (3, 6, 7), (15, 4, 1)])
def test_linear_interpolation_by_windows_is_linear_interpolation(axis, start, width, stride):
    shape = (22, 21, 23) if stride > 1 else (18, 20, 22)
    start = min(start, shape[axis] - width - 2)
    counts, mask = pattern(shape), slab(shape, axis, start, width)
    found = fill_scan(counts, mask, LINEAR, patch=PATCH, stride=stride)
    np.testing.assert_allclose(found.counts, linear(counts, mask), rtol=2e-5, atol=1e-5)
    np.testing.assert_array_equal(found.counts[~mask], counts[~mask])
    assert np.nanmax(found.uncertainty) < 1e-3
    assert (found.predictions[mask] > 0).all()
    assert not found.predictions[~mask].any()


def one_window_at_a_time(counts, mask, fill, stride):
    """Return the scan filled by the loop that a reader of the publication would write, weights as described there."""
    logs = np.log1p(np.where(mask, 0, counts).astype(np.float64))
    ramp = np.minimum(np.arange(PATCH) + 1.0, PATCH - np.arange(PATCH))
    total, weight = np.zeros(counts.shape), np.zeros(counts.shape)
    for found in find_slabs(mask):
        order = list(range(3))
        order[found.axis], order[2] = 2, found.axis
        seen, hidden, sums, weights = (a.transpose(order) for a in (np.expm1(logs), mask, total, weight))
        z, y, x = seen.shape
        first = min(max(found.start - (PATCH - found.width) // 2, 0), x - PATCH)
        planes = slice(found.start, found.start + found.width)
        for top in sorted({*range(0, z - PATCH, stride), z - PATCH}):
            for left in sorted({*range(0, y - PATCH, stride), y - PATCH}):
                box = (slice(top, top + PATCH), slice(left, left + PATCH), slice(first, first + PATCH))
                filled = fill(seen[box][None].astype(np.float32), hidden[box][None])[0]
                inside = np.log1p(filled[:, :, found.start - first : found.start - first + found.width])
                sums[box[0], box[1], planes] += (ramp[:, None] * ramp)[:, :, None] * inside
                weights[box[0], box[1], planes] += (ramp[:, None] * ramp)[:, :, None]
    return np.where(mask, np.expm1(total / np.where(mask, weight, 1)), counts)


@pytest.mark.parametrize("stride", [1, 5])
def test_batched_windows_give_what_one_window_at_a_time_gives(stride):
    shape = (18, 30, 32)
    mask, counts = slab(shape, 1, 12, 4) | slab(shape, 2, 18, 3), pattern(shape)
    place = np.cos(np.arange(PATCH))

    def fill(patches, gaps):
        """Fill by what is around, in a way that differs from window to window and voxel to voxel."""
        mean = np.log1p(patches).mean(axis=(1, 2, 3), where=~gaps, keepdims=True)
        return np.where(gaps, np.exp(mean * (1 + 0.2 * place[:, None, None] * place[:, None] * place)), patches)

    found = fill_scan(counts, mask, fill, patch=PATCH, stride=stride, batch=7)
    np.testing.assert_allclose(found.counts, one_window_at_a_time(counts, mask, fill, stride), rtol=1e-5)


def test_cross_is_filled_and_its_crossing_comes_from_both_directions():
    shape = (18, 40, 40)
    mask = slab(shape, 1, 12, 4) | slab(shape, 2, 20, 4)
    first = fill_scan(pattern(shape), mask, lambda c, m: np.full(c.shape, 5.0), patch=PATCH, stride=8)
    np.testing.assert_allclose(first.counts[mask], 5)
    crossing = slab(shape, 1, 12, 4) & slab(shape, 2, 20, 4)
    alone = fill_scan(pattern(shape), slab(shape, 2, 20, 4), LINEAR, patch=PATCH, stride=8)
    assert (first.predictions[crossing] > alone.predictions[crossing]).all()
    assert first.steps == window_count(shape, find_slabs(mask), PATCH, 8) == 2 * 4 * 2


def test_the_network_sees_slabs_centred_and_normal_to_the_last_axis():
    shape, seen = (20, 40, 24), []

    def spy(counts, mask):
        seen.append(mask)
        assert not counts[mask].any()
        return counts

    fill_scan(pattern(shape), slab(shape, 1, 17, 4), spy, patch=PATCH, stride=5)
    expected = np.zeros((PATCH,) * 3, bool)
    expected[..., 6:10] = True
    for mask in np.concatenate(seen):
        np.testing.assert_array_equal(mask, expected)


def test_predictions_that_differ_are_averaged_in_logarithms_and_give_the_uncertainty():
    shape, mask = (16, 24, 30), slab((16, 24, 30), 2, 12, 4)
    answers = iter([np.e - 1, np.e**3 - 1])
    found = fill_scan(
        pattern(shape), mask, lambda c, m: np.full(c.shape, next(answers)), patch=PATCH, stride=8, batch=1
    )
    middle, once = found.counts[0, 12, 12], found.counts[0, 0, 12]
    assert np.log1p(once) == pytest.approx(1, abs=1e-6)
    # Windows start at rows 0 and 8: row 12 has the weights 4 and 5.
    assert np.log1p(middle) == pytest.approx((4 * 1 + 5 * 3) / 9, abs=1e-6)
    assert found.uncertainty[0, 12, 12] == pytest.approx(np.sqrt((4 * 1 + 5 * 9) / 9 - (19 / 9) ** 2), rel=1e-5)
    assert np.isnan(found.uncertainty[0, 0, 12])
    assert (found.predictions[0, 12, 12], found.predictions[0, 0, 12]) == (2, 1)


def test_stray_voxels_and_edges_are_interpolated():
    shape = (16, 20, 24)
    counts, mask = pattern(shape).astype(np.float32), slab(shape, 2, 0, 2)
    mask[:, 10, 10] = True
    counts[mask] = np.nan
    found = fill_scan(counts, mask, lambda c, m: 1 / 0, patch=PATCH, stride=8)
    np.testing.assert_allclose(found.counts, linear(np.where(mask, 0, counts), mask), rtol=1e-5)
    assert found.steps == 0
    assert found.counts.dtype == np.float32


def test_scans_and_gaps_that_do_not_fit_are_refused():
    with pytest.raises(ScanError, match="13 px wide, and windows of 16 voxels allow 12"):
        fill_scan(pattern((20, 20, 30)), slab((20, 20, 30), 2, 8, 13), LINEAR, patch=PATCH, stride=8)
    with pytest.raises(ScanError, match="at least 16"):
        fill_scan(pattern((12, 20, 30)), slab((12, 20, 30), 2, 8, 3), LINEAR, patch=PATCH, stride=8)
    with pytest.raises(ScanError, match="whole array"):
        fill_scan(pattern((16, 16, 16)), np.ones((16, 16, 16), bool), LINEAR, patch=PATCH, stride=8)


# --- the verb ---


class FakeInpainter(PatchInpainter):
    """Fills gaps by linear interpolation."""

    def __init__(self, path, stride):
        self.patch, self.stride, self.widths_px = PATCH, stride, (3, 6)

    def fill(self, counts, mask):
        return LINEAR(counts, mask)


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr("braggworks.inpainting.model.load_inpainter", FakeInpainter)


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "in" / "scan.cxi"
    write_scan(path, Scan(pattern((32, 40, 40)), title="test", energy_ev=9000.0, simulated=True))
    return path


def inpaint(scan, folder, *more):
    return main(["inpaint", str(scan), "--weights", str(SHIPPED), "--output", str(folder / "out.cxi"), *more])


CUT = ["--cut-cross", "4", "--cut-offset", "6", "5", "--stride", "8"]


def test_a_cut_cross_is_filled_and_scored(scan, tmp_path, fake, capsys):
    scores = tmp_path / "scores.json"
    assert inpaint(scan, tmp_path, *CUT, "--scores", str(scores)) == 0
    result = json.loads(scores.read_text())
    assert result["simulated"] is True
    assert result["pcc"]["network"] == pytest.approx(result["pcc"]["linear"], abs=2e-2)
    assert set(result["pcc"]) == {"network", "nearest", "linear", "cubic"}
    assert result["gap"] == {"kind": "cross", "width_px": 4, "offset_px": [6, 5], "start": [26, 25]}
    assert result["voxels"] == 32 * 4 * (40 + 40 - 4)
    assert sum(stratum["voxels"] for stratum in result["strata"]) == result["voxels"]
    assert [s["mean_counts"] for s in result["strata"]] == sorted(s["mean_counts"] for s in result["strata"])
    assert result["seconds"] >= 0
    out = read_scan(tmp_path / "out.cxi")
    assert out.simulated
    assert out.energy_ev == pytest.approx(9000)
    with h5py.File(tmp_path / "out.cxi") as file:
        group = file["entry_1/braggworks"]
        measured, gapped = group["measured"][()], group["gapped"][()]
        gap = group["filled"][()].astype(bool)
        assert not out.gap.any()
        assert gap.sum() == result["voxels"]
        np.testing.assert_array_equal(out.counts[~gap], measured[~gap])
        np.testing.assert_array_equal(gapped, np.where(gap, 0, measured))
        np.testing.assert_allclose(group["linear"][()], linear(gapped, gap), rtol=1e-5)
        assert group["uncertainty"].shape == measured.shape
    assert "linear" in capsys.readouterr().out


def test_a_recipe_says_the_same_as_options(scan, tmp_path, fake):
    recipe = ScanRecipe(
        version=1, scan=ScanConfig(crop=32, gap_px=4, gap_offset_px=(6, 5), stride_px=8, simulated="any")
    )
    assert inpaint(scan, tmp_path, *CUT, "--scores", str(tmp_path / "a.json")) == 0
    assert inpaint(scan, tmp_path, "--recipe", recipe.to_json(), "--scores", str(tmp_path / "b.json")) == 0
    first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab")
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def test_a_real_gap_is_filled_from_the_files_mask_or_another_one(tmp_path, fake):
    counts = pattern((24, 32, 32))
    mask = slab(counts.shape, 2, 22, 4)
    write_scan(tmp_path / "in" / "a.cxi", Scan(np.where(mask, 0, counts), mask))
    np.save(tmp_path / "in" / "b.npy", counts)
    np.save(tmp_path / "in" / "mask.npy", mask[0].astype(np.uint8))
    for name, more in (("a.cxi", []), ("b.npy", ["--mask", str(tmp_path / "in" / "mask.npy")])):
        assert inpaint(tmp_path / "in" / name, tmp_path, *more) == 0
        found = read_scan(tmp_path / "out.cxi")
        with h5py.File(tmp_path / "out.cxi") as file:
            np.testing.assert_array_equal(file["entry_1/braggworks/filled"][()].astype(bool), mask)
        np.testing.assert_allclose(found.counts, linear(counts, mask), rtol=2e-5, atol=1e-4)


def test_missing_weights(scan, tmp_path, capsys):
    assert inpaint(scan, tmp_path, *CUT, "--weights", "w") == 2
    refused(capsys, tmp_path, "w does not exist")


def test_a_dry_run_says_what_it_would_do(scan, tmp_path, fake, capsys):
    assert inpaint(scan, tmp_path, *CUT, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "in 24 windows" in said
    assert "gap normal to y: 4 px from 26" in said
    assert "--stride" not in said
    assert not (tmp_path / "out.cxi").exists()


def test_a_stride_for_a_network_of_whole_slabs_is_told(scan, tmp_path, capsys):
    assert inpaint(scan, tmp_path, *CUT, "--dry-run") == 0
    assert "--stride does nothing here" in capsys.readouterr().out


def refused(capsys, folder, *words):
    message = capsys.readouterr().err
    for word in words:
        assert word in message
    assert [path.name for path in folder.iterdir() if path.is_file()] == []


def test_a_gap_wider_than_the_patch(scan, tmp_path, fake, capsys):
    assert inpaint(scan, tmp_path, "--cut-cross", "13", "--cut-offset", "2", "2") == 2
    refused(capsys, tmp_path, "13 px wide", "allow 12")


def test_a_cross_outside_the_scan(scan, tmp_path, fake, capsys):
    assert inpaint(scan, tmp_path, "--cut-cross", "4", "--cut-offset", "12", "17") == 2
    refused(capsys, tmp_path, "x = 37", "40")


def test_a_scan_without_gaps(scan, tmp_path, fake, capsys):
    assert inpaint(scan, tmp_path) == 2
    refused(capsys, tmp_path, "has no gap", "--cut-cross")


def test_scores_need_a_cut(scan, tmp_path, fake, capsys):
    assert inpaint(scan, tmp_path, "--scores", str(tmp_path / "s.json")) == 2
    refused(capsys, tmp_path, "--scores", "--cut-cross")


def test_a_scan_smaller_than_the_patch(tmp_path, fake, capsys):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "s.npy", pattern((12, 40, 40)))
    assert inpaint(tmp_path / "in" / "s.npy", tmp_path, *CUT) == 2
    refused(capsys, tmp_path, "12x40x40", "at least 16")


def test_a_mask_of_another_shape(scan, tmp_path, fake, capsys):
    np.save(tmp_path / "in" / "mask.npy", np.zeros((3, 3), np.uint8))
    assert inpaint(scan, tmp_path, "--mask", str(tmp_path / "in" / "mask.npy")) == 2
    refused(capsys, tmp_path, "mask", "3x3", "32x40x40")


@pytest.mark.parametrize("stride", ["0", "-3", "x"])
def test_a_stride_that_is_no_step(scan, tmp_path, fake, capsys, stride):
    with pytest.raises(SystemExit) as stop:
        inpaint(scan, tmp_path, "--stride", stride)
    assert stop.value.code == 2
    refused(capsys, tmp_path, "--stride")


def test_a_mask_may_hold_truth_values(tmp_path, fake):
    counts = pattern((32, 40, 40))
    gap = np.zeros(counts.shape[1:], bool)
    gap[:, 26:30] = True
    write_scan(tmp_path / "scan.cxi", Scan(counts))
    np.save(tmp_path / "mask.npy", gap)
    assert inpaint(tmp_path / "scan.cxi", tmp_path, "--mask", str(tmp_path / "mask.npy")) == 0
    with h5py.File(tmp_path / "out.cxi") as file:
        provenance = json.loads(file.attrs["provenance"])
    assert provenance["mask_sha256"] == sha256_of(tmp_path / "mask.npy")


@pytest.mark.parametrize("value", [np.nan, 0.5])
def test_a_mask_that_is_neither_yes_nor_no_is_refused(scan, tmp_path, fake, capsys, value):
    mask = np.zeros((40, 40))
    mask[:, 26:30] = value
    np.save(tmp_path / "in" / "mask.npy", mask)
    assert inpaint(scan, tmp_path, "--mask", str(tmp_path / "in" / "mask.npy")) == 2
    refused(capsys, tmp_path, "mask.npy", "NaN or fractions")


def test_a_mask_in_which_1_is_good_is_refused(tmp_path, fake, capsys):
    counts = pattern((32, 40, 40))
    good = np.ones(counts.shape[1:], np.uint8)
    good[:, 26:30] = 0
    write_scan(tmp_path / "scan.cxi", Scan(counts))
    np.save(tmp_path / "mask.npy", good)
    assert inpaint(tmp_path / "scan.cxi", tmp_path, "--mask", str(tmp_path / "mask.npy")) == 2
    assert "the mask covers 90% of the voxels: check that 0 means good in it" in capsys.readouterr().err


def test_an_output_that_is_a_folder_is_refused_before_any_work(scan, tmp_path, fake, capsys):
    (tmp_path / "out.cxi").mkdir()
    assert inpaint(scan, tmp_path, "--cut-cross", "4") == 2
    assert "out.cxi cannot be written" in capsys.readouterr().err
    assert not any((tmp_path / "out.cxi").iterdir())


def test_a_detector_larger_than_the_frames_needs_their_place(tmp_path, fake, capsys):
    counts = pattern((16, 300, 300))
    write_scan(tmp_path / "scan.cxi", Scan(counts))
    inpaint(tmp_path / "scan.cxi", tmp_path, "--mask", "maxipix", "--dry-run")
    assert "warning: the frames are smaller than the Maxipix" in capsys.readouterr().err
    inpaint(tmp_path / "scan.cxi", tmp_path, "--mask", "maxipix", "--roi-origin", "100", "90", "--dry-run")
    assert "warning: the frames" not in capsys.readouterr().err
