"""What a site sets, what jobs ask for, and what Slurm says when it ends them; nothing here needs a Slurm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from braggworks.config import Config, load_config
from braggworks.errors import ConfigError, MissingToolError
from braggworks.launch import snakemake_command
from braggworks.preflight import check_before_run
from braggworks.preflight.profiles import read_profile
from braggworks.preflight.slurm import minutes_of
from braggworks.runlock import hold_run_lock
from braggworks.site import Site, joined, read_site, site_environment, site_options, with_site
from braggworks.slurm import Request, planned_requests, reason_of_failure

ROOT = Path(__file__).parents[1]
PROFILE = ROOT / "workflow/profiles/slurm"
PLAN = """
rule relax_batch:
    output: results/relaxed/batch-00000.h5
    threads: 4
    resources: tmpdir=/tmp, mem_mb=1500, mem=1.5 GB, mem_mib=1431, runtime=60, slurm_partition=short,long, qos=high
Shell command: braggworks relax

rule relax_batch:
    threads: 4
    resources: tmpdir=/tmp, mem_mb=1500, mem=1.5 GB, mem_mib=1431, runtime=60, slurm_partition=short,long, qos=high

rule train_network:
    resources: tmpdir=/tmp, mem_mb=4000, runtime=600, gpu=2
"""
ENDED = """Error in rule train_network:
    message: SLURM-job '{job}' failed, SLURM status is: '{state}'. Detailed failure reason unavailable.
    jobid: 3
Logfile x.log:
================
{quoted}
================
"""


@pytest.fixture(scope="module")
def demo() -> Config:
    return load_config(ROOT / "config" / "demo.yaml")


def test_the_shipped_site_leaves_all_to_the_cluster(demo: Config) -> None:
    site = read_site(PROFILE)
    assert site == Site()
    assert site_options(site, demo) == [
        "--jobs",
        "100",
        "--latency-wait",
        "60",
        "--software-deployment-method",
        "env-modules",
    ]
    assert site_environment(site) == {}


def test_every_key_is_in_the_shipped_file_and_its_page() -> None:
    assert set(yaml.safe_load((PROFILE / "site.yaml").read_text())) == set(Site.model_fields)
    page = (ROOT / "docs/clusters/index.md").read_text()
    assert [key for key in Site.model_fields if f"`{key}`" not in page] == []


def test_settings_become_options(demo: Config) -> None:
    site = Site(account="beam/x", partition="cpu", gpus=2, gpu_partition="gpu", scratch="/scratch", training_cores=8)
    options = site_options(site, demo)
    assert options[options.index("--default-resources") + 1 :][:3] == [
        "slurm_account='beam/x'",
        "slurm_partition='cpu'",
        "tmpdir='/scratch'",
    ]
    assert options[options.index("--set-resources") + 1 :][:2] == [
        "train_network:gpu=2",
        "train_network:slurm_partition='gpu'",
    ]
    assert options[-2:] == ["--set-threads", "train_network=8"]


def test_a_simulation_on_cuda_asks_for_a_gpu() -> None:
    families = load_config(ROOT / "config" / "families.yaml")
    cuda = [
        campaign.model_copy(update={"device": "cuda"}) if campaign.family == "shape3d" else campaign
        for campaign in families.campaigns
    ]
    changed = families.model_copy(update={"campaigns": cuda})
    assert "simulate_batch:gpu=1" in site_options(Site(), changed)
    assert "simulate_batch:gpu=1" not in site_options(Site(), families)


def test_a_persons_options_join_the_sites() -> None:
    options = ["--set-resources", "a:gpu=1", "--jobs", "3", "--set-resources=b:mem_mb=2", "--set-resources", "c:x=1"]
    assert joined(options) == ["--jobs", "3", "--set-resources", "a:gpu=1", "b:mem_mb=2", "c:x=1"]


def test_cores_are_a_limit_only_where_given() -> None:
    assert "--cores" not in snakemake_command(str(ROOT / "config/demo.yaml"), None, str(PROFILE))
    command = snakemake_command(str(ROOT / "config/demo.yaml"), 4, str(ROOT / "workflow/profiles/local"))
    assert command[command.index("--cores") + 1] == "4"
    assert "--jobs" not in command


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("partitoin: x", "unknown key 'partitoin': did you mean 'partition'?"),
        ("partition: 'a b'", "partition: 'a b' holds what is not accepted"),
        ('account: "x\'; rm -rf ~"', "holds what is not accepted"),
        ("extra: nodelist", "extra: 'nodelist' holds what is not accepted"),
        ("scratch: relative", "scratch: 'relative' holds what is not accepted"),
        ("gpus: -1", "gpus: must be greater than or equal to 0, got -1"),
        ("software: conda", "software: 'conda' is none of 'env-modules', 'apptainer'"),
        ("- a", "must hold settings"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_mistakes_in_the_site_are_told(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "site.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"site\.yaml") as told:
        read_site(tmp_path)
    assert sentence in str(told.value)


def test_the_sites_software_is_the_profiles(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("executor: slurm\nsoftware-deployment-method: env-modules\n")
    (tmp_path / "site.yaml").write_text(f"software: apptainer\nfolders: [{tmp_path}]\n")
    assert with_site(read_profile(tmp_path)).deployment == ["apptainer"]
    site = read_site(tmp_path)
    assert site is not None
    # Folders are bound by options of the containers; the environment holds modules alone.
    assert site_environment(site) == {}


def test_a_plan_says_what_jobs_ask_for() -> None:
    relax, train = planned_requests(PLAN)
    assert relax == Request("relax_batch", 4, 1500, 60, partitions=("short", "long"), qos="high")
    assert relax.options() == ["--partition=short,long", "--qos=high", "--cpus-per-task=4", "--mem=1500", "--time=60"]
    assert train == Request("train_network", 1, 4000, 600, gpus=2)
    (further,) = planned_requests(PLAN.replace("qos=high", "slurm_extra=--nodelist=n1 --exclusive"))[:1]
    assert further.options()[-2:] == ["--nodelist=n1", "--exclusive"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("executor: slurm\n")
    (tmp_path / "site.yaml").write_text(f"folders: [{tmp_path}, {tmp_path}/nowhere]\n")
    with pytest.raises(ConfigError, match=r"folders names .*/nowhere, and there is no such folder"):
        with_site(read_profile(tmp_path))


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("1-00:00:00", 1440), ("4:00:00", 240), ("30:00", 30), ("infinite", float("inf"))],
)
def test_times_of_slurm(text: str, minutes: float) -> None:
    assert minutes_of(text) == minutes


@pytest.mark.parametrize(
    ("state", "quoted", "sentence"),
    [
        ("FAILED", "slurmstepd: error: StepId=7.0 exceeded memory limit (2 > 1), being killed", "needed more memory"),
        ("OUT_OF_MEMORY", "", "train_network:mem_mb=NUMBER"),
        ("TIMEOUT", "slurmstepd: error: *** JOB 7 ON n CANCELLED DUE TO TIME LIMIT ***", "needed more time"),
        ("NODE_FAIL", "", "Slurm job 7 of rule train_network ended as NODE_FAIL: run the same command again"),
        ("FAILED", "braggworks train: the loss is no number.", None),
    ],
)
def test_why_a_job_ended(state: str, quoted: str, sentence: str | None) -> None:
    # An earlier job that failed otherwise has been tried again since.
    log = ENDED.format(job=6, state="CANCELLED", quoted="") + ENDED.format(job=7, state=state, quoted=quoted)
    reason = reason_of_failure(log)
    assert reason is None if sentence is None else sentence in str(reason)


def test_slurms_own_log_is_read_where_it_is_not_quoted(tmp_path: Path) -> None:
    own = tmp_path / "7.log"
    log = f"Job 3 has been submitted with SLURM jobid 7 (log: {own}).\n"
    log += ENDED.format(job=7, state="FAILED", quoted="x.log not found.")
    assert reason_of_failure(log) is None
    own.write_text("slurmstepd: error: Exceeded job memory limit\n")
    assert "needed more memory" in str(reason_of_failure(log))


def test_a_refused_submission_is_told() -> None:
    log = (
        "Error in rule relax_batch:\n    message: SLURM sbatch failed. The error message was "
        "'sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)'.\n"
    )
    assert "did not take a job of rule relax_batch (sbatch: error: Batch job" in str(reason_of_failure(log))
    assert reason_of_failure("Error in rule x:\n    message: None\n") is None


def test_a_machine_without_slurm_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, demo: Config) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="sbatch, squeue, scancel, sinfo, scontrol is not on the PATH"):
        check_before_run(demo, read_profile(PROFILE))


def test_the_name_of_a_killed_run_stays_until_it_is_cleared(tmp_path: Path) -> None:
    path = tmp_path / ".run-lock"
    with hold_run_lock(path, "slurm") as lock:
        first = lock.name
        lock.leave()
    with hold_run_lock(path) as lock:
        assert lock.former == (first, "slurm")
    # The second run ended before it had cleared up.
    with hold_run_lock(path, "slurm") as lock:
        assert lock.former == (first, "slurm")
        lock.sign()
        assert not lock.cut_off
        assert path.read_text().startswith(f"{lock.name} slurm {os.getpid()} ")
    assert path.read_text() == ""


def test_modulefiles_stand_for_every_stage() -> None:
    stages = {path.stem for path in (ROOT / "envs").glob("*.yaml")}
    assert {path.name for path in (ROOT / "workflow/modulefiles/braggworks").iterdir()} == stages


def test_the_kubernetes_profile_names_what_is_to_be_replaced() -> None:
    profile = read_profile(ROOT / "workflow/profiles/kubernetes")
    assert profile.executor == "kubernetes"
    assert "REGISTRY" in profile.values["container-image"]
