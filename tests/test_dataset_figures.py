"""Figures of datasets: what they show is what the shards hold, and wrong files are told in a sentence."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from dataset_inputs import HALF_TURN, body, diffraction, write_shard, write_steps
from figure_inputs import write_patterns, write_relaxed
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.colors import to_hex

from braggworks.cli import main
from braggworks.commands._figure_inputs import READERS
from braggworks.commands._figure_inputs.shards import choose_rows
from braggworks.datasets.counts import Counts
from braggworks.figures import distributions, gallery, patches
from braggworks.figures.atoms import in_sight
from braggworks.figures.displacement import mean_arrows
from braggworks.figures.style import EMPTY_WHITE, GAP_GREY, Look, counts_cmap, counts_norm
from braggworks.files import create_h5

FINITE = {"allow_nan": False, "allow_infinity": False}


def change(path: Path, name: str, values: object) -> Path:
    with h5py.File(path, "r+") as file:
        del file[name]
        if values is not None:
            file[name] = values
    return path


# --- colours ---


@given(st.floats(1, 4e9, **FINITE))
def test_only_empty_pixels_are_white(largest: float) -> None:
    cmap, norm = counts_cmap(Look()), counts_norm(largest)
    assert to_hex(cmap(norm(0))) == EMPTY_WHITE.lower()
    assert to_hex(cmap(norm(1))) != EMPTY_WHITE.lower()
    assert to_hex(cmap(np.ma.masked_all(1))[0]) == GAP_GREY.lower()


# --- the sheet ---


@pytest.mark.parametrize("ndim", [2, 3])
def test_object_comes_back_from_counts_and_label(ndim: int) -> None:
    density = body(24, ndim, phase=3.0)
    amplitude = diffraction(density)
    found = gallery.object_of(np.abs(amplitude) ** 2, np.angle(amplitude))
    # The transform keeps the norm, and the body is that of the plain one.
    np.testing.assert_allclose(found / np.sqrt(found.size), density, atol=1e-12)


def test_support_is_the_body() -> None:
    density = body(24, 3)
    np.testing.assert_array_equal(gallery.support_of(np.abs(density)), np.abs(density) > 0)


@pytest.mark.parametrize("ndim", [2, 3])
def test_sheet_holds_the_label_in_radians(tmp_path: Path, ndim: int) -> None:
    path = write_shard(tmp_path / "a.h5", task="phase", ndim=ndim)
    sheet = READERS["gallery"](str(path))
    wanted = np.angle(diffraction(body(16, ndim)))
    turn = np.exp(1j * (sheet.samples[0].phase - wanted))
    np.testing.assert_allclose(turn, 1, atol=2 * np.pi / HALF_TURN)
    assert sheet.whole and sheet.samples[0].counts.ndim == ndim
    assert sheet.title.startswith("test (family shape3d, task phase): 6 of the 8 samples")


def test_gap_is_grey_in_the_slice_that_is_shown(tmp_path: Path) -> None:
    sheet = READERS["gallery"](str(write_shard(tmp_path / "a.h5")))
    figure = gallery.draw(sheet, Look())
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(images) == len(sheet.samples)
    for image, sample in zip(images, sheet.samples, strict=True):
        np.testing.assert_array_equal(np.ma.getmaskarray(image.get_array()), sample.mask[8])
        np.testing.assert_array_equal(image.get_array().data, sample.counts[8])
        assert image.get_clim() == (0, sample.counts[8].max())


@pytest.mark.parametrize(("grid", "pictures"), [(16, 4 * 6), (32, 2 * 8)])
def test_patches_of_a_pattern_have_no_object(tmp_path: Path, grid: int, pictures: int) -> None:
    sheet = READERS["gallery"](str(write_shard(tmp_path / "a.h5", task="phase", grid=grid)))
    assert sheet.whole == (grid == 16)
    figure = gallery.draw(sheet, Look())
    assert sum(bool(axes.images) for axes in figure.axes) == pictures


def test_whole_patterns_without_a_grid_are_known_by_their_corners(tmp_path: Path) -> None:
    options = {"family": "autophasenn", "task": "phase"}
    assert READERS["gallery"](str(write_shard(tmp_path / "a.h5", **options))).whole
    corners = np.tile([0, 3, 1], (8, 1))
    assert not READERS["gallery"](str(write_shard(tmp_path / "b.h5", **options, corners=corners))).whole


def test_dead_pixels_of_the_task_phase_are_kept(tmp_path: Path) -> None:
    sheet = READERS["gallery"](str(write_shard(tmp_path / "a.h5", task="phase", mask=True)))
    assert all(sample.mask is not None and sample.mask.any() for sample in sheet.samples)
    gallery.draw(sheet, Look())


def test_samples_of_a_scan_name_no_oversampling(tmp_path: Path) -> None:
    sheet = READERS["gallery"](str(write_shard(tmp_path / "a.h5", family="scan")))
    lines = " ".join(line for sample in sheet.samples for line in sample.lines)
    assert "photons" in lines and "oversampling" not in lines and "phase range" not in lines


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 2, 255])), min_size=1, max_size=40), st.integers(1, 20)
)
def test_chosen_rows_are_fixed_and_varied(rows: list[tuple[int, int]], wanted: int) -> None:
    particles, shapes = np.array(rows).T
    chosen = choose_rows(particles, shapes, wanted, "test")
    assert len(set(chosen.tolist())) == len(chosen) == min(wanted, len(rows))
    np.testing.assert_array_equal(chosen, choose_rows(particles, shapes, wanted, "test"))
    if len(set(shapes.tolist())) == 1:
        assert len(set(particles[chosen].tolist())) == min(len(chosen), len(set(particles.tolist())))


# --- what the columns span ---


def test_a_pattern_counts_once_however_many_samples_it_has(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.h5", per_pattern=3, particles=4, size=8, grid=32)
    (spread,) = READERS["distributions"](str(path))
    assert spread.patterns == 8
    assert spread.values["total_counts"].shape == (8,)
    assert spread.values["oversampling"].shape == (24,)
    with h5py.File(path) as file:
        smallest = np.sort(file["oversampling"][::3].min(axis=1))
    np.testing.assert_allclose(np.sort(spread.values["size"])[::-1], 32 / smallest)
    assert "strain" not in spread.values


def test_batches_of_a_campaign_are_joined_in_the_order_of_the_files(tmp_path: Path) -> None:
    files = [write_shard(tmp_path / f"{name}{batch}.h5", name, batch=batch) for name in "ba" for batch in (0, 1)]
    spreads = READERS["distributions"](*map(str, files))
    assert [(spread.campaign, spread.patterns) for spread in spreads] == [("b", 16), ("a", 16)]


def test_atoms_have_strain_in_percent_and_a_size_from_the_provenance(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.h5", family="atomistic", corners=np.ones((8, 3), int))
    (spread,) = READERS["distributions"](str(path))
    np.testing.assert_allclose(spread.values["strain"], 0.4, rtol=1e-6)
    assert spread.values["atoms"].min() >= 2000
    np.testing.assert_allclose(spread.values["size"].max(), 32 / spread.values["oversampling"].min())
    path.with_suffix(".json").unlink()
    (spread,) = READERS["distributions"](str(path))
    assert "size" not in spread.values


def test_a_scan_has_photons_only(tmp_path: Path) -> None:
    files = [write_shard(tmp_path / "a.h5", "known"), write_shard(tmp_path / "b.h5", "scan", family="scan")]
    spreads = READERS["distributions"](*map(str, files))
    assert set(spreads[1].values) == {"total_counts"}
    figure = distributions.draw(spreads, Look())
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["known\n8 patterns", "scan\n8 patterns"]
    shown = {axes.get_xlabel() for axes in figure.axes if axes.axison}
    assert "phase range (rad)" in shown and "rms strain (%)" not in shown


@example(np.array([1e-3, np.nextafter(1e-3, 1)]), False)
@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(1e-3, 1e9, **FINITE)), st.booleans())
def test_bins_hold_every_value(values: np.ndarray, logarithmic: bool) -> None:
    edges = distributions.bin_edges(values, logarithmic)
    assert (np.diff(edges) > 0).all()
    assert np.histogram(values, edges)[0].sum() == len(values)


@given(st.floats(1e-3, 1e9, **FINITE), st.floats(5, 1e6, **FINITE))
def test_logarithmic_ticks_are_few_and_inside(low: float, ratio: float) -> None:
    ticks = distributions.log_ticks(low, low * ratio)
    assert 2 <= len(ticks) <= 7
    assert all(low <= tick <= low * ratio for tick in ticks)


# --- particles ---


def test_displacement_shows_the_largest_winterbottom_particle(tmp_path: Path) -> None:
    files = {"a": ("cube", 300), "b": ("winterbottom", 100), "c": ("winterbottom", 200)}
    for name, (shape, atoms) in files.items():
        write_relaxed(tmp_path / f"{name}.h5", shape, "clamped", atoms)
    paths = [str(tmp_path / f"{name}.h5") for name in files]
    assert len(READERS["displacement"](*paths).positions) == 200
    assert len(READERS["displacement"](paths[0]).positions) == 300


@given(
    arrays(np.float64, (2, 30), elements=st.floats(-50, 50, **FINITE)),
    st.tuples(st.floats(-1, 1, **FINITE), st.floats(-1, 1, **FINITE)),
)
def test_mean_arrows_keep_a_uniform_field(places: np.ndarray, arrow: tuple[float, float]) -> None:
    points, arrows = mean_arrows(places, np.tile(np.array(arrow)[:, None], 30), cells=5)
    np.testing.assert_allclose(arrows, np.tile(np.array(arrow)[:, None], points.shape[1]), atol=1e-12)
    assert 1 <= points.shape[1] <= 25
    assert (points.min(axis=1) >= places.min(axis=1) - 1e-9).all()


def test_hidden_atoms_are_left_out_and_edges_are_kept() -> None:
    x, y = (grid.ravel() for grid in np.meshgrid(np.arange(9.0), np.arange(9.0)))
    slab = np.stack([x, y, np.zeros_like(x)])
    assert in_sight(slab, 1.0).all()
    behind = np.array([[4.0, 8.0], [4.0, 4.0], [-9.0, -9.0]])
    seen = in_sight(np.concatenate([slab, behind], axis=1), 1.0)
    assert seen[: len(x)].all()
    assert seen[len(x) :].tolist() == [False, True]


# --- patches ---


def cut_inputs(folder: Path, **options: object) -> list[str]:
    write_patterns(folder / "patterns.h5", "nufft")
    corners = np.tile([[0, 0, 0], [16, 0, 4], [3, 5, 7]], (4, 1))
    options = {"family": "atomistic", "particles": 2, "per_pattern": 3, "corners": corners, **options}
    write_shard(folder / "shard.h5", **options)
    return [str(folder / "patterns.h5"), str(folder / "shard.h5")]


def write_examples(path: Path, truth: np.ndarray) -> str:
    mask = np.zeros(truth.shape, np.uint8)
    mask[..., 5:11] = 1
    with create_h5(path, "examples") as file:
        file["truth"], file["mask"] = truth.astype(np.float32), mask
        file["linear"], file["network"] = truth * 0.5, truth * 2.0
        for name in ("gap_width", "pcc_linear", "pcc_network"):
            file[name] = np.full(len(truth), 6)
    return str(path)


def test_patches_of_one_pattern_have_different_gaps(tmp_path: Path) -> None:
    cut = READERS["patches"](*cut_inputs(tmp_path))
    assert [sample.gap for sample in cut.cuts] == ["vertical, 3 px", "horizontal, 3 px", "cross, 3 px"]
    assert {sample.corner for sample in cut.cuts} == {(0, 0, 0), (16, 0, 4), (3, 5, 7)}
    assert not cut.filled
    assert "reflection 1 1 1" in cut.pattern.label


def test_outlines_lie_where_the_patches_are(tmp_path: Path) -> None:
    cut = READERS["patches"](*cut_inputs(tmp_path))
    figure = patches.draw(cut, Look())
    along_z = figure.axes[0]
    corners = {(patch.get_x() + 0.5, patch.get_y() + 0.5) for patch in along_z.patches}
    assert corners == {(0, 0), (4, 0), (7, 5)}
    assert all(patch.get_width() == 16 for patch in along_z.patches)


def test_filled_patches_are_the_same_ones_where_the_examples_are_of_the_batch(tmp_path: Path) -> None:
    files = cut_inputs(tmp_path)
    with h5py.File(files[1]) as file:
        truth = Counts(file)[:][[2, 7]]  # of different patterns
    cut = READERS["patches"](*files, write_examples(tmp_path / "examples.h5", truth))
    assert [sample.corner for sample in cut.filled] == [sample.corner for sample in cut.cuts] == [(3, 5, 7)]
    np.testing.assert_array_equal(cut.filled[0].counts, truth[0])
    np.testing.assert_array_equal(cut.filled[0].filled, 2.0 * truth[0])
    patches.draw(cut, Look())


def test_filled_patches_of_other_batches_are_called_so(tmp_path: Path) -> None:
    truth = np.random.default_rng(0).poisson(5.0, (2, 16, 16, 16))
    cut = READERS["patches"](*cut_inputs(tmp_path), write_examples(tmp_path / "examples.h5", truth))
    assert [sample.corner for sample in cut.filled] == [None, None]
    assert len(cut.cuts) == 3
    figure = patches.draw(cut, Look())
    assert any("held-out patches" in part.get_suptitle() for part in figure.subfigs)


# --- steps ---


@pytest.mark.parametrize("ratios", [np.array([4.0, 4.8]), "[4.0, 4.8]"])
def test_steps_are_read_with_their_oversampling(tmp_path: Path, ratios: object) -> None:
    path = write_steps(tmp_path / "steps.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["oversampling"] = ratios
    steps = READERS["steps"](str(path))
    assert steps.oversampling == (4.0, 4.8)
    assert steps.mask.dtype == bool and steps.mask.sum() == 6 * 48


# --- bad input ---


@pytest.mark.parametrize(
    ("name", "made", "sentence"),
    [
        ("gallery", {"family": "shape3d"}, "does not hold what this figure needs"),
        ("distributions", {"family": "shape3d"}, "does not hold what this figure needs"),
    ],
)
@pytest.mark.parametrize("column", ["total_counts", "oversampling"])
def test_shard_without_a_column_is_told(
    name: str, made: dict, sentence: str, column: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = change(write_shard(tmp_path / "a.h5", **made), column, None)
    assert main(["figure", name, "--input", str(path), "--output", str(tmp_path / "a.png")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()


def test_values_that_are_not_finite_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = change(write_shard(tmp_path / "a.h5"), "gradient", np.full(8, np.nan, np.float32))
    assert main(["figure", "distributions", "--input", str(path), "--output", str(tmp_path / "a.png")]) == 2
    assert "a column holds values that are not finite" in capsys.readouterr().err


def test_patches_of_the_task_phase_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = cut_inputs(tmp_path, task="phase", family="shape3d")
    assert main(["figure", "patches", "--input", *files, "--output", str(tmp_path / "a.png")]) == 2
    assert "samples of the task phase, which have no gap" in capsys.readouterr().err


def test_patches_take_two_or_three_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = cut_inputs(tmp_path)
    assert main(["figure", "patches", "--input", files[0], "--output", str(tmp_path / "a.png")]) == 2
    message = capsys.readouterr().err
    assert "is drawn from 2 to 3 files, where --input gives 1" in message
    assert "patterns.h5 shard.h5 [examples.h5]" in message


def test_sheet_is_drawn_under_its_campaigns_name(tmp_path: Path) -> None:
    path, output = write_shard(tmp_path / "a.h5"), tmp_path / "a.png"
    assert main(["figure", "gallery-my-campaign", "--input", str(path), "--output", str(output)]) == 0
    assert output.read_bytes().startswith(b"\x89PNG")
