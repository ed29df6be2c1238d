"""The grid that a scan is phased on, where it lies in reciprocal space, and what the object says of displacements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from phasing_inputs import ANGLES, diffract, faceted, scan_of

from braggworks.errors import PhasingError
from braggworks.phasing.grids import SIZES, Grid, check_oversampling, choose_grid, oversampling
from braggworks.phasing.objects import centred, displacement, strain_along, unwrapped, without_piston, without_ramp
from braggworks.scans.geometry import Geometry, binned, geometry_of, orthogonal, what_is_missing
from braggworks.scans.prepare import crop
from braggworks.scans.readers import read_scan
from braggworks.scans.scan import Scan
from braggworks.scans.writers import write_scan

# --- the grid ---


def test_an_axis_sampled_too_coarsely_is_named_and_not_those_that_it_folds_over() -> None:
    z, y, x = np.indices((64, 64, 64)) - 32
    rod = (abs(z) <= 8) & (abs(y) <= 8) & (abs(x) <= 28) & (abs(z) / 8 + abs(y) / 8 + abs(x) / 28 <= 2.2)
    expected = diffract(rod.astype(complex))
    counts = np.random.default_rng(0).poisson(3e6 * expected / expected.sum())
    found = oversampling(counts).most
    assert max(found) < 2
    with pytest.raises(PhasingError, match=r"Axis x is oversampled about 1\.1.* measure from further away"):
        check_oversampling(found)
    with pytest.raises(PhasingError, match=r"Axis z is oversampled about 1\.1.* measure in finer steps"):
        check_oversampling(oversampling(np.moveaxis(counts, 2, 0)).most)


def test_oversampling_is_that_of_the_object() -> None:
    box = np.zeros((40, 48, 64), complex)
    box[16:24, 18:30, 24:40] = 1
    found = oversampling(diffract(box))
    np.testing.assert_allclose(found.most, (40 / 8, 48 / 12, 64 / 16), rtol=0.15)
    np.testing.assert_allclose(found.likely, (40 / 8, 48 / 12, 64 / 16), rtol=0.15)


def strained_ball(size: int, radii: tuple[int, int, int], strain: float = 1.0) -> np.ndarray:
    """Return an ellipsoid whose phase spans many radians, so that its autocorrelation ends in a faint tail."""
    grids = np.meshgrid(*((np.arange(size) - size // 2) / radius for radius in radii), indexing="ij")
    phase = 9 * np.exp(-(grids[0] ** 2 + (grids[1] - 0.4) ** 2 + grids[2] ** 2) / 0.5) + 5 * grids[2] ** 3
    return (sum(grid**2 for grid in grids) <= 1) * np.exp(1j * strain * phase)


def test_a_strained_crystal_is_not_binned_below_what_phasing_needs() -> None:
    radii = (9, 11, 12)
    counts = scan_of(strained_ball(64, radii)).counts.astype(np.float32)
    true = np.array([64 / (2 * radius + 1) for radius in radii])
    found = oversampling(counts)
    np.testing.assert_allclose(found.least, true, rtol=0.2)
    assert min(np.array(found.most) / true) > 1.2
    grid = choose_grid(counts, np.zeros(counts.shape, bool), (32, 32, 32), 64)
    assert min(true / np.array(grid.bins)) > 2


@pytest.mark.parametrize("radius", [22, 26])
def test_how_much_too_coarse_a_pattern_is_sampled_is_told(radius: int) -> None:
    true = 64 / (2 * radius + 1)
    assert oversampling(diffract(strained_ball(64, (10, 12, radius), 0))).most[2] == pytest.approx(true, rel=0.2)
    assert true < oversampling(diffract(strained_ball(64, (10, 12, radius)))).most[2] < 2


def test_the_grid_is_centred_and_binned_as_far_as_oversampling_allows() -> None:
    counts = diffract(faceted(96)[::1])
    small = np.zeros((96, 96, 96), complex)
    small[38:58, 38:58, 38:58] = faceted(20)
    counts = np.roll(diffract(small), (3, 0, -5), (0, 1, 2))
    grid = choose_grid(counts, np.zeros(counts.shape, bool), (51, 48, 43), 96)
    assert all(size in SIZES for size in grid.shape)
    assert max(grid.bins) > 1
    taken = grid.take(counts)
    assert taken.shape == grid.shape
    middle = tuple(n // 2 for n in grid.shape)
    peak = np.unravel_index(int(taken.argmax()), taken.shape)
    assert all(abs(a - b) <= 1 for a, b in zip(peak, middle, strict=True))


def test_binning_sums_voxels() -> None:
    values = np.arange(4 * 6 * 8.0).reshape(4, 6, 8)
    taken = Grid((0, 2, 0), (4, 4, 8), (2, 1, 4)).take(values)
    assert taken.shape == (2, 4, 2)
    assert taken.sum() == values[:, 2:6].sum()
    assert taken[0, 0, 0] == values[:2, 2, :4].sum()


# --- geometry and what the object says ---


def test_the_scattering_vector_is_that_of_the_angles() -> None:
    scan = Scan(np.zeros((48, 64, 64), np.uint8), energy_ev=9000, distance_m=0.5, pixel_m=(55e-6, 55e-6), angles=ANGLES)
    geometry = geometry_of(scan)
    assert geometry is not None
    wave = 9000 / 12398.42
    delta, gamma = np.deg2rad(32), np.deg2rad(12)
    outgoing = wave * np.array([np.sin(delta) * np.cos(gamma), np.sin(gamma), np.cos(delta) * np.cos(gamma)])
    np.testing.assert_allclose(geometry.q, outgoing - [0, 0, wave], atol=1e-6)
    # Rows and columns step across the detector, at right angles to each other and to the outgoing beam.
    _, rows, columns = geometry.steps
    assert np.linalg.norm(rows) == pytest.approx(wave * 55e-6 / 0.5, rel=1e-5)
    np.testing.assert_allclose([rows @ columns, rows @ outgoing, columns @ outgoing], 0, atol=1e-9)
    assert rows[1] < 0 < columns[0]
    # Rocking about the vertical moves q within the horizontal plane.
    rocking = geometry.steps[0]
    assert rocking[1] == 0
    assert np.linalg.norm(rocking) == pytest.approx(np.deg2rad(1 / 47) * np.hypot(geometry.q[0], geometry.q[2]))
    np.testing.assert_allclose(binned(geometry, (2, 1, 3)).steps, geometry.steps * np.array([[2], [1], [3]]))


def test_pixels_away_from_the_middle_see_another_vector() -> None:
    about = {"energy_ev": 9000.0, "distance_m": 0.5, "pixel_m": (55e-6, 55e-6), "angles": ANGLES}
    scan = Scan(np.zeros((48, 64, 64), np.uint8), white_field=np.ones((128, 128)), **about)
    middle = geometry_of(Scan(scan.counts, **about))
    corner = geometry_of(scan, (24, 64, 64))
    assert middle is not None
    assert corner is not None
    np.testing.assert_allclose(corner.q, middle.q, atol=1e-12)
    same = geometry_of(replace(scan, middle_px=scan.middle((32, 32))), (24, 32, 32))
    assert same is not None
    np.testing.assert_allclose(same.q, middle.q, atol=1e-12)


def test_a_scan_without_angles_has_no_geometry() -> None:
    assert geometry_of(Scan(np.zeros((4, 4, 4)), energy_ev=9000.0, distance_m=1.0, pixel_m=(1e-4, 1e-4))) is None
    assert geometry_of(Scan(np.zeros((48, 4, 4)), angles=ANGLES)) is None


def test_a_sheared_ball_becomes_a_ball() -> None:
    skew = np.array([[0.010, 0.004, 0.0], [0.0, 0.011, 0.0], [0.003, 0.0, 0.009]]) / 40
    geometry = Geometry(skew, np.array([0.4, 0.0, 0.0]), "test")
    shape = (40, 40, 40)
    axes = geometry.axes(shape)
    # The columns of the two are each other's reciprocal: q.r of one voxel and one step is 1/n.
    np.testing.assert_allclose(geometry.steps @ axes.T * 40, np.eye(3), atol=1e-12)
    index = np.moveaxis(np.indices(shape) - 20, 0, -1)
    place = index @ axes
    slope = 0.003
    ball = ((place**2).sum(axis=-1) < 800.0**2) * np.exp(-2j * np.pi * 0.4 * slope * place[..., 0])
    found, inside, voxel = orthogonal(ball, ball != 0, geometry)
    modulus = np.abs(found)
    grids = np.meshgrid(*((np.arange(n) - n // 2) * voxel for n in found.shape), indexing="ij")
    radius = np.sqrt(sum(grid**2 for grid in grids))
    assert modulus[radius < 600].min() > 0.8
    assert modulus[radius > 1000].max() < 0.2
    strain = strain_along(found, inside, np.array([1.0, 0, 0]), 0.4, voxel)
    assert np.nanmedian(strain) == pytest.approx(slope, rel=1e-3)


def test_phases_are_unwrapped_and_become_displacements() -> None:
    z, y, x = np.indices((24,) * 3) - 12
    support = (abs(z) < 9) & (abs(y) < 8) & (abs(x) < 7)
    phase = 0.09 * z * z - 0.8 * y
    phase = phase - phase[support].mean()
    found = support * np.exp(1j * phase)
    assert np.abs(np.angle(found)).max() < np.abs(phase[support]).max()
    np.testing.assert_allclose(unwrapped(found, support)[support], phase[support], atol=1e-6)
    assert np.isnan(unwrapped(found, support)[~support]).all()
    np.testing.assert_allclose(displacement(phase, 0.4), -phase / (0.8 * np.pi))
    moved, where = centred(np.roll(found, (5, -7, 11), (0, 1, 2)), np.roll(support, (5, -7, 11), (0, 1, 2)))
    np.testing.assert_array_equal(where, support)
    np.testing.assert_array_equal(moved, found)
    flat = without_piston(without_ramp(support * np.exp(1j * (0.3 * y - 0.2 * z + 1))), support)
    assert np.abs(np.angle(flat[support])).max() < 0.25


# --- what a scan tells of its place ---

PLACED = {"energy_ev": 9000.0, "distance_m": 0.5, "pixel_m": (55e-6, 55e-6), "angles": ANGLES}


def test_cropping_and_writing_keep_the_place_on_the_detector(tmp_path: Path) -> None:
    """Dark and white field, which tell it, are not kept."""
    whole = Scan(np.zeros((48, 64, 80), np.uint8), white_field=np.ones((128, 160)), **PLACED)
    placed = replace(whole, middle_px=whole.middle((10, 20)))
    part = crop(placed, (0, 8, 16), (48, 32, 32))
    write_scan(tmp_path / "part.cxi", part)
    again = read_scan(tmp_path / "part.cxi")
    assert again.middle_px == (128 / 2 - 10 - 8, 160 / 2 - 20 - 16)
    before, after = geometry_of(placed, (24, 20, 30)), geometry_of(again, (24, 12, 14))
    assert before is not None
    assert after is not None
    np.testing.assert_allclose(after.q, before.q, rtol=1e-12)
    np.testing.assert_allclose(after.steps, before.steps, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"energy_ev": None}, "no energy"),
        ({"energy_ev": 9.0}, "an energy of 9 eV"),
        ({"distance_m": None}, "no distance of the detector"),
        ({"pixel_m": None}, "no size of its pixels"),
        ({"angles": {**ANGLES, "delta": np.array(np.nan)}}, "no number for the angle delta"),
        ({"angles": {name: ANGLES[name] for name in ("delta", "theta")}}, "no angle gamma"),
        ({"angles": {**ANGLES, "theta": np.arange(47.0)}}, "47 values of the rocked angle theta for 48 frames"),
    ],
)
def test_what_is_missing_of_a_geometry_is_told(change: dict[str, object], said: str) -> None:
    scan = Scan(np.zeros((48, 64, 64), np.uint8), **PLACED)
    assert not what_is_missing(scan)
    poor = replace(scan, **change)
    assert said in what_is_missing(poor)
    assert geometry_of(poor) is None
