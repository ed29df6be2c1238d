"""`braggworks run` and the command line around it: plans, sentences and exit codes."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from braggworks.cli import VERBS, main
from braggworks.config import load_config
from braggworks.datasets.splits import split_of
from braggworks.errors import UserError
from braggworks.monitoring.forecast import plan_forecast
from braggworks.monitoring.graph import JobGraph
from braggworks.planning import _mean_power, parse_job_counts
from braggworks.progress import WorkflowProgress
from braggworks.runlock import hold_run_lock
from braggworks.targets import simulated_particle

ROOT = Path(__file__).parents[1]
TABLE = """
job              count
-------------  -------
all                  1
relax_batch          7
train_network        1
total                9
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what a run reads, without environments."""
    for name in ("config", "workflow", "envs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "Snakefile", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRAGGWORKS_TEST_DATA", raising=False)
    return tmp_path


def test_job_counts_leave_out_target_and_total() -> None:
    assert parse_job_counts(TABLE) == {"relax_batch": 7, "train_network": 1}


def test_forecast_counts_missing_files_and_what_is_out_of_date(project: Path) -> None:
    config = load_config("config/demo.yaml")
    counts = Counter(job.rule for job in JobGraph(config).to_do())

    def hours(planned: dict[str, int], cores: int) -> tuple[float, float]:
        work, wall = plan_forecast(config, planned, cores, in_cores=True, datasets_only=False)
        assert work.low < work.expected < work.high
        return work.expected, wall.expected

    whole, wall = hours(counts, 2)
    assert wall < whole
    assert hours(counts, 4)[1] < wall
    # A file that exists and is made anew costs again.
    assert hours({**counts, "train_network": 2}, 2)[0] > whole


def test_estimate_of_equal_bounds_is_that_of_close_ones() -> None:
    assert _mean_power((5000, 5000), 1.5) == pytest.approx(_mean_power((4999, 5001), 1.5), rel=1e-6)


def test_simulated_scan_is_of_a_particle_that_training_never_sees() -> None:
    config = load_config(ROOT / "config" / "demo.yaml")
    batch, index = simulated_particle(config)
    assert split_of(config.scan.simulated, index, config.splits) == "test"
    assert batch == index // config.campaign(config.scan.simulated).batch_size


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    assert f"    braggworks {verb}" in capsys.readouterr().out


def test_waiting_threads_sleep_soon_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert main(["--version"]) == 0
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    assert main(["--version"]) == 0
    assert os.environ["GOMP_SPINCOUNT"] == "5"


def test_every_command_module_has_a_verb() -> None:
    folder = Path(importlib.import_module("braggworks.commands").__path__[0])
    modules = {path.stem.replace("_", "-") for path in folder.glob("[a-z]*.py")}
    assert modules == set(VERBS)


def test_unknown_verb_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "unknown verb 'trian'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["scan", "s.cxi", "--output", "./s.cxi"], ["gate", "--recipe", "{}", "--evaluation", "a", "--output", "a"]],
)
def test_a_file_to_read_is_never_overwritten(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("s.cxi", "a"):
        (tmp_path / name).write_text("precious")
    assert main(arguments) == 2
    assert "would be overwritten: give --output another name" in capsys.readouterr().err
    assert (tmp_path / "s.cxi").read_text() == (tmp_path / "a").read_text() == "precious"


def test_dry_run_says_what_and_how_long(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("snakemake", reason="planning needs Snakemake")
    assert main(["run", "config/demo.yaml", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "train_network" in said
    assert "a simulated one stands in" in said
    assert "About" in said
    assert not (project / "results").exists()


@pytest.mark.parametrize("cores", ["0", "-1"])
def test_no_cores_are_told(project: Path, capsys: pytest.CaptureFixture[str], cores: str) -> None:
    assert main(["run", "config/demo.yaml", "--dry-run", "--cores", cores]) == 2
    assert f"--cores {cores} can do no work" in capsys.readouterr().err


def test_missing_environments_are_told_before_anything_runs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "config/demo.yaml"]) == 2
    assert "run `make envs` first" in capsys.readouterr().err
    assert not (project / "results").exists()


def test_a_dry_run_says_that_the_run_would_be_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("snakemake", reason="planning needs Snakemake")
    assert main(["run", "config/tiny.yaml", "--dry-run"]) == 0
    assert "Without --dry-run, this would be refused as things are: " in capsys.readouterr().out


def test_an_output_that_nobody_reads_any_more_is_no_error() -> None:
    command = [
        sys.executable,
        "-c",
        "import time, sys; time.sleep(0.5); sys.exit(__import__('braggworks.cli').cli.main())",
    ]
    with subprocess.Popen([*command, "schema", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "Traceback" not in process.stderr.read().decode()


def test_an_empty_split_is_told_before_training(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = project / "config" / "demo.yaml"
    config.write_text(config.read_text().replace("test: 0.2", "test: 1.0e-9"))
    assert main(["run", "config/demo.yaml", "--dry-run"]) == 2
    assert "Release 'demo' has no particle in split 'test': raise a campaign's count" in capsys.readouterr().err


def test_run_outside_the_project_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(ROOT / "config" / "demo.yaml")]) == 2
    assert "no Snakefile here" in capsys.readouterr().err


def load_module(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = f'source {ROOT}/workflow/module.sh; module purge && module load "{name}" && command -v braggworks'
    environment = {**os.environ, "BRAGGWORKS_ENVS": str(folder)}
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env=environment, timeout=30
    )


def test_module_puts_the_environment_first_on_path(tmp_path: Path) -> None:
    program = tmp_path / "relax" / "bin" / "braggworks"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert load_module("braggworks/relax", tmp_path).stdout.strip() == str(program)


def test_module_says_what_to_do_without_pynx(tmp_path: Path) -> None:
    result = load_module("braggworks/pynx", tmp_path)
    assert result.returncode != 0
    assert "install Debian's python3-pynx and run 'make pynx'" in result.stderr


def test_progress_follows_snakemake(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with WorkflowProgress(8) as progress:
        for line in (
            "rule relax_batch:",
            f"    log: {tmp_path}/x.log",
            "3 of 9 steps (33%) done",
            "9 of 9 steps (100%) done",
        ):
            progress.read(line)
    assert "8/8 jobs" in capsys.readouterr().err


def test_one_run_at_a_time_and_a_killed_one_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "results" / ".run-lock"
    with hold_run_lock(path) as lock:
        assert not lock.cut_off
        whose = f"Another run is at work in .* \\(process {os.getpid()} on .*\\): wait"
        with pytest.raises(UserError, match=whose), hold_run_lock(path):
            pass
    with hold_run_lock(path) as lock:
        assert not lock.cut_off
    script = f"""
import os
from braggworks.runlock import hold_run_lock
with hold_run_lock({str(path)!r}):
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    with hold_run_lock(path) as lock:
        assert lock.cut_off
        lock.sign()
    with hold_run_lock(path) as lock:
        assert not lock.cut_off
