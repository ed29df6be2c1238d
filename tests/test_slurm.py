"""The workflow on a real Slurm: it finishes, and whatever happens on the way, no sample is lost or doubled."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from slurm_cluster import PROFILE, Cluster, Run, cluster, make_small_demo, shard_hashes, wait_until
from workflow_project import ENVIRONMENTS, braggworks, make_project, needs_environments

# A job takes some ten seconds to start twice a Snakemake, more on a busy machine.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.needs_slurm,
    pytest.mark.timeout(900),
    needs_environments,
]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("slurm"), cpus=4) as slurm:
        yield slurm


@pytest.fixture
def slurm(started: Cluster) -> Iterator[Cluster]:
    yield started
    started.clear()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The hashes of a run that nobody disturbed, on one machine without Slurm."""
    folder = make_project(tmp_path_factory.mktemp("local"))
    done = braggworks(folder, "workflow", "run", "run.yaml", "--datasets")
    assert done.returncode == 0, done.stdout + done.stderr
    return shard_hashes(folder)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


def check(project: Path, unbroken: dict[str, str], slurm: Cluster) -> None:
    assert slurm.jobs() == []
    verified = braggworks(project, "scatter", "verify", "results")
    assert verified.returncode == 0, verified.stderr
    assert "3 shards, 9 samples, 9 particles" in verified.stdout
    assert shard_hashes(project) == unbroken
    assert (project / "results/.run-lock").read_text() == ""


def test_a_run_makes_what_one_machine_makes(project: Path, slurm: Cluster, unbroken: dict[str, str]) -> None:
    run = Run(slurm, project)
    said = run.end()
    assert run.process.returncode == 0, said
    assert "4 jobs are to be done" in said
    assert "4/4 jobs" in said
    check(project, unbroken, slurm)
    log = (project / "results/logs/workflow.log").read_text()
    assert log.count("has been submitted with SLURM jobid") == 4
    again = Run(slurm, project)
    assert "Nothing is to be done" in again.end()


def test_every_stage_runs(tmp_path: Path, slurm: Cluster) -> None:
    project = make_small_demo(tmp_path / "demo")
    Run(slurm, project, whole=True).finish(seconds=850)
    assert "train_network" in (project / "results/logs/workflow.log").read_text()
    assert (project / "results/report.html").stat().st_size > 100_000
    assert braggworks(project, "scatter", "verify", "results").returncode == 0
    assert slurm.jobs() == []


def test_a_cancelled_job_is_run_again(project: Path, slurm: Cluster, unbroken: dict[str, str]) -> None:
    run = Run(slurm, project)
    slurm.ask("scancel", run.wait_for_jobs()[0])
    run.finish()
    assert "SLURM status is: 'CANCELLED'" in (project / "results/logs/workflow.log").read_text()
    check(project, unbroken, slurm)


def test_a_killed_workflow_goes_on_without_its_old_jobs(
    project: Path, slurm: Cluster, unbroken: dict[str, str]
) -> None:
    run = Run(slurm, project)
    run.wait_for_jobs()
    left = set(run.wait_for_jobs("", 3))
    run.kill()
    assert left & set(slurm.jobs()), "the jobs ended too early for this test"
    told = slurm.ask(str(ENVIRONMENTS / "workflow/bin/braggworks"), "status", str(project / "results"))
    assert "still in Slurm's queue" in told
    again = Run(slurm, project)
    # No job of the killed run works beside one of the new run.
    found = again.wait_for(lambda: set(slurm.jobs()) - left and set(slurm.jobs()))
    assert not left & found
    said = again.end()
    assert again.process.returncode == 0, said
    assert "of the run that was cut off are cancelled" in said
    check(project, unbroken, slurm)


def test_an_ended_workflow_leaves_no_job(project: Path, slurm: Cluster, unbroken: dict[str, str]) -> None:
    run = Run(slurm, project)
    run.wait_for_jobs()
    run.process.send_signal(signal.SIGTERM)
    said = run.end()
    assert run.process.returncode == 130, said
    assert "interrupted; run the same command again to go on" in said
    assert slurm.jobs() == []
    Run(slurm, project).finish()
    check(project, unbroken, slurm)


def test_jobs_outlast_the_controller(project: Path, slurm: Cluster, unbroken: dict[str, str]) -> None:
    run = Run(slurm, project)
    run.wait_for_jobs("", 3)
    slurm.stop_controller()
    try:
        # Longer than five questions to it, after which the plugin gives up unless the profile says otherwise.
        with pytest.raises(AssertionError, match="waited in vain"):
            wait_until(lambda: run.process.poll() is not None, lambda: None, seconds=60)
    finally:
        slurm.start()
    run.finish()
    check(project, unbroken, slurm)


def test_a_job_without_enough_memory_gets_more(project: Path, slurm: Cluster, unbroken: dict[str, str]) -> None:
    Run(slurm, project, "--set-resources=simulate_batch:mem_mb=100*10**(attempt-1)").finish()
    assert "mem_mb=1000" in (project / "results/logs/workflow.log").read_text()
    said = [file.read_text() for file in project.glob(".snakemake/slurm_logs/rule_simulate_batch/*/*.log")]
    assert any("exceeded memory limit" in text for text in said)
    check(project, unbroken, slurm)


def test_a_job_without_enough_time_gets_more(project: Path, slurm: Cluster, unbroken: dict[str, str]) -> None:
    run = Run(slurm, project, "--set-resources=simulate_batch:runtime=attempt")
    slurm.ask("scancel", "--full", "--signal=STOP", run.wait_for_jobs()[0])
    run.finish()
    log = (project / "results/logs/workflow.log").read_text()
    assert "SLURM status is: 'TIMEOUT'" in log
    assert "runtime=2" in log
    check(project, unbroken, slurm)


def settle(project: Path, **settings: object) -> None:
    """Write a site's settings."""
    (project / PROFILE / "site.yaml").write_text(yaml.safe_dump(settings))


@pytest.mark.parametrize(
    ("settings", "options", "sentence"),
    [
        (
            {"partition": "nope"},
            [],
            "Slurm has no partition 'nope' (it has gpu, main): correct workflow/profiles/slurm",
        ),
        ({"constraint": "nope"}, [], "Slurm would refuse the jobs of rule"),
        ({}, ["--set-resources=simulate_batch:mem_mb=99000000"], "asks for 9.9e+07 MB of memory, but partition 'main'"),
        (
            {},
            ["--set-resources=simulate_batch:runtime=2000"],
            "asks for 2000 minutes, but partition 'main' offers 1440",
        ),
        ({}, ["--set-threads=simulate_batch=5"], "asks for 5 cores, but partition 'main' offers 4"),
        ({}, ["--set-resources=simulate_batch:gpu=1"], "asks for 1 GPUs, but partition 'main' has none: set gpu_part"),
        ({"partitoin": "main"}, [], "unknown key 'partitoin': did you mean 'partition'?"),
    ],
)
def test_what_the_cluster_lacks_is_told_before_anything_runs(
    settings: dict[str, object], options: list[str], sentence: str, project: Path, slurm: Cluster
) -> None:
    settle(project, **settings)
    run = Run(slurm, project, *options)
    said = run.end()
    assert run.process.returncode == 2
    assert sentence in said
    assert "Traceback" not in said
    assert not (project / "results").exists()


def test_an_absent_cluster_is_told(project: Path, slurm: Cluster, tmp_path: Path) -> None:
    slurm.stop_controller()
    try:
        run = Run(slurm, project)
        assert "Slurm's controller does not answer (sinfo: " in run.end()
        assert run.process.returncode == 2
    finally:
        slurm.start()
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "bash").symlink_to(shutil.which("bash") or "/bin/bash")
    run = Run(Cluster(slurm.folder, {**os.environ, "PATH": str(bare)}), project)
    assert "sbatch, squeue, scancel, sinfo, scontrol is not on the PATH" in run.end()
    assert run.process.returncode == 2
    assert not (project / "results").exists()
