"""Masks that are in no file, and gaps that cannot be filled."""

import h5py
import numpy as np
import pytest
import xarray as xr
from figure_inputs import write_gap_width
from phasing_inputs import faceted, scan_of

from braggworks.cli import main
from braggworks.config import NetworkConfig
from braggworks.errors import ScanError
from braggworks.inpainting.checks import check_peak, check_signal, interpolated
from braggworks.networks import build
from braggworks.scans.masks import dead_bands, with_known_mask
from braggworks.scans.prepare import brightest
from braggworks.scans.readers import read_scan
from braggworks.scans.scan import Scan
from braggworks.scans.writers import write_scan
from braggworks.training.checkpoints import Weights, write_weights

SHAPE = (12, 60, 70)


def counts(shape=SHAPE, background=2.0):
    z, y, x = np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij")
    expected = 3000 * np.exp(-np.sqrt(x**2 + y**2 + z**2) / 4) + background
    return np.random.default_rng(0).poisson(expected).astype(np.uint32)


def banded(value=0):
    found = counts()
    found[:, 40:44] = value
    found[:, :, 50:52] = value
    return found


def expected_mask():
    mask = np.zeros(SHAPE[1:], bool)
    mask[40:44] = mask[:, 50:52] = True
    return mask


NOTHING = np.zeros(SHAPE, bool)


# --- dead bands ---


@pytest.mark.parametrize("value", [0, np.iinfo(np.uint32).max])
def test_full_rows_and_columns_without_counts_are_found(value):
    np.testing.assert_array_equal(dead_bands(banded(value), NOTHING), expected_mask())


def test_a_band_at_the_edge_a_half_band_and_a_dark_scan_are_none():
    edge, half = counts(), counts()
    edge[:, :3] = 0
    half[:, 20:24, :30] = 0
    dark = np.random.default_rng(1).poisson(1e-3, SHAPE)  # so few that a line without counts is no wonder
    for found in (edge, half, dark, np.zeros(SHAPE, np.uint32)):
        assert not dead_bands(found, NOTHING).any()


def test_what_is_masked_already_is_not_found_again_and_hides_nothing():
    gap = NOTHING.copy()
    gap[:, 40:44] = True
    found = dead_bands(banded(), gap)
    assert found[:, 50:52].all()
    assert not np.delete(found, [50, 51], axis=1).any()


def test_a_detector_gives_its_gaps():
    scan = with_known_mask(Scan(counts()), "maxipix", (230, 240))
    np.testing.assert_array_equal(np.flatnonzero(scan.gap.all(axis=(0, 2))), 255 - 230 + np.arange(6))
    np.testing.assert_array_equal(np.flatnonzero(scan.gap.all(axis=(0, 1))), 255 - 240 + np.arange(6))
    with pytest.raises(ScanError, match="--roi-origin"):
        with_known_mask(Scan(counts()), "maxipix", (500, 0))
    with pytest.raises(ScanError, match="no dead band"):
        with_known_mask(Scan(counts()), "auto")
    with pytest.raises(ScanError, match="holds no counts"):
        with_known_mask(Scan(np.zeros(SHAPE, np.uint32)), "auto")
    masked = Scan(counts(), mask=np.broadcast_to(expected_mask(), SHAPE))
    assert (with_known_mask(masked, "auto").gap == masked.gap).all()


# --- what cannot be filled ---


def test_a_gap_over_the_peak_is_refused_and_one_beside_it_is_not():
    gap = NOTHING.copy()
    gap[:, 28:34] = True
    with pytest.raises(ScanError, match="covers the Bragg peak"):
        check_peak(counts(), gap, "scan")
    check_peak(counts(), np.roll(gap, 8, 1), "scan")
    hot = NOTHING.copy()
    hot[6, 30, 36] = True
    check_peak(counts(), hot, "scan")


@pytest.mark.parametrize("phase_range", [0.0, 2.0])
def test_a_gap_whose_edge_runs_between_fringes_does_not_hide_that_it_covers_the_peak(phase_range):
    seen = scan_of(faceted(48, 1, phase_range)).counts
    z, y, x = np.indices(seen.shape) - np.array(np.unravel_index(seen.argmax(), seen.shape)).reshape(3, 1, 1, 1)
    gaps = [abs(y) <= half for half in (1, 2, 3, 4, 6)] + [y**2 + x**2 <= r**2 for r in (2, 3, 4, 6)]
    for gap in [*gaps, z**2 + y**2 + x**2 <= 9]:
        with pytest.raises(ScanError, match="covers the Bragg peak"):
            check_peak(np.where(gap, 0, seen), gap, "scan")
        beside = np.roll(gap, 14, 1)
        check_peak(np.where(beside, 0, seen), beside, "scan")


def test_hot_pixels_do_not_hide_that_the_peak_is_covered():
    gap, seen = NOTHING.copy(), counts()
    gap[:, 28:34] = True
    seen[2, 5, 5] = np.iinfo(seen.dtype).max
    seen[3, 50, 60] = 1_000_000
    with pytest.raises(ScanError, match="covers the Bragg peak"):
        check_peak(seen, gap, "scan")
    assert brightest(seen, NOTHING) == brightest(counts(), NOTHING)
    assert brightest(np.zeros(SHAPE), NOTHING) == (0, 0, 0)


def test_bands_at_the_edge_and_small_groups_are_counted():
    mask = NOTHING.copy()
    mask[:, :3] = True
    mask[:, 40:44] = True
    mask[4, 20, 20:22] = True
    assert interpolated(mask) == (12 * 3 * 70, 2)


def test_a_gap_in_the_dark_is_refused():
    gap = NOTHING.copy()
    gap[:, :, 50:54] = True
    lit = np.zeros(SHAPE)
    lit[6, 30, 20] = 5
    with pytest.raises(ScanError, match="nothing to continue"):
        check_signal(lit, gap, "scan")
    lit[6, 30, 60] = 1
    check_signal(lit, gap, "scan")


# --- the verb ---


@pytest.fixture
def scan(tmp_path):
    write_scan(tmp_path / "in" / "scan.cxi", Scan(banded(), title="test"))
    config = NetworkConfig(name="plane_network", width=0.1)
    write_weights(tmp_path / "w", Weights(config, 64, (2, 3), build(config).state_dict()))
    return tmp_path / "in" / "scan.cxi"


def inpaint(scan, *more):
    folder = scan.parents[1]
    return main(["inpaint", str(scan), "--weights", str(folder / "w"), "--out", str(folder / "out.cxi"), *more])


def test_a_scan_with_dead_bands_is_filled(scan, capsys):
    assert inpaint(scan, "--mask", "auto") == 0
    told = capsys.readouterr().out
    assert "gap normal to y: 4 px from 40" in told
    assert "warning: the network was trained on gaps of 2 to 3 px" in told
    assert told.count("warning") == 1
    assert "accuracy here is not known" in told
    found, gap = read_scan(scan.parents[1] / "out.cxi"), np.broadcast_to(expected_mask(), SHAPE)
    np.testing.assert_array_equal(found.counts[~gap], banded()[~gap])
    assert np.corrcoef(np.log1p(found.counts[gap]), np.log1p(counts()[gap]))[0, 1] > 0.5
    assert not found.gap.any()


def test_what_may_be_wrong_with_a_mask_is_told(scan, capsys):
    found, folder = banded(), scan.parents[1]
    assert inpaint(scan, "--mask", "Maxipix", "--roi-origin", "217", "206") == 0
    told = capsys.readouterr()
    hidden = np.zeros(SHAPE[1:], bool)
    hidden[38:44] = hidden[:, 49:55] = True
    counted = int((found[:, hidden] > 0).sum())
    assert f"warning: {counted} voxels in the gaps of the Maxipix hold counts" in told.err
    write_scan(scan, Scan(found, mask=np.broadcast_to(expected_mask(), SHAPE)))
    assert inpaint(scan, "--mask", "auto") == 0
    told = capsys.readouterr().out
    assert "no dead band beyond its own mask" in told
    assert f"note: {folder / 'out.cxi'} exists and will be replaced" in told


def test_a_band_at_the_edge_is_told_and_has_no_uncertainty(scan, capsys):
    mask = np.zeros(SHAPE[1:], np.uint8)
    mask[:5] = mask[40:44] = 1
    np.save(scan.with_name("mask.npy"), mask)
    assert inpaint(scan, "--mask", str(scan.with_name("mask.npy"))) == 0
    assert f"warning: {12 * 5 * 70} voxels lie in bands at the edge" in capsys.readouterr().out
    with h5py.File(scan.parents[1] / "out.cxi") as file:
        spread = file["entry_1/braggworks/uncertainty"][()]
    assert np.isnan(spread[:, :5]).all()
    assert np.isfinite(spread[:, 5:]).all()


def test_what_a_file_says_of_its_sample_is_kept(scan):
    with h5py.File(scan, "r+") as file:
        file["entry_1/sample_1/name"] = "Au 7"
        file["entry_1/sample_1/unit_cell"] = np.array([4.08, 4.08, 4.08, 90, 90, 90])
        file["entry_1/instrument_1/name"] = np.bytes_("beamline")
        file["entry_1/start_time"] = np.zeros((50, 50))  # no time
    assert inpaint(scan, "--mask", "auto") == 0
    with h5py.File(scan.parents[1] / "out.cxi") as file:
        assert file["entry_1/sample_1/name"].asstr()[()] == "Au 7"
        assert file["entry_1/instrument_1/name"].asstr()[()] == "beamline"
        assert file["entry_1/sample_1/unit_cell"][()].tolist() == [4.08, 4.08, 4.08, 90, 90, 90]
        assert "start_time" not in file["entry_1"]


def test_a_mask_is_taken_from_its_place_in_a_file(scan, capsys):
    other = scan.with_name("other.cxi")
    write_scan(other, Scan(counts(), mask=np.broadcast_to(expected_mask(), SHAPE)))
    assert inpaint(scan, "--mask", str(other)) == 0
    with h5py.File(scan.parents[1] / "out.cxi") as file:
        assert (file["entry_1/braggworks/filled"][()] == expected_mask()).all()
    capsys.readouterr()
    with h5py.File(other, "w") as file:
        file["a/x"] = file["b/y"] = expected_mask().astype(np.uint8)
    assert inpaint(scan, "--mask", str(other)) == 2
    told = capsys.readouterr().err
    assert "holds no array of the name mask, and a/x, b/y" in told
    assert "--dataset" not in told


def test_the_accuracy_at_the_nearest_width_is_told(scan, capsys):
    write_gap_width(scan.parents[1] / "gap_width.nc")
    assert inpaint(scan, "--mask", "auto", "--dry-run") == 0
    score = xr.load_dataset(scan.parents[1] / "gap_width.nc")["mean"].sel({"method": "network", "gap_width": 3})
    told = f"at 3 px, the nearest width that it was tested on, its mean correlation is {float(score):.3f}"
    assert told in capsys.readouterr().out
    (scan.parents[1] / "gap_width.nc").write_text("no scores")
    assert inpaint(scan, "--mask", "auto", "--dry-run") == 0
    assert "accuracy here is not known" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "has no gap"),
        (("--mask", "maxipix"), "has no gap"),
        (("--mask", "maxipix", "--roi-origin", "600", "0"), "do not lie on the Maxipix"),
        (("--mask", "maxipix", "--roi-origin", "225", "100"), "covers the Bragg peak"),
        (("--mask", "none.npy"), "none.npy"),
    ],
)
def test_a_mask_that_does_not_help_is_answered_in_a_sentence(scan, capsys, more, words):
    assert inpaint(scan, *more) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert not (scan.parents[1] / "out.cxi").exists()


def test_a_covered_peak_is_filled_if_asked(scan):
    assert inpaint(scan, "--mask", "maxipix", "--roi-origin", "225", "100", "--peak-in-gap") == 0


# --- the picture ---


def test_before_and_after_are_drawn(scan, capsys):
    folder = scan.parents[1]
    assert inpaint(scan, "--mask", "auto") == 0
    assert main(["picture", str(folder / "out.cxi")]) == 0
    first = (folder / "out.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert main(["picture", str(folder / "out.cxi"), "--output", str(folder / "again.png")]) == 0
    assert (folder / "again.png").read_bytes() == first


def test_a_scan_that_was_not_filled_has_no_picture(scan, capsys):
    assert main(["picture", str(scan)]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not scan.with_suffix(".png").exists()


def test_without_an_environment_for_figures_the_command_is_told(scan, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.prefix", str(tmp_path / "none" / "learn"))
    assert inpaint(scan, "--mask", "auto", "--picture", str(tmp_path / "p.png")) == 0
    assert "braggworks picture" in capsys.readouterr().out
    assert not (tmp_path / "p.png").exists()


def test_a_network_is_joined_with_the_scans_own_predictor(scan, capsys):
    assert inpaint(scan, "--mask", "auto", "--adapt") == 0
    found, gap = read_scan(scan.parents[1] / "out.cxi"), np.broadcast_to(expected_mask(), SHAPE)
    np.testing.assert_array_equal(found.counts[~gap], banded()[~gap])
    assert np.corrcoef(np.log1p(found.counts[gap]), np.log1p(counts()[gap]))[0, 1] > 0.5
