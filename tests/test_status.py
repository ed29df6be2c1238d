"""`braggworks status`: what a run has done, does, failed in and has left, by its files."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from planned_project import copy_project, outputs, touch, write_table
from workflow_project import ROOT, braggworks, make_project, needs_environments

from braggworks.cli import main
from braggworks.config import Config, load_config
from braggworks.monitoring.graph import JobGraph
from braggworks.monitoring.render import status_text
from braggworks.monitoring.status import read_status
from braggworks.paths import run_paths
from braggworks.planning import parse_job_counts, threads_of
from braggworks.reporting.benchmarks import read_costs
from braggworks.runlock import hold_run_lock

CONFIGS = [
    "demo",
    "families",
    "scan-patches",
    "studies-2d",
    "inpainting",
    pytest.param("paper", marks=pytest.mark.slow),
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what a plan reads, and no measured scans."""
    copy_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRAGGWORKS_TEST_DATA", raising=False)
    return tmp_path


def snakemake(*options: str) -> str:
    pytest.importorskip("snakemake", reason="the graph is compared with Snakemake's own")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def planned_by_snakemake(config: str, *targets: str) -> dict[str, int]:
    said = snakemake("--configfile", config, "--dry-run", "--quiet", "host", *(["--", *targets] if targets else []))
    return parse_job_counts(said)


def to_do(config: Config, **options: bool) -> dict[str, int]:
    return dict(Counter(job.rule for job in JobGraph(config, **options).to_do()))


# --- which jobs there are ---


@pytest.mark.parametrize("name", CONFIGS)
def test_jobs_are_those_of_snakemake(project: Path, name: str) -> None:
    if name == "scan-patches":
        # Its scan is absent here, so that only its own campaign's job cannot be planned.
        (project / "scan.cxi").touch()
        campaign = project / "config" / "campaigns" / "small-scan.yaml"
        campaign.write_text(re.sub(r"scans: .*", f"scans: [{project / 'scan.cxi'}]", campaign.read_text()))
    path = f"config/{name}.yaml"
    assert to_do(load_config(path)) == planned_by_snakemake(path)


def test_datasets_alone_are_those_of_snakemake(project: Path) -> None:
    config = load_config("config/demo.yaml")
    shards = [paths for paths in outputs(config) if "/shards/" in paths]
    manifest = run_paths(config).manifest("demo")
    assert to_do(config, datasets_only=True) == planned_by_snakemake("config/demo.yaml", *shards, manifest)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every file of the demo exists and is up to date, though empty."""
    folder = tmp_path_factory.mktemp("finished")
    copy_project(folder)
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.delenv("BRAGGWORKS_TEST_DATA", raising=False)
        touch(outputs(load_config("config/demo.yaml")))
        snakemake("--touch", "--forceall", "--quiet", "all")
    return folder


@pytest.mark.parametrize(
    "gone",
    [
        ["campaigns/demo-free/shards/batch-00003.json"],
        ["campaigns/demo-free/patterns-nufft/batch-00000.h5", "figures/diffraction.png", "report.html"],
        ["campaigns/demo-free/shards/batch-00003.h5", "campaigns/demo-free/patterns-nufft/batch-00003.h5"],
        ["figures/training.png", "releases/demo/inpaint/card.json"],
        ["scan/simulated.cxi", "scan/prepared.cxi", "summary.json"],
    ],
    ids=lambda gone: gone[0],
)
def test_what_is_left_is_what_snakemake_plans(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: list[str]
) -> None:
    folder = shutil.copytree(finished, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("BRAGGWORKS_TEST_DATA", raising=False)
    config = load_config("config/demo.yaml")
    assert to_do(config) == {}
    for name in gone:
        (Path(config.results) / name).unlink()
    assert to_do(config) == planned_by_snakemake("config/demo.yaml")


def test_patterns_that_were_let_go_count_as_done(project: Path) -> None:
    config = load_config("config/demo.yaml")
    touch(outputs(config))
    for patterns in Path(config.results).glob("campaigns/*/patterns-*"):
        shutil.rmtree(patterns)
    status = read_status(config, "config/demo.yaml")
    assert (status.state, status.done) == ("complete", status.total)
    next(Path(config.results).glob("campaigns/demo-clamped/shards/batch-00001.h5")).unlink()
    left = {
        group.rule: group.total - group.done for group in read_status(config, "c").groups if group.of == "demo-clamped"
    }
    assert left == {"cut_crystals": 0, "relax_batch": 0, "scatter_batch": 1, "cut_shard": 1}


def test_cores_of_a_job_are_those_of_its_rule() -> None:
    for file in (ROOT / "workflow" / "rules").glob("*.smk"):
        for rule, body in re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", file.read_text(), re.M | re.S):
            asked = re.search(r"threads: (\d+)\n", body)
            assert asked is None or int(asked[1]) == threads_of(rule), rule


@pytest.mark.slow
def test_a_large_run_is_told_in_seconds(project: Path) -> None:
    """Of a half-finished campaign of the published size, with every benchmark table and a full log."""
    config = load_config("config/paper.yaml")
    graph = JobGraph(config)
    touch([file for job in graph.jobs[: len(graph.jobs) // 2] for file in job.outputs])
    paths, log = run_paths(config), []
    for number, job in enumerate(graph.jobs):
        if job.batch is not None:
            table = Path(paths.benchmark(job.rule, job.of, f"{job.batch:05d}"))
            table.parent.mkdir(parents=True, exist_ok=True)
            table.write_text("s\tmax_rss\tcpu_time\n10\t100\t9\n")
        log.append(f"rule {job.rule}:\n    output: {', '.join(job.outputs)}\n    jobid: {number}\n{'x' * 1500}\n")
        log.append(f"Finished jobid: {number} (Rule: {job.rule})\n")
    Path(paths.workflow_log).parent.mkdir(parents=True)
    Path(paths.workflow_log).write_text("".join(log))
    begun = time.process_time()
    status = read_status(config, "config/paper.yaml")
    assert status.total == len(graph.jobs) > 4_000
    assert time.process_time() - begun < 5


# --- what it says ---


def test_status_says_what_runs_and_what_failed(project: Path) -> None:
    config = load_config("config/demo.yaml")
    paths = run_paths(config)
    blocks = []
    for number, batch in enumerate(("00000", "00001", "00002")):
        blocks.append(
            f"[{time.ctime(time.time() - 30)}]\nrule cut_crystals:\n"
            f"    output: {paths.batch_file('crystals', 'demo-free', batch)}\n"
            f"    log: {paths.log('cut_crystals', 'demo-free', batch)}\n    jobid: {number}\n"
            f"    wildcards: campaign=demo-free, batch={batch}\n"
        )
    touch([paths.batch_file("crystals", "demo-free", 0), paths.log("cut_crystals", "demo-free", "00001")])
    Path(paths.log("cut_crystals", "demo-free", "00001")).write_text("braggworks crystals: That cannot be: do this.\n")
    blocks.append("Finished jobid: 0 (Rule: cut_crystals)\nError in rule cut_crystals:\n    jobid: 1\n")
    Path(paths.workflow_log).write_text("Provided cores: 3\ncut_crystals   20\nall  1\ntotal  21\n" + "".join(blocks))
    with hold_run_lock(paths.run_lock):
        status = read_status(config, "config/demo.yaml")
    assert (status.state, status.slots, status.done) == ("running", 3, 1)
    (running,), (failed,) = status.running, status.failed
    assert (running.rule, running.of, running.batch) == ("cut_crystals", "demo-free", 2)
    assert running.seconds == pytest.approx(30, abs=5)
    assert failed.name == "cut_crystals of campaign demo-free, batch 00001"
    assert failed.reason == "failed: braggworks crystals: That cannot be: do this."
    # 20 are planned, one is done, and files of 13 are missing: the other 6 are out of date.
    assert status.out_of_date == {"cut_crystals": 6}
    group = next(group for group in status.groups if group.rule == "cut_crystals" and group.of == "demo-free")
    assert (group.total, group.done, group.running, group.failed) == (10, 1, 1, 1)
    after = read_status(config, "config/demo.yaml")
    assert (after.state, after.running, len(after.cut_off)) == ("failed", [], 1)
    own_log = Path(paths.log("cut_crystals", "demo-free", "00001"))
    own_log.write_text("braggworks crystals: interrupted; run the same command again to go on.\n")
    after = read_status(config, "config/demo.yaml")
    assert (after.state, after.failed, len(after.cut_off)) == ("stopped", [], 2)
    Path(paths.run_lock).write_text("a run is on\n")
    assert read_status(config, "config/demo.yaml").state == "killed"


def test_slurm_jobs_wait_until_their_log_is_there(project: Path) -> None:
    config = load_config("config/demo.yaml")
    paths = run_paths(config)
    text = "Provided remote nodes: 50\n"
    for number in (0, 1):
        log = paths.log("cut_crystals", "demo-free", f"{number:05d}")
        text += f"rule cut_crystals:\n    output: {paths.batch_file('crystals', 'demo-free', number)}\n    log: {log}\n"
        text += f"    jobid: {number}\nJob {number} has been submitted with SLURM jobid {70 + number} (log: x.log).\n"
    touch([paths.log("cut_crystals", "demo-free", "00001")])
    Path(paths.workflow_log).write_text(text)
    with hold_run_lock(paths.run_lock):
        status = read_status(config, "config/demo.yaml")
    assert [job.slurm_jobid for job in status.waiting] == ["70"]
    assert [job.slurm_jobid for job in status.running] == ["71"]
    assert (status.slots, status.in_cores) == (50, False)
    assert read_status(config, "config/demo.yaml", cores=8).in_cores


def test_a_killed_run_may_have_left_jobs_in_slurm(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config("config/demo.yaml")
    lock = Path(run_paths(config).run_lock)
    lock.parent.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(project))
    lock.write_text("braggworks-0123456789ab local\n")
    assert read_status(config, "config/demo.yaml").left_in_slurm == []
    lock.write_text("braggworks-0123456789ab slurm 12 here\n")
    status = read_status(config, "config/demo.yaml")
    assert (status.state, status.left_in_slurm) == ("killed", None)
    assert "see `squeue --me`" in status_text(status)


def test_what_slurm_adds_to_each_job_is_forecast(project: Path) -> None:
    config = load_config("config/demo.yaml")
    paths = run_paths(config)
    write_table(config, "cut_crystals", "demo-free", "00000", seconds=10)
    wall = []
    for minutes in (1, 3):
        output = paths.batch_file("crystals", "demo-free", 0)
        Path(paths.workflow_log).parent.mkdir(parents=True, exist_ok=True)
        Path(paths.workflow_log).write_text(
            f"Provided remote nodes: 1\n[Sun Nov 22 10:00:00 2026]\nrule cut_crystals:\n    output: {output}\n"
            "    jobid: 0\nJob 0 has been submitted with SLURM jobid 70 (log: x.log).\n"
            f"[Sun Nov 22 10:0{minutes}:00 2026]\nFinished jobid: 0 (Rule: cut_crystals)\n"
        )
        status = read_status(config, "config/demo.yaml")
        wall.append(status.wall_hours.expected * 3600)
    # One job at a time: each of those that are left takes two minutes more.
    assert wall[1] - wall[0] == pytest.approx(120 * (status.total - status.done))


def test_json_and_text_say_the_same(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    total = len(JobGraph(load_config("config/demo.yaml")).jobs)
    assert main(["status", "config/demo.yaml", "--json", "--cores", "4"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["state"], values["done"], values["total"], values["slots"]) == ("not started", 0, total, 4)
    assert values["core_hours"]["low"] < values["core_hours"]["expected"] < values["core_hours"]["high"]
    assert main(["status", "config/demo.yaml", "--cores", "4"]) == 0
    said = capsys.readouterr().out
    assert f"0 of {total}" in said
    assert "at 4 cores" in said


def test_a_results_folder_leads_to_its_configuration(
    project: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (project / "results" / "demo" / "logs").mkdir(parents=True)
    command = "  Command: python -m snakemake --configfile config/demo.yaml --cores 2\n  Run directory: /elsewhere\n"
    (project / "results" / "demo" / "logs" / "workflow.log").write_text(command)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert main(["status", str(project / "results" / "demo")]) == 0
    assert "config/demo.yaml" in capsys.readouterr().out
    assert main(["status", str(project)]) == 2
    assert "give its file instead" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--cores", "0"], "--cores 0 can do no work"),
        (["--watch", "0"], "--watch 0 is out of range"),
        (["--watch", "nan"], "--watch nan is out of range"),
        (["--costs"], "holds no benchmark tables"),
    ],
)
def test_mistakes_are_one_sentence(
    project: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "config/demo.yaml", *options]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


# --- what it cost ---


def test_costs_are_told_by_campaign_with_the_use_of_cores(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config("config/demo.yaml")
    for batch, cpu in enumerate(("1.0", "NA")):
        write_table(config, "relax_batch", "demo-free", f"{batch:05d}", seconds=2.0, cpu=cpu)
    write_table(config, "relax_batch", "demo-clamped", "00000", seconds=4.0, cpu="3.0")
    write_table(config, "train_network", "demo", seconds=100.0, cpu="150.0")
    write_table(config, "draw_figure", "crystal", seconds=1.0)
    write_table(config, "draw_figure", "scan", seconds=1.0)
    costs = {(cost.rule, cost.campaign): cost for cost in read_costs(run_paths(config).benchmarks, by_campaign=True)}
    assert set(costs) == {
        *(("relax_batch", name) for name in ("demo-free", "demo-clamped")),
        *(("train_network", "demo"), ("draw_figure", "")),
    }
    free = costs["relax_batch", "demo-free"]
    assert (free.jobs, free.wall_seconds, free.efficiency) == (2, 4.0, 0.5)
    assert costs["train_network", "demo"].efficiency == 0.75
    assert costs["draw_figure", ""].jobs == 2
    assert main(["status", "config/demo.yaml", "--costs"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"train_network +demo +1 .* 75% +120", said)
    assert main(["status", "config/demo.yaml", "--costs", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 4


# --- a real run ---


@pytest.mark.slow
@pytest.mark.alone
@needs_environments
def test_a_real_run_is_followed_through_a_kill_to_its_end(tmp_path: Path) -> None:
    folder = make_project(tmp_path)

    def status(*options: str) -> dict[str, object]:
        told = braggworks(folder, "workflow", "status", "run.yaml", "--datasets", "--json", *options)
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)

    assert status()["state"] == "not started"
    program = str(folder / ".envs" / "workflow" / "bin" / "braggworks")
    with subprocess.Popen([program, "run", "run.yaml", "--datasets"], cwd=folder, stderr=subprocess.DEVNULL) as run:
        try:
            while not (seen := status())["running"]:
                assert run.poll() is None
        finally:
            for process in [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]:
                process.kill()
    assert seen["state"] == "running"
    assert seen["running"][0]["rule"] in {group["rule"] for group in seen["groups"]}
    killed = status()
    assert killed["state"] == "killed"
    assert killed["cut_off"]
    assert killed["core_hours"]["expected"] > 0
    done = braggworks(folder, "workflow", "run", "run.yaml", "--datasets")
    assert done.returncode == 0, done.stderr
    last = status()
    assert (last["state"], last["done"], last["cut_off"]) == ("complete", last["total"], [])
    assert last["core_hours"]["expected"] == 0
    assert all(group["pace"]["measured"] for group in last["groups"])
    watched = braggworks(folder, "workflow", "status", "results", "--watch", "1")
    assert re.search(r"simulate_batch +tiny +3 of 3", watched.stdout)
