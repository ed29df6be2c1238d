"""Sweeps of the trained network: places of the gap, oversampling, skipped windows."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from figure_inputs import write_sweeps
from workflow_project import ROOT

from braggworks.config import Config, load_config
from braggworks.errors import ConfigError
from braggworks.evaluation.consistency import consistent, score_consistency
from braggworks.evaluation.gap_artefacts import GAP, Diffracted, score_artefacts
from braggworks.evaluation.oversampling import MOST, coarser, predicted_pattern, score_oversampling
from braggworks.evaluation.positions import gap_starts, score_positions
from braggworks.evaluation.real_space import diffract
from braggworks.evaluation.sweeps import Patches, interpolation
from braggworks.inpainting.interpolation import interpolate
from braggworks.reporting.gather_sweeps import sweep_records
from braggworks.targets import figure_names, sweep_inputs


def box(edge: int, size: int) -> np.ndarray:
    """Complex diffraction of a cube in the centre of a field of view."""
    field = np.zeros((size,) * 3)
    field[(slice(size // 2 - edge // 2, size // 2 - edge // 2 + edge),) * 3] = 1
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(field)))


# --- position ---


def test_places_lie_evenly_about_the_centre() -> None:
    starts = gap_starts(65, 9, 4)
    assert (starts[0], starts[-1]) == (2, 65 - 2 - 9 - 0)
    assert gap_starts(20, 5, 4).tolist() == [3, 7, 11]
    with pytest.raises(ConfigError, match="make the sweep's gap_px smaller"):
        gap_starts(12, 9, 1)


def test_scores_belong_to_their_places_and_ratios() -> None:
    rng = np.random.default_rng(0)
    # Left of the centre straight lines, which linear interpolation knows, and noise on the right.
    logs = np.linspace(1, 3, 33) + np.linspace(0, 2, 33)[:, None] + rng.uniform(0, 1, (12, 1, 1, 1))
    counts = np.expm1(logs)
    counts[..., 17:] = rng.uniform(1, 50, (12, 1, 33, 16))
    patches = Patches(counts, np.arange(12), np.array(["a"] * 12), np.linspace(2, 6, 12))
    exact = {"network": lambda hidden, mask: np.where(mask, counts[: len(hidden)], hidden)}
    fills = {**exact, "linear": interpolation("linear")}
    found = score_positions(patches, fills, width=3, step=4, seed=0)
    np.testing.assert_allclose(found["mean"].sel({"method": "network"}), 1, atol=1e-5)
    linear = found["mean"].sel({"method": "linear"})
    assert (linear.where(found["position"] < -4, drop=True) > 0.95).all()
    assert (linear.where(found["position"] > 4, drop=True) < 0.6).all()
    assert np.all(np.diff(found["ratio"]) > 0)
    assert found.attrs["n"] == 12


# --- oversampling ---


def test_a_coarser_grid_holds_the_same_object_over_the_same_range_of_q() -> None:
    found = coarser(box(6, 24), 2, own=4)
    wanted = np.abs(box(6, 12)) ** 2
    np.testing.assert_allclose(found, wanted * MOST / wanted.max(), atol=1e-6 * MOST)
    np.testing.assert_allclose(coarser(box(6, 24), 4, own=4), np.abs(box(6, 24)) ** 2 * MOST / 6**6, atol=1e-6 * MOST)
    with pytest.raises(ConfigError, match=r"oversampling of 5, and a pattern has 4\.00"):
        coarser(box(6, 24), 5, own=4)


def test_every_plane_is_predicted_behind_a_gap() -> None:
    rng = np.random.default_rng(0)
    counts = rng.uniform(1, 2, (12, 12, 23)).astype(np.float32)
    widths = []

    def fill(hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
        assert (hidden[mask] == 0).all()
        widths.append(int(mask[0, 0, 0].sum()))
        return np.where(mask, np.float32(9), hidden)

    found = predicted_pattern(counts, 5, fill, lambda gaps: None)
    assert (found[..., 2:-2] == 9).all()
    np.testing.assert_array_equal(found[..., [0, 1, -2, -1]], counts[..., [0, 1, -2, -1]])
    assert widths == [5] * 4
    with pytest.raises(ConfigError, match="leave that width out"):
        predicted_pattern(counts, 20, fill, lambda gaps: None)


def test_finer_sampling_is_easier_to_fill() -> None:
    found = score_oversampling([(box(6, 48), 8.0)], {"linear": interpolation("linear")}, [3, 5, 8], [3])
    scores = found["pcc"].isel(method=0, gap_width=0, pattern=0).values
    assert (np.diff(scores) > 0).all()


# --- strain ---


def test_an_exact_filling_leaves_no_strain_and_wider_gaps_feign_more() -> None:
    truth = {}

    def exact(counts: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.where(mask, truth["counts"], counts)

    modulus = np.abs(np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(box(8, 32)))))
    intensity = np.abs(diffract(modulus)) ** 2
    truth["counts"] = intensity * MOST / intensity.max()
    found = score_artefacts([Diffracted(box(8, 32), 0.4, 2.0)], {"exact": exact}, [2, 5], 2)
    rmse = found["rmse"].isel(particle=0)
    assert (rmse.sel({"method": "exact"}) < 1e-9).all()
    assert rmse.sel({"method": GAP, "gap_width": 5}) > rmse.sel({"method": GAP, "gap_width": 2}) > 1e-5
    assert found["support"].values.sum() == 64
    assert found.sizes["gap_width"] == 2


# --- consistency ---


def test_the_step_mends_a_gap_whose_autocorrelation_reaches_too_far_and_leaves_a_right_one() -> None:
    intensity = np.abs(box(6, 32)) ** 2
    intensity *= MOST / intensity.max()
    gap = np.zeros(intensity.shape, bool)
    gap[:, :, 20:23] = True
    filled = np.where(gap, intensity * np.random.default_rng(0).uniform(0.9, 1.1, gap.shape), intensity)
    mended = consistent(filled, gap, 1e-3, 1e-3)
    np.testing.assert_array_equal(mended[~gap], intensity[~gap])
    assert (mended >= 0).all()
    wrong, less = (np.linalg.norm(each[gap] - intensity[gap]) for each in (filled, mended))
    assert less < 0.5 * wrong
    right = consistent(intensity, gap, 1e-3, 1e-3)
    np.testing.assert_allclose(right[gap], intensity[gap], atol=1e-2 * wrong)


def test_the_step_is_scored_on_every_grid() -> None:
    def linear(counts: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.expm1(interpolate(np.log1p(counts), mask))

    particle = Diffracted(box(8, 48), 0.4, 2.0)
    found = score_consistency([(particle, 6.0)], linear, [3.0, 6.0], [2, 4], 3)
    assert found["rmse_after"].shape == (2, 2, 2, 2, 1)
    assert (found["rmse"] > 0).all()
    assert not np.allclose(found["rmse"].sel(ratio=3.0), found["rmse"].sel(ratio=6.0))
    # The stronger the weight, the less it changes.
    change = abs(found["rmse_after"] - found["rmse"]).mean(("share", "ratio", "gap_width", "particle"))
    assert float(change.sel(weight=1.0)) < float(change.sel(weight=0.01))
    with pytest.raises(ConfigError, match="oversampling"):
        score_consistency([(particle, 6.0)], linear, [7.0], [2], 3)


# --- in a run ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return tmp_path / "config"


def changed(folder: Path, name: str, **changes: object) -> Config:
    values = yaml.safe_load((folder / name).read_text()) | changes
    (folder / "run.yaml").write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
    return load_config(folder / "run.yaml")


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("studies-2d.yaml", {"studies": [], "training": None}, "sweeps need training"),
        ("studies-2d.yaml", {"sweeps": [{"kind": "skipped"}]}, "skipped fills the gap of the scan: add scan"),
        ("studies-2d.yaml", {"sweeps": [{"kind": "position"}] * 2}, "sweeps names 'position' twice"),
        ("studies-2d.yaml", {"sweeps": [{"kind": "positions"}]}, "is none of 'position'"),
        ("studies-2d.yaml", {"sweeps": [{"kind": "position", "step_px": 0}]}, "step_px: must be greater than"),
        (
            "studies-2d.yaml",
            {"sweeps": [{"kind": "oversampling", "campaign": "studies-polygon2d"}]},
            "not of the family atomistic",
        ),
        ("studies-2d.yaml", {"sweeps": [{"kind": "oversampling", "campaign": "absent"}]}, "which is not defined"),
        ("phases.yaml", {"sweeps": [{"kind": "shells", "campaign": "phases"}]}, "shells needs rsp_patches_3d"),
        ("phases.yaml", {"sweeps": [{"kind": "steps", "campaign": "phases"}]}, "whose phases do not rise in steps"),
        ("phases.yaml", {"sweeps": [{"kind": "strain", "campaign": "phases"}]}, "needs a network of the task inpaint"),
        ("inpainting.yaml", {"sweeps": [{"kind": "steps", "campaign": "slabs-shape"}]}, "which has no phases"),
    ],
)
def test_mistakes_are_one_sentence(folder: Path, name: str, changes: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        changed(folder, name, **changes)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_each_sweep_reads_what_it_is_about(folder: Path) -> None:
    config = load_config(folder / "inpainting.yaml")
    assert "sweep-oversampling" in figure_names(config)
    assert sweep_inputs(config, "oversampling") == [
        "results/inpainting/campaigns/sweep-oversampling/patterns-nufft/batch-00000.h5"
    ]
    assert sweep_inputs(load_config(folder / "studies-2d.yaml"), "position")[0].endswith("polygons/manifest.json")
    assert sweep_inputs(load_config(folder / "paper.yaml"), "skipped") == ["results/paper/scan/prepared.cxi"]
    phases, patches = (load_config(folder / f"{name}.yaml") for name in ("phases", "phases-patches"))
    assert sweep_inputs(phases, "steps-steps-cosines")[0].endswith("campaigns/steps-cosines/shards/batch-00000.h5")
    assert sweep_inputs(patches, "shells-patches-low")[0].endswith("campaigns/patches-low/shards/batch-00000.h5")


def test_records_name_what_was_swept(tmp_path: Path) -> None:
    write_sweeps(tmp_path)
    names = [
        record.name
        for kind in ("position", "oversampling", "skipped", "strain", "consistency", "masking")
        for record in sweep_records(xr.load_dataset(tmp_path / f"{kind}.nc", engine="h5netcdf"))
    ]
    assert {
        "sweep.position.network.5px",
        "sweep.oversampling.linear.3px.2",
        "sweep.skipped.7px.seconds",
        "sweep.strain.gap.3px.rmse",
        "sweep.consistency.3px.2.5.share0.001.weight1",
        "sweep.masking.network.strain_rmse",
    } <= set(names)
    assert len(names) == len(set(names))
