"""Reading, checking, correcting, cropping and writing scans, and the verbs that do it."""

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_inputs import WRITERS, blob, refused, scan_verb, write_cxi

from braggworks.cli import main
from braggworks.config import ScanConfig
from braggworks.errors import ScanError
from braggworks.evaluation.metrics import pcc
from braggworks.files import create_h5
from braggworks.inpainting.interpolation import interpolate
from braggworks.recipes import ScanRecipe
from braggworks.scans.prepare import correct, crop, crop_window, find_peak, prepare
from braggworks.scans.readers import read_scan, usable
from braggworks.scans.scan import Scan
from braggworks.scans.writers import write_scan

MEASURED = Path(os.environ.get("BRAGGWORKS_TEST_DATA", "")) / "aps34idc_au_scan54.cxi"
needs_scan = [
    pytest.mark.needs_scan,
    pytest.mark.skipif(
        not (os.environ.get("BRAGGWORKS_TEST_DATA") and MEASURED.exists()),
        reason="the measured scan aps34idc_au_scan54.cxi is not in the folder that BRAGGWORKS_TEST_DATA names",
    ),
]


# --- reading ---


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_counts(tmp_path, name):
    counts = blob()
    WRITERS[name](tmp_path / name, counts)
    scan = read_scan(tmp_path / name)
    np.testing.assert_array_equal(scan.counts, counts)
    assert scan.counts.dtype == counts.dtype
    assert (scan.mask, scan.dark, scan.simulated) == (None, None, False)
    assert scan.format == {"scan.cxi": "CXI", "scan.h5": "HDF5", "frames": "tif"}.get(name, name[-3:])


def test_cxi_geometry_is_read(tmp_path):
    write_cxi(tmp_path / "s.cxi", blob(), distance=0.5, x_pixel_size=55e-6, y_pixel_size=75e-6)
    with h5py.File(tmp_path / "s.cxi", "a") as file:
        file["entry_1/sample_1/geometry_1/theta"] = np.deg2rad(np.arange(20.0))
        file["entry_1/sample_1/geometry_1/theta"].attrs["units"] = "rad"
        file["entry_1/sample_1/geometry_1/translation"] = np.zeros(3)
    scan = read_scan(tmp_path / "s.cxi")
    assert scan.energy_ev == pytest.approx(9000)
    assert (scan.distance_m, scan.pixel_m) == (0.5, (75e-6, 55e-6))
    assert set(scan.angles) == {"theta"}
    np.testing.assert_allclose(scan.angles["theta"], np.arange(20))


def test_masks_of_a_frame_or_of_the_scan_are_joined(tmp_path):
    counts = blob()
    inner, outer = np.zeros(counts.shape, np.uint8), np.zeros(counts.shape[1:], np.int32)
    inner[3, 4, 5], outer[7, 8] = 1, 0x200
    write_cxi(tmp_path / "s.cxi", counts, mask=inner)
    tifffile.imwrite(tmp_path / "mask.tif", outer)
    np.testing.assert_array_equal(read_scan(tmp_path / "s.cxi").mask, inner != 0)
    both = read_scan(tmp_path / "s.cxi", mask=tmp_path / "mask.tif")
    np.testing.assert_array_equal(both.mask, (inner != 0) | (outer != 0))


def test_what_is_written_is_read_again(tmp_path):
    counts = blob().astype(np.float32)
    mask = np.zeros(counts.shape, bool)
    mask[:, :, 4] = True
    scan = Scan(
        counts,
        mask,
        energy_ev=9000.0,
        distance_m=0.5,
        pixel_m=(5e-5, 6e-5),
        angles={"delta": np.array(32.0), "theta": np.linspace(0, 1, 20)},
        title="a scan",
        simulated=True,
    )
    write_scan(tmp_path / "s.cxi", scan, {"more": counts}, window=[1, 2, 3])
    found = read_scan(tmp_path / "s.cxi")
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_array_equal(found.mask, mask)
    assert (found.title, found.format, found.simulated, found.axes) == ("a scan", "CXI", True, scan.axes)
    assert (found.distance_m, found.pixel_m) == (0.5, (5e-5, 6e-5))
    assert found.energy_ev == pytest.approx(9000)
    np.testing.assert_array_equal(found.angles["theta"], scan.angles["theta"])
    with h5py.File(tmp_path / "s.cxi") as file:
        assert file["cxi_version"][()] == 160
        np.testing.assert_array_equal(file["entry_1/braggworks/more"], counts)


# --- correcting ---


def test_dark_and_white_field_are_taken_from_their_region():
    counts, generator = np.full((4, 6, 8), 100, np.uint32), np.random.default_rng(1)
    response, dark = generator.uniform(0.5, 1.5, (12, 16)), generator.integers(0, 5, (12, 16))
    y, x = 3, 5
    recorded = counts * response[y : y + 6, x : x + 8] / np.median(response[y : y + 6, x : x + 8])
    recorded += dark[y : y + 6, x : x + 8]
    scan = Scan(recorded, dark=dark, white_field=1e4 * response)
    found, notes = correct(scan, (y, x), hot_pixels=False)
    np.testing.assert_allclose(found.counts, counts, rtol=1e-5)
    assert found.dark is found.white_field is found.mask is None
    assert len(notes) == 2


def test_dead_and_hot_pixels_are_masked():
    counts = blob(background=3)
    counts[:, 2, 3] = 400
    white, dark = np.ones((24, 28)), np.zeros((24, 28))
    white[5, 6], white[7, 8], white[9, 9] = 0, np.nan, 0.01
    dark[20, 20] = 100
    found, _ = correct(Scan(counts, dark=dark, white_field=white))
    assert sorted(map(tuple, np.argwhere(found.mask[0]).tolist())) == [(2, 3), (5, 6), (7, 8), (9, 9), (20, 20)]
    assert not found.counts[found.mask].any()
    assert np.isfinite(found.counts).all()
    kept, _ = correct(Scan(counts), hot_pixels=False)
    assert kept.mask is None
    assert kept.counts.dtype == counts.dtype


@pytest.mark.parametrize("oversampling", [2.0, 2.2, 3.0])
def test_sharp_fringes_are_no_hot_pixels(oversampling):
    """Close to an oversampling ratio of 2, a cube's fringes are one pixel wide."""
    z, y, x = (np.indices((64, 32, 32)) - np.array([32, 16, 16]).reshape(3, 1, 1, 1)) / oversampling
    counts = np.random.default_rng(0).poisson(1e8 * (np.sinc(x) * np.sinc(y) * np.sinc(z)) ** 2)
    assert correct(Scan(counts))[0].mask is None


# --- the peak ---


def test_peak_is_found_despite_hot_pixels():
    counts = blob(background=1)
    counts[:, 3, 4] = 100_000
    counts[15, 20, 20] = 1_000_000
    peak = find_peak(counts)
    assert np.abs(np.subtract(peak.position, (9, 11, 13))).max() <= 1
    np.testing.assert_allclose(peak.centre, (9, 11, 13), atol=0.15)
    assert peak.maximum == counts[peak.position]
    assert peak.signal > 50 * peak.background


@pytest.mark.parametrize("rate", [0.0, 0.01, 1.0, 300.0])
def test_noise_has_no_peak(rate):
    counts = np.random.default_rng(2).poisson(rate, (32, 32, 32))
    with pytest.raises(ScanError, match="no peak"):
        find_peak(counts)
    counts[5, 6, 7] += 10_000
    with pytest.raises(ScanError, match="no peak"):
        find_peak(counts)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(2, 40)] * 3),
    where=st.tuples(*[st.floats(0, 0.999)] * 3),
    size=st.integers(1, 24).map(lambda n: 2 * n),
)
def test_crops_are_even_inside_and_hold_the_peak(shape, where, size):
    centre = tuple(int(part * n) for part, n in zip(where, shape, strict=True))
    start, extent, notes = crop_window(shape, centre, size)
    for first, length, middle, available in zip(start, extent, centre, shape, strict=True):
        assert length % 2 == 0
        assert length == min(size, available // 2 * 2)
        assert 0 <= first <= available - length
        if length // 2 <= middle <= available - length + length // 2:
            assert middle - first == length // 2
    assert len(notes) >= sum(n < size for n in shape)


def test_crop_keeps_the_angles_of_its_steps():
    scan = Scan(blob(), angles={"theta": np.arange(20.0), "delta": np.array(3.0)})
    part = crop(scan, (4, 0, 2), (8, 24, 6))
    np.testing.assert_array_equal(part.counts, scan.counts[4:12, :, 2:8])
    np.testing.assert_array_equal(part.angles["theta"], np.arange(4, 12))
    assert part.angles["delta"] == 3


# --- the verb scan ---


def test_scan_says_what_is_in_it_and_writes_the_crop(tmp_path, capsys):
    counts = blob()
    write_cxi(tmp_path / "s.cxi", counts, dark=np.zeros((30, 30), np.int32), whitefield=np.full((30, 30), 7.0))
    assert scan_verb(tmp_path / "s.cxi", tmp_path) == 0
    said = capsys.readouterr().out
    for words in ("20x24x28", "9.0000 keV", f"{counts.sum():.6g} in all", "30x30", "16x16x16", "uint32", "rocking"):
        assert words in said
    found = read_scan(tmp_path / "out.cxi")
    peak = find_peak(counts).position
    z, y, x = (slice(middle - 8, middle + 8) for middle in peak)
    np.testing.assert_allclose(found.counts, counts[z, y, x])
    assert find_peak(found.counts).position == (8, 8, 8)
    assert found.energy_ev == pytest.approx(9000)


def test_scan_without_output_only_prints(tmp_path, capsys):
    np.save(tmp_path / "s.npy", blob())
    assert main(["scan", str(tmp_path / "s.npy")]) == 0
    assert "axis x has 28 of the 128 voxels" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["s.npy"]


def test_recipe_gives_the_crop(tmp_path):
    np.save(tmp_path / "s.npy", blob((40, 40, 40), (20, 20, 20)))
    recipe = ScanRecipe(version=1, scan=ScanConfig(crop=32, simulated="any")).to_json()
    assert main(["scan", str(tmp_path / "s.npy"), "--recipe", recipe, "--output", str(tmp_path / "out.cxi")]) == 0
    assert read_scan(tmp_path / "out.cxi").counts.shape == (32, 32, 32)


def test_fields_from_files_or_none(tmp_path):
    write_cxi(tmp_path / "s.cxi", blob(), dark=np.full((24, 28), 1), whitefield=np.full((24, 28), np.nan))
    np.save(tmp_path / "white.npy", np.where(np.arange(28) < 20, 2.0, 1.0) * np.ones((24, 1)))
    assert scan_verb(tmp_path / "s.cxi", tmp_path, "--no-dark", "--white-field", str(tmp_path / "white.npy")) == 0
    counts = read_scan(tmp_path / "out.cxi").counts
    right = np.rint(counts[:, :, -1]).astype(int)
    np.testing.assert_allclose(counts[:, :, -1], right)
    assert (right % 2 == 0).all()
    assert scan_verb(tmp_path / "s.cxi", tmp_path, "--no-dark", "--no-white-field") == 0
    assert read_scan(tmp_path / "out.cxi").counts.dtype == np.uint32


# --- the verb simulate-scan ---


RECIPE = ScanRecipe(version=1, scan=ScanConfig(simulated="tiny")).to_json()


def write_patterns(path, factor=1.0):
    recipe = json.dumps({"seed": 3})
    with create_h5(path, "patterns", campaign="tiny", batch=0, particles=1, recipe=recipe) as file:
        group = file.create_group("0000000")
        group["amplitude"] = factor * np.sqrt(blob((24, 24, 24), (12, 12, 12))[None]).astype(np.complex64)


def simulate(folder, *more):
    arguments = ["--recipe", RECIPE, "--patterns", str(folder / "p.h5"), "--output", str(folder / "out.cxi")]
    return main(["simulate-scan", *arguments, *more])


def test_simulated_scans_say_so_through_every_stage(tmp_path):
    write_patterns(tmp_path / "p.h5")
    assert simulate(tmp_path, "--total-counts", "1e6") == 0
    scan = read_scan(tmp_path / "out.cxi")
    assert scan.simulated
    assert "simulated" in scan.title
    assert scan.counts.sum() == pytest.approx(1e6, rel=0.01)
    again = tmp_path / "again"
    again.mkdir()
    assert scan_verb(tmp_path / "out.cxi", again) == 0
    assert read_scan(again / "out.cxi").simulated
    assert simulate(tmp_path, "--total-counts", "1e6") == 0
    np.testing.assert_array_equal(read_scan(tmp_path / "out.cxi").counts, scan.counts)


def test_simulated_scans_need_usable_patterns(tmp_path, capsys):
    assert simulate(tmp_path) == 2
    refused(capsys, tmp_path, "p.h5 does not exist")
    write_patterns(tmp_path / "p.h5", factor=0.0)
    assert simulate(tmp_path) == 2
    refused(capsys, tmp_path, "p.h5")
    write_patterns(tmp_path / "p.h5")
    assert simulate(tmp_path, "--particle", "7") == 2
    refused(capsys, tmp_path, "particle 7 is not in it")
    assert simulate(tmp_path, "--total-counts", "0") == 2
    refused(capsys, tmp_path, "--total-counts 0")
    with create_h5(tmp_path / "p.h5", "patterns", campaign="tiny"):
        pass
    assert simulate(tmp_path) == 2
    refused(capsys, tmp_path, "no usable pattern")


# --- the measured scan ---


@pytest.fixture(scope="module")
def measured():
    return usable(read_scan(MEASURED))


class TestMeasuredScan:
    """Numbers known of the gold nanocrystal measured at APS 34-ID-C."""

    pytestmark = needs_scan

    def test_contents(self, measured):
        assert measured.counts.shape == (201, 256, 256)
        assert measured.counts.dtype == np.uint32
        assert measured.counts.max() == 165_297
        assert measured.counts.sum() == pytest.approx(46.2e6, rel=2e-3)
        assert (measured.energy_ev, measured.distance_m) == (pytest.approx(9000, abs=0.1), 0.5)
        assert measured.dark.shape == measured.white_field.shape == (512, 512)
        assert measured.angles["theta"].shape == (201,)

    def test_preparing(self, measured):
        prepared = prepare(measured, 128)
        assert prepared.scan.counts.shape == (128, 128, 128)
        assert prepared.peak.position == tuple(first + 64 for first in prepared.window)
        np.testing.assert_allclose(prepared.peak.position, (99, 126, 127), atol=1)
        assert prepared.scan.angles["theta"].shape == (128,)
        assert prepared.scan.gap.mean() < 1e-3

    def test_white_field_belongs_to_the_detector(self, measured):
        """Where there is light, the response of single pixels is seen in the sum of all frames."""
        from scipy.ndimage import median_filter

        total, white = measured.counts.sum(axis=0), measured.white_field[:256, :256]
        light, response = (np.log(np.maximum(a, 1)) for a in (total, white))
        light, response = light - median_filter(light, 5), response - median_filter(response, 5)
        used = (total > 300) & (np.abs(response) < 0.3)
        assert np.corrcoef(light[used], response[used])[0, 1] > 0.3

    @pytest.mark.parametrize(
        ("width", "between", "expected"),
        [(3, 6, 0.923), (6, 6, 0.884), (6, 12, 0.799), (6, 20, 0.641), (12, 12, 0.744), (38, 20, 0.453)],
    )
    def test_linear_interpolation_scores_as_known(self, measured, width, between, expected):
        """Correlation in a gap with so many pixels between it and the peak."""
        z, y, x = np.unravel_index(int(measured.counts.argmax()), measured.counts.shape)
        logs = np.log1p(measured.counts[z - 64 : z + 64, y - 64 : y + 64, x - 64 : x + 64].astype(np.float64))
        gap = np.zeros(logs.shape, bool)
        gap[:, :, 64 + between + 1 : 64 + between + 1 + width] = True
        filled = interpolate(np.where(gap, 0, logs), gap, "linear")
        assert pcc(logs[None], filled[None], gap[None])[0] == pytest.approx(expected, abs=6e-4)
