"""Metrics, the sweep over gap widths, and the bar that the network has to clear."""

import json

import numpy as np
import pytest
import xarray as xr
from releases import write_pattern_group

from braggworks.campaigns import DetectorConfig, GapConfig, PatchConfig
from braggworks.cli import main
from braggworks.config import BarConfig, EvaluationConfig, Release, SplitConfig
from braggworks.datasets.manifests import build_manifest
from braggworks.datasets.patterns import write_shard
from braggworks.errors import ConfigError
from braggworks.evaluation.metrics import (
    class_bootstrap,
    class_means,
    cluster_bootstrap,
    pcc,
    removed_share,
    strata,
)
from braggworks.evaluation.sweeps import (
    Patches,
    centre_gap,
    fill_gap,
    gap_width_dataset,
    interpolation,
    score_gap_widths,
)
from braggworks.files import create_h5, write_json
from braggworks.recipes import EvaluateRecipe, ShardRecipe

PATCH = 16


# --- metrics ---


def test_pcc_equals_numpys_correlation_and_looks_only_inside_the_gap():
    generator = np.random.default_rng(0)
    truth, prediction = generator.random((2, 5, 6, 6, 6))
    mask = generator.random(truth.shape) < 0.3
    expected = [np.corrcoef(t[m], p[m])[0, 1] for t, p, m in zip(truth, prediction, mask, strict=True)]
    np.testing.assert_allclose(pcc(truth, prediction, mask), expected, atol=1e-12)
    prediction[~mask] = np.nan
    np.testing.assert_allclose(pcc(truth, prediction, mask), expected, atol=1e-12)


def test_pcc_ignores_offset_and_positive_scale_and_changes_sign():
    truth = np.random.default_rng(1).random((3, 40))
    mask = np.ones(truth.shape, bool)
    np.testing.assert_allclose(pcc(truth, 7 + 3 * truth, mask), 1)
    np.testing.assert_allclose(pcc(truth, 7 - 3 * truth, mask), -1)


def test_pcc_of_constant_gaps():
    ramp, flat = np.arange(8.0)[None], np.full((1, 8), 0.1, np.float32)
    mask = np.ones((1, 8), bool)
    assert np.isnan(pcc(flat, ramp, mask)).all()
    assert np.isnan(pcc(flat, flat, mask)).all()
    assert pcc(ramp, flat, mask) == [0]
    assert np.isnan(pcc(ramp, ramp, np.zeros((1, 8), bool))).all()


def test_classes_of_intensity_count_alike_however_many_patches_they_hold():
    intensity = np.array([1.0, 1.0, 1.0, 10.0, 100.0])
    scores = np.array([0.1, 0.2, np.nan, 0.5, 0.9])
    np.testing.assert_allclose(class_means(scores, intensity, 3), [0.15, 0.5, 0.9])


def test_the_interval_of_the_mean_over_classes_draws_clusters_and_holds_that_mean() -> None:
    rng = np.random.default_rng(2)
    cluster = np.repeat(np.arange(10), 30)
    intensity = np.exp(rng.uniform(0, 9, 300))
    scores = np.clip(0.7 + 0.1 * rng.standard_normal(10)[cluster] + 0.02 * np.log(intensity), -1, 1)
    scores[5] = np.nan
    found = class_bootstrap(scores, intensity, cluster, seed=1)
    assert found.mean == pytest.approx(class_means(scores, intensity).mean())
    assert found.low < found.mean < found.high < 1
    assert found.n == 299
    # Clusters that are alike leave nothing open; one cluster says nothing about others.
    alike = class_bootstrap(np.tile(scores[30:60], 10), np.tile(intensity[30:60], 10), cluster, seed=1)
    assert alike.high - alike.low < 1e-12
    assert np.isnan(class_bootstrap(scores, intensity, np.zeros(300), seed=1).low)


def test_removed_share_is_that_of_class_means_and_resamples_both_together():
    rng = np.random.default_rng(4)
    cluster = np.repeat(np.arange(10), 30)
    intensity = np.exp(rng.uniform(0, 9, 300))
    baseline = np.clip(0.5 + 0.2 * rng.standard_normal(10)[cluster], -1, 0.95)
    half = 1 - (1 - baseline) / 2
    found = removed_share(half, baseline, intensity, cluster, seed=1)
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    # Few bright patches weigh as much as many dark ones.
    bright = intensity > np.exp(8.5)
    found = removed_share(np.where(bright, baseline, half), baseline, intensity, cluster, seed=1)
    expected = 1 - (1 - class_means(np.where(bright, baseline, half), intensity).mean()) / (
        1 - class_means(baseline, intensity).mean()
    )
    assert found.mean == pytest.approx(expected)
    assert found.low < found.mean < found.high
    half[3] = np.nan
    assert removed_share(half, baseline, intensity, cluster, seed=1).n == 299


def test_bootstrap_follows_the_clusters_not_the_patches():
    generator = np.random.default_rng(2)
    particle = np.repeat(np.arange(30), 40)
    scores = generator.normal(size=30)[particle] + 0.01 * generator.normal(size=particle.size)
    found = cluster_bootstrap(scores, particle, seed=3)
    assert found.n == 1200
    assert found.mean == pytest.approx(scores.mean())
    assert found.low < found.mean < found.high
    expected = 2 * 1.96 * scores.reshape(30, 40).mean(axis=1).std() / np.sqrt(30)
    assert found.high - found.low == pytest.approx(expected, rel=0.15)
    assert found == cluster_bootstrap(scores, particle, seed=3)


def test_bootstrap_leaves_out_undefined_scores_and_needs_two_clusters():
    found = cluster_bootstrap(np.array([0.5, np.nan, 0.7]), np.array(["a", "b", "a"]), seed=0)
    assert (found.mean, found.n) == (pytest.approx(0.6), 2)
    assert np.isnan([found.low, found.high]).all()
    assert cluster_bootstrap(np.array([np.nan]), np.array([1]), seed=0).n == 0


def test_strata_have_equal_sizes_and_rise_with_the_value():
    values = np.random.default_rng(4).permutation(100)
    number = strata(values, 4)
    assert np.bincount(number).tolist() == [25] * 4
    assert [values[number == n].max() for n in range(4)] == [24, 49, 74, 99]


# --- the sweep ---


def fringes(count, size=PATCH):
    """Counts that oscillate on a scale that interpolation follows, of different brightness."""
    z, y, x = np.indices((size,) * 3)
    waves = [np.exp(n % 10 / 2 + 2 * np.cos(x / 3 + n) * np.cos(y / 4) + z / size) for n in range(count)]
    return np.rint(10 * np.array(waves)).astype(np.uint32)


def test_methods_see_nothing_of_the_gap():
    seen = []

    def spy(counts, mask):
        seen.append((counts, mask))
        return counts

    gap = centre_gap((PATCH,) * 3, 4)
    fill_gap(fringes(3), gap, spy)
    ((counts, mask),) = seen
    assert (mask.shape, mask.dtype, counts.dtype) == (counts.shape, np.dtype(bool), np.dtype(np.float32))
    assert not counts[:, gap].any()
    np.testing.assert_array_equal(counts[:, ~gap], fringes(3)[:, ~gap])


def test_a_perfect_method_scores_one_and_wider_gaps_are_harder():
    truth = fringes(70)
    steps = []

    def perfect(counts, mask):
        first = np.flatnonzero(truth[:, 0, 0, 0] == counts[0, 0, 0, 0])[0]
        return truth[first : first + len(counts)]

    fills = {"perfect": perfect, "linear": interpolation("linear")}
    scores = score_gap_widths(truth, fills, [2, 4, 8], steps.append)
    assert scores.shape == (2, 3, 70)
    np.testing.assert_allclose(scores[0], 1)
    means = scores[1].mean(axis=1)
    assert means[0] > means[1] > means[2]
    assert sum(steps) == 3 * 70


def test_dataset_counts_what_is_undefined():
    counts = fringes(8)
    counts[0] = 0
    patches = Patches(counts, np.arange(8) // 2, np.array(["a"] * 8), np.full(8, 3.0))
    scores = score_gap_widths(counts, {"linear": interpolation("linear")}, [4], lambda n: None)
    data = gap_width_dataset(patches, scores, 4, seed=5)
    assert np.isnan(data["pcc"].values[0, 0, 0])
    assert data["scored"].values.tolist() == [7]
    assert data["stratum_scored"].values.tolist() == [[1, 2, 2, 2]]
    assert float(data["mean"][0, 0]) == pytest.approx(np.nanmean(scores))
    assert data["stratum_mean"].dims == ("method", "gap_width", "stratum")
    assert data.attrs["n"] == 8
    assert data.attrs["seed"] == 5


def test_a_gap_that_fills_the_patch_is_refused():
    with pytest.raises(ConfigError, match="gap_widths_px holds 13"):
        centre_gap((PATCH,) * 3, 13)


# --- the verbs ---


def recipe(**evaluation):
    values = {"gap_widths_px": [3, 6], "intensity_strata": 2, "interpolations": ["linear", "nearest"], **evaluation}
    return EvaluateRecipe(version=1, evaluation=EvaluationConfig(**values)).to_json()


class FakeInpainter:
    """Fills gaps by linear interpolation, a little better or worse than the baseline."""

    patch = PATCH
    noise = 0.0

    def fill(self, counts, mask):
        filled = interpolation("linear")(counts, mask)
        return filled * np.exp(self.noise * np.random.default_rng(0).normal(size=filled.shape))


@pytest.fixture
def fake(monkeypatch):
    inpainter = FakeInpainter()
    monkeypatch.setattr("braggworks.inpainting.model.load_inpainter", lambda path: inpainter)
    return inpainter


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A release of one shard: eight particles, about half of them in the test split."""
    folder = tmp_path_factory.mktemp("release")
    grid = np.indices((24, 24, 24)) - 12
    with create_h5(folder / "patterns.h5", "patterns", campaign="tiny", batch=0, particles=8) as file:
        for index in range(8):
            wave = np.cos(grid[2] / 3 + index) * np.cos(grid[1] / 4) * np.exp(-np.hypot(*grid[1:]) / 12)
            write_pattern_group(file, index, np.broadcast_to(wave, (2, 24, 24, 24)).astype(np.complex64))
    shard = ShardRecipe(
        version=1,
        campaign="tiny",
        family="atomistic",
        seed=0,
        task="inpaint",
        detector=DetectorConfig(total_counts=(1e6, 1e7)),
        patches=PatchConfig(size=PATCH, per_pattern=3),
        gaps=GapConfig(widths_px=[3, 6]),
    )
    write_json(folder / "shard.json", write_shard(folder / "patterns.h5", folder / "shard.h5", shard).to_json())
    for name, share in (("manifest", 0.5), ("empty", 0.0)):
        splits = SplitConfig(test=share, validation=0.0)
        made = build_manifest(Release(name="tiny", campaigns=["tiny"]), splits, [folder / "shard.json"], folder)
        write_json(folder / f"{name}.json", made.to_json())
    return folder


def evaluate(folder, output, *more, text=None):
    inputs = ["--manifest", str(folder / "manifest.json"), "--weights", "w.safetensors"]
    return main(["evaluate", "--recipe", text or recipe(), *inputs, "--output", str(output), *more])


def test_evaluate_writes_scores_and_examples(folder, tmp_path, fake, capsys):
    output, examples = tmp_path / "gap_width.nc", tmp_path / "examples.h5"
    assert evaluate(folder, output, "--examples", str(examples)) == 0
    with xr.open_dataset(output, engine="h5netcdf") as data:
        assert data["method"].values.tolist() == ["network", "linear", "nearest"]
        assert data["gap_width"].values.tolist() == [3, 6]
        assert data.attrs["n"] == data.sizes["patch"] == 6 * data.attrs["particles"]
        assert set(data["campaign"].values) == {"tiny"}
        np.testing.assert_allclose(data["pcc"].sel({"method": "network"}), data["pcc"].sel({"method": "linear"}))
        np.testing.assert_allclose(data["mean"], data["pcc"].mean("patch"))
        manifest = json.loads((folder / "manifest.json").read_text())
        assert data.attrs["particles"] == manifest["splits"]["test"]["particles"]
    import h5py

    with h5py.File(examples) as file:
        mask = file["mask"][()].astype(bool)
        assert mask.sum(axis=(1, 2, 3)).tolist() == [6 * PATCH**2] * len(mask)
        np.testing.assert_array_equal(file["linear"][()][~mask], file["truth"][()][~mask])
        assert set(file) == {"truth", "mask", "linear", "network", "gap_width", "pcc_linear", "pcc_network"}
    assert "linear" in capsys.readouterr().out


def refused(capsys, folder, *words):
    """Check the sentence on standard error, and that nothing was left behind."""
    message = capsys.readouterr().err
    assert message.splitlines()[-1].startswith("braggworks ")
    for word in words:
        assert word in message
    assert [path.name for path in folder.iterdir() if path.suffix in {".nc", ".json", ".part", ".cxi"}] == []


def test_evaluate_without_test_particles(folder, tmp_path, fake, capsys):
    arguments = ["evaluate", "--recipe", recipe(), "--manifest", str(folder / "empty.json"), "--weights", "w"]
    assert main([*arguments, "--output", str(tmp_path / "x.nc")]) == 2
    refused(capsys, tmp_path, "empty.json", "no particle in its test split")


def test_evaluate_with_a_gap_wider_than_the_patch(folder, tmp_path, fake, capsys):
    assert evaluate(folder, tmp_path / "x.nc", text=recipe(gap_widths_px=[6, 14])) == 2
    refused(capsys, tmp_path, "gap_widths_px holds 14", "use 1 to 12")


def test_evaluate_with_weights_of_another_patch_size(folder, tmp_path, fake, capsys):
    fake.patch = 32
    assert evaluate(folder, tmp_path / "x.nc") == 2
    refused(capsys, tmp_path, "fills patches of 32 px", "16 px")


def test_evaluate_with_a_missing_manifest_or_weights(folder, tmp_path, capsys):
    arguments = [
        "evaluate",
        "--recipe",
        recipe(),
        "--weights",
        str(tmp_path / "no"),
        "--output",
        str(tmp_path / "x.nc"),
    ]
    assert main([*arguments, "--manifest", str(tmp_path / "no.json")]) == 2
    refused(capsys, tmp_path, "no.json does not exist")
    assert main([*arguments, "--manifest", str(folder / "manifest.json")]) == 2
    refused(capsys, tmp_path, "no")


def scores(path, network, linear):
    """Write an evaluation with given scores of four particles of four patches."""
    counts = np.random.default_rng(0).poisson(5, (16, PATCH, PATCH, PATCH))
    patches = Patches(counts, np.arange(16) // 4, np.array(["a"] * 16), np.full(16, 3.0))
    values = np.stack([network, linear])[:, None] + np.linspace(0, 0.1, 16)
    coords = {"method": ["network", "linear"], "gap_width": [6]}
    array = xr.DataArray(values, coords, ("method", "gap_width", "patch"))
    gap_width_dataset(patches, array, 2, 7).to_netcdf(path, engine="h5netcdf")


GATE = recipe(must_beat=BarConfig(baseline="linear", gap_px=6).model_dump())


def test_gate_opens_for_a_better_network(tmp_path, capsys):
    scores(tmp_path / "e.nc", np.full(16, 0.8), np.full(16, 0.7) + np.arange(16) % 4 * 0.01)
    assert (
        main(["gate", "--recipe", GATE, "--evaluation", str(tmp_path / "e.nc"), "--output", str(tmp_path / "g.json")])
        == 0
    )
    result = json.loads((tmp_path / "g.json").read_text())
    assert result["margin"] == pytest.approx(result["network"] - result["baseline"])
    assert result["low"] <= result["margin"] <= result["high"]
    assert (result["n"], result["particles"], result["gap_px"]) == (16, 4, 6)
    assert "margin +0.085" in capsys.readouterr().out


@pytest.mark.parametrize("network", [0.7, 0.6, np.nan])
def test_gate_stays_shut_for_no_better_a_network(tmp_path, capsys, network):
    scores(tmp_path / "e.h5", np.full(16, network), np.full(16, 0.7))
    assert (
        main(["gate", "--recipe", GATE, "--evaluation", str(tmp_path / "e.h5"), "--output", str(tmp_path / "g.json")])
        == 2
    )
    refused(capsys, tmp_path, "does not beat", "linear", "train longer")


def test_gate_with_a_bar_that_was_not_scored(tmp_path, capsys):
    scores(tmp_path / "e.h5", np.full(16, 0.8), np.full(16, 0.7))
    text = recipe(must_beat={"baseline": "nearest", "gap_px": 6})
    assert (
        main(["gate", "--recipe", text, "--evaluation", str(tmp_path / "e.h5"), "--output", str(tmp_path / "g.json")])
        == 2
    )
    refused(capsys, tmp_path, "does not hold nearest at 6 px")


def test_gate_with_a_damaged_or_missing_evaluation(tmp_path, capsys):
    arguments = ["gate", "--recipe", GATE, "--output", str(tmp_path / "g.json"), "--evaluation"]
    assert main([*arguments, str(tmp_path / "e.h5")]) == 2
    refused(capsys, tmp_path, "does not exist")
    scores(tmp_path / "e.h5", np.full(16, 0.8), np.full(16, 0.7))
    (tmp_path / "e.h5").write_bytes((tmp_path / "e.h5").read_bytes()[:3000])
    assert main([*arguments, str(tmp_path / "e.h5")]) == 2
    refused(capsys, tmp_path, "no readable NetCDF file")


def test_gate_without_a_bar(tmp_path):
    arguments = ["gate", "--recipe", recipe(must_beat=None), "--evaluation", "none.nc"]
    assert main([*arguments, "--output", str(tmp_path / "g.json")]) == 0
    assert json.loads((tmp_path / "g.json").read_text()) == {"must_beat": None}
