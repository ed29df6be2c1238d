"""How long the rest of a run takes, from what was measured and what was not."""

from __future__ import annotations

from pathlib import Path

import pytest
from planned_project import copy_project, write_table

from braggworks.config import load_config
from braggworks.monitoring.forecast import Pace, Range, measure_paces, sum_ranges, wall_seconds
from braggworks.monitoring.graph import JobGraph
from braggworks.paths import run_paths
from braggworks.planning import expected_seconds


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what a plan reads, and no measured scans."""
    copy_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRAGGWORKS_TEST_DATA", raising=False)
    return tmp_path


def test_a_pace_is_measured_or_corrected_or_expected(project: Path) -> None:
    config = load_config("config/demo.yaml")
    for batch, seconds in enumerate((2.0, 4.0)):
        write_table(config, "relax_batch", "demo-free", f"{batch:05d}", seconds=seconds)
    write_table(config, "train_network", "demo", seconds=100)
    write_table(config, "draw_figure", "crystal", seconds=3)
    groups = [("relax_batch", "demo-free"), ("relax_batch", "demo-clamped"), ("cut_shard", "demo-free")]
    paces = measure_paces(config, [*groups, ("train_network", "demo"), ("draw_figure", "")])
    free, clamped, shard = (paces[group] for group in groups)
    assert (free.seconds, free.measured) == (3.0, 2)
    assert clamped.measured == shard.measured == 0
    ratio = expected_seconds(config, "relax_batch", "demo-clamped") / expected_seconds(
        config, "relax_batch", "demo-free"
    )
    assert clamped.seconds == pytest.approx(3.0 * ratio)
    assert shard.seconds == expected_seconds(config, "cut_shard", "demo-free")
    assert paces["train_network", "demo"].seconds == 100
    assert paces["draw_figure", ""].seconds == 3
    assert 1 < clamped.factor < shard.factor


def test_a_sweep_that_phases_is_expected_to_take_hours(project: Path) -> None:
    config = load_config("config/phases.yaml")
    phasing, steps = (
        expected_seconds(config, "sweep_network", f"{kind}-gaussians") for kind in ("phasing-ranges", "steps-steps")
    )
    # 80 patterns of 64^3, five starts of 1720 cycles each, and the network's five views refined twice by 300.
    assert phasing == pytest.approx(80 * 5 * (1720 + 2 * 300) * 64**3 * 2e-8, rel=0.01)
    assert steps < 60
    training = config.training.model_copy(update={"simulate": 2 * config.training.simulate})
    both = [
        expected_seconds(each, "train_network", "phases")
        for each in (config, config.model_copy(update={"training": training}))
    ]
    assert both[1] == pytest.approx(2 * both[0], rel=0.01)


def test_a_table_that_was_cut_off_is_passed_over(project: Path) -> None:
    config = load_config("config/demo.yaml")
    write_table(config, "relax_batch", "demo-free", "00000", seconds=5)
    for batch, text in enumerate(("", "s\tmax", "s\tmax_rss\nNA\tNA\n", "s\nnan\n", "\0\n\0"), 1):
        Path(run_paths(config).benchmark("relax_batch", "demo-free", f"{batch:05d}")).write_text(text)
    (pace,) = measure_paces(config, [("relax_batch", "demo-free")]).values()
    assert (pace.seconds, pace.measured) == (5.0, 1)


def test_a_range_narrows_with_what_is_measured() -> None:
    few, many = (Pace(10.0, 5.0, number).of_jobs(1000.0) for number in (2, 50))
    unknown = Pace(10.0).of_jobs(1000.0)
    assert unknown.low < few.low < many.low < 1000 < many.high < few.high < unknown.high
    assert Pace(10.0, 5.0, 2).of_jobs(0.0) == Range()


def test_a_range_holds_the_truth_most_times() -> None:
    """Sums of 30 jobs of known spread, predicted from 20 others, lie in the range in about 95 of 100 cases."""
    import numpy as np

    rng = np.random.default_rng(0)
    jobs = rng.gamma(4.0, 2.5, size=(2000, 50))
    inside = 0
    for times in jobs:
        seen = times[:20]
        expected = Pace(seen.mean(), seen.std(ddof=1), 20).of_jobs(30 * seen.mean())
        inside += expected.low <= times[20:].sum() <= expected.high
    assert 0.90 < inside / len(jobs) <= 1.0


def test_errors_of_measured_parts_partly_cancel() -> None:
    part = Range(10.0, 5.0, 20.0)
    measured, unknown = (sum_ranges([(part, is_measured)] * 4) for is_measured in (True, False))
    assert (unknown.low, unknown.expected, unknown.high) == (20.0, 40.0, 80.0)
    assert (measured.low, measured.high) == (30.0, 60.0)


def test_wall_time_follows_what_waits_for_what(project: Path) -> None:
    config = load_config("config/demo.yaml")
    graph = JobGraph(config, datasets_only=True)
    batches = {job: 1.0 for job in graph.jobs if job.rule != "write_manifest"}
    assert len(batches) == 4 * 14
    assert wall_seconds(graph, batches, 1, in_cores=True) == 56
    assert wall_seconds(graph, batches, 14, in_cores=True) == 4
    assert wall_seconds(graph, batches, 10_000, in_cores=True) == 4
    whole = JobGraph(config)
    training = {job: 10.0 for job in whole.jobs if job.rule in {"train_network", "relax_batch", "cut_shard"}}
    assert wall_seconds(whole, training, 10_000, in_cores=True) == 20
    # Two jobs of two cores each do not fit side by side into three.
    wide = {job: 10.0 for job in whole.jobs if job.rule in {"train_network", "evaluate_network"}}
    assert wall_seconds(whole, wide, 3, in_cores=True) == 20


def test_the_graph_of_a_study_of_phases_names_its_scores(project: Path) -> None:
    jobs = JobGraph(load_config("config/studies-phases-2d.yaml")).jobs
    scores = {Path(job.outputs[0]).name for job in jobs if job.rule == "evaluate_variant"}
    assert scores == {"phases.nc"}
