"""`braggworks cost`: from a pilot of a few particles to what a whole run takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workflow_project import ROOT, braggworks, make_project, needs_environments

from braggworks.cli import main
from braggworks.config import Config, load_config
from braggworks.errors import FileError, UserError
from braggworks.files import write_json
from braggworks.paths import Paths
from braggworks.pilot import STARTUP, measure_costs, pilot_config, pilot_targets, render_costs


def write_pilot(folder: Path, seconds: float) -> Path:
    """Write a run of one campaign, and the files that its pilot of two particles would leave."""
    (folder / "campaigns").mkdir(parents=True)
    text = "family: polygon2d\ntask: phase\ncount: 10000\nbatch_size: 2500\npatches: {size: 64, per_pattern: 1}\n"
    (folder / "campaigns" / "flat.yaml").write_text(text)
    results = folder.name
    run = folder / "run.yaml"
    run.write_text(f"results: {results}\ncampaigns: [flat]\nreleases: [{{name: flat, campaigns: [flat]}}]\n")
    paths = Paths(load_config(pilot_config(load_config(run), run, 1)).results)
    shard = Path(paths.batch_file("shards", "flat", 0))
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"x" * 5000)
    write_json(shard.with_suffix(".json"), {"samples": 500})
    table = Path(paths.benchmark("simulate_batch", "flat", "00000"))
    table.parent.mkdir(parents=True)
    table.write_text(f"s\tmax_rss\tcpu_time\n{seconds}\t123.5\t1.0\n")
    return run


def test_pilot_scales_by_particles_and_counts_start_up_once_per_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(write_pilot(tmp_path / "results", STARTUP["simulate_batch"] + 3.0))
    pilot = load_config(tmp_path / "results" / "pilot" / "pilot.yaml")
    (cost,) = measure_costs(config, pilot)
    assert cost.core_hours["simulate_batch"] == pytest.approx((3.0 * 20 + STARTUP["simulate_batch"] * 4) / 3600)
    assert (cost.jobs, cost.samples, cost.particles, cost.pilot) == (4, 10_000, 10_000, 500)
    assert cost.shards_gb == pytest.approx(5000 * 20 / 1e9)
    assert cost.memory_mb == 123.5
    table = render_costs([cost, cost]).splitlines()
    assert len(table) == 5
    assert len({line.count("|") for line in table}) == 1
    assert "| 20000 |" in table[-1]


def test_pilot_makes_the_runs_own_first_particles() -> None:
    config = load_config(ROOT / "config" / "demo.yaml")
    pilot = load_config(pilot_config(config, Path("demo.yaml"), 3))
    for campaign in config.campaigns:
        small = pilot.campaign(campaign.name)
        assert small.count == small.batch_size == 3
        assert small.model_copy(update={"count": campaign.count, "batch_size": campaign.batch_size}) == campaign
    assert len(pilot_targets(pilot)) == 2


def test_missing_times_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(write_pilot(tmp_path / "results", 3.0))
    pilot = load_config(tmp_path / "results" / "pilot" / "pilot.yaml")
    for table in Path(Paths(pilot.results).benchmarks).rglob("*.tsv"):
        table.unlink()
    with pytest.raises(FileError, match="holds no times of campaign 'flat'"):
        measure_costs(config, pilot)


def test_no_particles_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", str(ROOT / "config" / "demo.yaml"), "--particles", "0"]) == 2
    assert "use 1 or more" in capsys.readouterr().err


@pytest.mark.slow
@needs_environments
def test_cost_of_a_small_run(tmp_path: Path) -> None:
    folder = make_project(tmp_path)
    planned = braggworks(folder, "workflow", "cost", "run.yaml", "--dry-run")
    assert "simulate_batch  1" in planned.stdout, planned.stderr
    done = braggworks(folder, "workflow", "cost", "run.yaml", "--particles", "2", "--output", "cost.json")
    assert done.returncode == 0, done.stderr
    assert "| tiny | 9 | 9 | 3 |" in done.stdout
    (cost,) = json.loads((folder / "cost.json").read_text())["campaigns"]
    assert cost["pilot"] == 9
    assert cost["shards_gb"] > 0


def test_a_run_beyond_the_disk_can_be_predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pilot must fit on the disk, and the run that it stands for need not."""
    from braggworks.commands import cost

    seen = []

    def check(config: Config, profile: object) -> None:
        seen.append(config.results)
        raise UserError("enough")

    monkeypatch.setattr(cost, "check_before_run", check)
    monkeypatch.chdir(tmp_path)
    for name in ("Snakefile", "workflow", "config"):
        (tmp_path / name).symlink_to(ROOT / name)
    assert main(["cost", "config/families.yaml"]) == 2
    assert seen == ["results/families/pilot/particles-1"]
    # A pilot that was refused leaves nothing, and nothing else goes with it.
    assert not (tmp_path / "results" / "families").exists()
    (tmp_path / "results" / "families" / "kept").mkdir(parents=True)
    assert main(["cost", "config/families.yaml"]) == 2
    assert [path.name for path in (tmp_path / "results" / "families").iterdir()] == ["kept"]
