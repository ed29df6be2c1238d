"""The plan of the workflow: which rules run again after which change, without running any stage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("snakemake", reason="the workflow's plan needs Snakemake")

from braggworks.config import load_config
from braggworks.monitoring.graph import JobGraph
from braggworks.planning import parse_job_counts
from braggworks.targets import default_targets

ROOT = Path(__file__).parents[1]
AFTER_SHARDS = {"write_manifest", "train_network", "evaluate_network", "check_network", "inpaint_scan", "phase_scan"}


def snakemake(folder: Path, *options: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "BRAGGWORKS_TEST_DATA"}
    result = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def rules_to_run(folder: Path) -> dict[str, int]:
    return parse_job_counts(snakemake(folder, "--dry-run", "--quiet", "host"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every file of the demo exists and is up to date, though empty."""
    folder = tmp_path_factory.mktemp("workflow")
    for name in ("workflow", "config", "envs"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder)
    summary = subprocess.run(
        [sys.executable, "-m", "snakemake", "--summary"], cwd=folder, capture_output=True, text=True, check=True
    )
    for line in summary.stdout.splitlines()[1:]:
        output = folder / line.split("\t")[0]
        output.parent.mkdir(parents=True, exist_ok=True)
        output.touch()
    snakemake(folder, "--touch", "--forceall")
    return folder


@pytest.fixture
def edit(finished: Path, tmp_path: Path) -> Callable[[str, str, str], dict[str, int]]:
    """Replace text in one file of a copy of the finished folder, and return the rules that would run."""

    def change(file: str, old: str, new: str) -> dict[str, int]:
        folder = tmp_path / "copy"
        shutil.copytree(finished, folder, symlinks=True)
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))
        return rules_to_run(folder)

    return change


def test_plain_snakemake_makes_the_report(tmp_path: Path) -> None:
    for name in ("workflow", "config", "envs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "Snakefile", tmp_path)
    rules = rules_to_run(tmp_path)
    assert {"cut_crystals", "relax_batch", "scatter_batch", "cut_shard", "train_network", "write_report"} <= set(rules)
    assert rules["relax_batch"] == 14


def test_finished_run_has_nothing_to_do(finished: Path) -> None:
    assert rules_to_run(finished) == {}


def test_training_seed_reruns_training_and_what_follows(edit: Callable[..., dict[str, int]]) -> None:
    rules = edit("config/demo.yaml", "  seed: 1", "  seed: 2")
    assert set(rules) == AFTER_SHARDS - {"write_manifest"} | {"draw_figure", "write_report"}


def test_network_width_reruns_training_and_what_follows(edit: Callable[..., dict[str, int]]) -> None:
    rules = edit("config/demo.yaml", "network: {width: 0", "network: {width: 1")
    assert set(rules) == AFTER_SHARDS - {"write_manifest"} | {"draw_figure", "write_report"}


def test_where_and_how_fast_to_train_reruns_nothing(edit: Callable[..., dict[str, int]]) -> None:
    keys = "processes: 4, threads: 8, device: cpu, memory_mb: 9, readers: 1, checkpoint_seconds: 5, restarts: 1"
    added = "".join(f"  {key}\n" for key in keys.split(", "))
    assert edit("config/demo.yaml", "training:\n", f"training:\n{added}") == {}


def test_figure_setting_reruns_figures_alone(edit: Callable[..., dict[str, int]]) -> None:
    rules = edit("config/demo.yaml", "scan:\n", "figures: {dpi: 77}\n\nscan:\n")
    assert set(rules) == {"draw_figure", "mesh_crystal", "write_report"}


def test_campaign_seed_reruns_that_campaign_alone(edit: Callable[..., dict[str, int]]) -> None:
    rules = edit("config/campaigns/demo-clamped.yaml", "seed: 1", "seed: 2")
    assert rules["cut_crystals"] == rules["relax_batch"] == rules["scatter_batch"] == rules["cut_shard"] == 4
    assert "compare_engines" not in rules


def test_patch_setting_keeps_crystals_and_patterns(edit: Callable[..., dict[str, int]]) -> None:
    rules = edit("config/campaigns/demo-free.yaml", "per_pattern: 12", "per_pattern: 10")
    assert set(rules) == AFTER_SHARDS | {"cut_shard", "draw_figure", "write_report"}
    assert rules["cut_shard"] == 10


def test_more_particles_add_batches_and_rebuild_none(edit: Callable[..., dict[str, int]]) -> None:
    rules = edit("config/campaigns/demo-free.yaml", "count: 40", "count: 44")
    assert rules["cut_crystals"] == rules["relax_batch"] == rules["scatter_batch"] == rules["cut_shard"] == 1
    assert set(rules) >= AFTER_SHARDS


def stop_after(folder: Path, file: str, old: str, new: str, *outputs: str) -> dict[str, int]:
    """Change a file and delete outputs, as a stopped job leaves them, and return the rules that would run."""
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    gone = [path for output in outputs for path in folder.glob(f"results/demo/{output}")]
    assert gone
    # Snakemake forgets what it knew of the outputs of a job that was stopped.
    snakemake(folder, "--cleanup-metadata", *(str(path.relative_to(folder)) for path in gone))
    for path in gone:
        path.unlink()
    return rules_to_run(folder)


def test_a_run_stopped_in_training_keeps_no_old_scores(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "copy", symlinks=True)
    outputs = [f"releases/demo/inpaint/{name}" for name in ("weights.safetensors", "history.csv", "card.json")]
    rules = stop_after(folder, "config/demo.yaml", "  seed: 1", "  seed: 2", *outputs)
    assert set(rules) == AFTER_SHARDS - {"write_manifest"} | {"draw_figure", "write_report"}


def test_a_run_stopped_in_a_stage_of_atoms_keeps_no_old_patterns(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "copy", symlinks=True)
    campaign = "config/campaigns/demo-free.yaml"
    new = "{protocol: free}, max_steps: 99"
    rules = stop_after(folder, campaign, "{protocol: free}", new, "campaigns/demo-free/relaxed/*.h5")
    assert rules["relax_batch"] == rules["scatter_batch"] == rules["cut_shard"] == 10


def test_a_run_stopped_in_scoring_keeps_no_old_picture(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "copy", symlinks=True)
    rules = stop_after(folder, "config/demo.yaml", "  seed: 1", "  seed: 1", "scan/object.cxi")
    assert set(rules) == {"phase_scan", "draw_figure", "write_report"}


@pytest.mark.parametrize("config", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_all_but_files_of_atoms_are_asked_for_by_name(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("BRAGGWORKS_TEST_DATA", raising=False)
    run = load_config(config)
    own = {"cut_crystals", "relax_batch", "scatter_batch", "scatter_batch_pynx", "grid_batch", "simulate_scan"}
    asked = set(default_targets(run))
    assert [job for job in JobGraph(run).jobs if job.rule not in own and not asked.intersection(job.outputs)] == []


def test_second_material_is_one_more_campaign(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, symlinks=True)
    campaigns = folder / "config" / "campaigns"
    text = (campaigns / "demo-free.yaml").read_text().replace("materials: [Au]", "materials: [Pt]")
    (campaigns / "demo-platinum.yaml").write_text(text.replace("count: 40", "count: 4"))
    config = folder / "config" / "demo.yaml"
    config.write_text(config.read_text().replace("demo-clamped]", "demo-clamped, demo-platinum]"))
    rules = rules_to_run(folder)
    assert rules["relax_batch"] == 1


def test_warm_started_release_trains_its_parent_first(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, symlinks=True)
    config = folder / "config" / "demo.yaml"
    old = "  - name: demo\n    campaigns: [demo-free, demo-clamped]\n"
    new = "  - {name: old, campaigns: [demo-free]}\n" + old + "    warm_start: old\n"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))
    plan = snakemake(folder, "--dry-run", "--printshellcmds")
    assert "--warm-start=results/demo/releases/old/inpaint/weights.safetensors" in plan
    assert parse_job_counts(plan)["train_network"] == 2


def test_report_template_reruns_the_report_alone(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, symlinks=True)
    template = folder / "workflow" / "report" / "report.html.j2"
    template.write_text(template.read_text() + "<!-- changed -->")
    assert set(rules_to_run(folder)) == {"write_report"}


def test_config_mistake_stops_the_plan_with_a_sentence(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, symlinks=True)
    config = folder / "config" / "demo.yaml"
    config.write_text(config.read_text().replace("epochs:", "epoch:"))
    result = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    assert "unknown key 'training.epoch'" in result.stdout + result.stderr
