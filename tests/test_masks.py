"""Masks that are in no file, and gaps that cannot be filled."""

import numpy as np
import pytest
import xarray as xr
from figure_inputs import write_gap_width

from braggworks.cli import main
from braggworks.config import NetworkConfig
from braggworks.errors import ScanError
from braggworks.inpainting.checks import check_peak, check_signal
from braggworks.networks import build
from braggworks.scans.masks import dead_bands, with_known_mask
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
