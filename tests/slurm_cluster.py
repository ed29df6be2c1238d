"""A Slurm of one node for tests, and a run of the tiny project on it that can be disturbed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
import yaml
from workflow_project import ROOT, make_project

from braggworks.files import sha256_of

SCRIPTS = ROOT / "tests" / "slurm"
PROFILE = "workflow/profiles/slurm"
_PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
T = TypeVar("T")
_PATH = f"{os.environ['PATH']}:/usr/sbin"


def why_not() -> str | None:
    """Say why no Slurm can be started here."""
    if all(shutil.which(program, path=_PATH) for program in _PROGRAMS):
        return None
    if os.geteuid() == 0 and shutil.which("apt-get"):
        return None
    return "needs Slurm: install Debian's slurmctld, slurmd, slurm-client and munge, or run as root on Debian"


@dataclass
class Cluster:
    """A started Slurm; `environment` is how programs find it."""

    folder: Path
    environment: dict[str, str]
    runs: list[Run] = field(default_factory=list)

    def ask(self, *command: str) -> str:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=self.environment,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def jobs(self, state: str = "") -> list[str]:
        """Return the jobs that have not ended, or those in one state."""
        lines = self.ask("squeue", "--noheader", "--format=%i %T").splitlines()
        return [line.split()[0] for line in lines if line.strip() and line.split()[1].startswith(state)]

    def stop_controller(self) -> None:
        self.ask(str(SCRIPTS / "down.sh"), "--controller", str(self.folder))

    def start(self) -> None:
        self.ask(str(SCRIPTS / "up.sh"), str(self.folder))

    def clear(self) -> None:
        """End what a failed test has left."""
        for run in self.runs:
            if run.process.poll() is None:
                run.kill()
        self.runs.clear()
        if self.jobs():
            self.ask("scancel", *self.jobs())
            wait_until(lambda: not self.jobs(), lambda: None)


@contextmanager
def cluster(folder: Path, cpus: int = 4) -> Iterator[Cluster]:
    """Start a Slurm in a folder, and stop it."""
    if reason := why_not():
        pytest.skip(reason)
    environment = {**os.environ, "BRAGGWORKS_SLURM_CPUS": str(cpus)}
    script = f'settings=$("{SCRIPTS}/up.sh" "$1") && eval "$settings" && env -0'
    started = subprocess.run(
        ["bash", "-c", script, "bash", str(folder)], capture_output=True, check=False, timeout=280, env=environment
    )
    assert started.returncode == 0, started.stderr.decode()
    pairs = (pair.split("=", 1) for pair in started.stdout.decode().split("\0") if "=" in pair)
    try:
        yield Cluster(folder, {key: value for key, value in pairs if key != "BRAGGWORKS_TEST_DATA"})
    finally:
        subprocess.run([SCRIPTS / "down.sh", folder], check=False, timeout=100)


def make_small_demo(folder: Path) -> Path:
    """Fill a folder with the demo in small: every stage of it, with few particles and little training."""
    make_project(folder)
    run = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    for name in run["campaigns"]:
        campaign = yaml.safe_load((ROOT / f"config/campaigns/{name}.yaml").read_text())
        campaign |= {"count": 8 if name == "demo-free" else 4}
        campaign["crystal"]["atoms"] = [2000, 3000]
        campaign["diffraction"]["patterns_per_particle"] = 2
        campaign["patches"]["per_pattern"] = 4
        (folder / "campaigns" / f"{name}.yaml").write_text(yaml.safe_dump(campaign))
    # With this seed, twelve particles fill every split.
    run |= {"results": "results", "splits": {"validation": 0.2, "test": 0.3, "seed": 0}}
    run["comparison"]["when"] = "never"
    run["evaluation"]["must_beat"] = None
    run["training"]["epochs"] = 1
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    return folder


class Run:
    """`braggworks run` of a project's `run.yaml` on a cluster, in a session of its own.

    Parameters
    ----------
    cluster
        The Slurm.
    project
        A folder of `make_project`.
    options
        Options for Snakemake.
    whole
        Whether to make more than the datasets.
    """

    def __init__(self, cluster: Cluster, project: Path, *options: str, whole: bool = False) -> None:
        self.cluster = cluster
        self.project = project
        program = project / ".envs" / "workflow" / "bin" / "braggworks"
        told = [f"--snakemake={option}" for option in ("--slurm-init-seconds-before-status-checks=2", *options)]
        self.process = subprocess.Popen(
            [program, "run", "run.yaml", *([] if whole else ["--datasets"]), "--profile", PROFILE, *told],
            cwd=project,
            env=cluster.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        cluster.runs.append(self)

    def wait_for_jobs(self, state: str = "RUNNING", number: int = 1) -> list[str]:
        """Wait until so many jobs are in a state, and return them."""
        return self.wait_for(lambda: jobs if len(jobs := self.cluster.jobs(state)) >= number else [])

    def wait_for(self, condition: Callable[[], T]) -> T:
        """Return what a condition gives, once it is true; the run must go on until then."""
        return wait_until(condition, self._alive)

    def end(self, seconds: float = 600) -> str:
        """Wait for the end, and return what was said."""
        try:
            said, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return said

    def finish(self, seconds: float = 600) -> None:
        """Wait for the end, which must be good."""
        said = self.end(seconds)
        assert self.process.returncode == 0, said

    def kill(self) -> None:
        """Kill the whole workflow at once, as when its machine goes down; Slurm's jobs live on."""
        for process in session_of(self.process.pid):
            os.kill(process, signal.SIGKILL)
        self.process.communicate(timeout=60)

    def _alive(self) -> None:
        assert self.process.poll() is None, self.end()


def session_of(leader: int) -> list[int]:
    """Return the processes of a session."""
    listed = subprocess.run(["ps", "-s", str(leader), "-o", "pid="], capture_output=True, text=True, check=False)
    return [int(number) for number in listed.stdout.split()]


def wait_until(condition: Callable[[], T], meanwhile: Callable[[], None], seconds: float = 90) -> T:
    """Return what a condition gives, once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        meanwhile()
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
    return found


def shard_hashes(project: Path) -> dict[str, str]:
    """Return the SHA-256 of each shard and the manifest."""
    found = [*project.glob("results/campaigns/*/shards/*.h5"), *project.glob("results/releases/*/manifest.json")]
    return {str(file.relative_to(project)): sha256_of(file) for file in sorted(found)}
