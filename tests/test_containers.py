"""Runs and builds with real images, where Apptainer and the images of `make containers` are at hand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from container_project import IMAGES, container_project, copy_sources, needs_containers, real_environment
from workflow_project import ENVIRONMENTS, ROOT, braggworks, needs_environments

from braggworks.config import Config, load_config
from braggworks.errors import UserError
from braggworks.files import sha256_of
from braggworks.images import settings
from braggworks.preflight import Profile, check_before_run, read_profile
from braggworks.preflight.environments import STAGES

PROFILES = ROOT / "workflow" / "profiles"


@pytest.fixture
def config() -> Config:
    """A run without scans."""
    found = load_config(ROOT / "config" / "families.yaml")
    return found.model_copy(update={"results": "results/x"})


def profile(arguments: str) -> Profile:
    return Profile(PROFILES / "apptainer", {"software-deployment-method": "apptainer", "apptainer-args": arguments})


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny project beside the real images."""
    for name, value in settings(real_environment()).items():
        monkeypatch.setenv(name, value)
    return container_project(tmp_path)


def exec_in(stage: str, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in an image as Snakemake does with the profile's arguments."""
    arguments = str(read_profile(PROFILES / "apptainer").values["apptainer-args"]).split()
    return subprocess.run(
        ["apptainer", "exec", "--home", str(Path.cwd()), *arguments, str(IMAGES / f"{stage}.sif"), *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
@needs_containers
@needs_environments
def test_a_run_in_containers_makes_the_same_shards(real: Path) -> None:
    run = yaml.safe_load((real / "run.yaml").read_text())
    (real / "inside.yaml").write_text(yaml.safe_dump({**run, "results": "inside"}))
    for config, options in (("run.yaml", ()), ("inside.yaml", ("--profile", "workflow/profiles/apptainer"))):
        result = braggworks(real, "workflow", "run", config, *options)
        assert result.returncode == 0, result.stderr
    names = sorted(path.relative_to(real / "results") for path in (real / "results").rglob("shards/*.h5"))
    assert len(names) == 3
    for name in names:
        assert sha256_of(real / "results" / name) == sha256_of(real / "inside" / name)
    log = (real / "inside" / "logs" / "workflow.log").read_text()
    assert log.count("Activating singularity image") == log.count("localrule ") + log.count("\nrule ") - 1
    assert "environment modules" not in log


@needs_containers
def test_host_packages_do_not_leak(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoy = "raise SystemExit('taken from the host')\n"
    monkeypatch.chdir(real)
    # The user's own packages: Snakemake makes the project's folder the home.
    user, path = real / ".local/lib/python3.11/site-packages", real / "path"
    for folder in (user, path):
        folder.mkdir(parents=True)
        for module in ("torch", "numpy", "pydantic"):
            (folder / f"{module}.py").write_text(decoy)
    learn = ENVIRONMENTS.absolute() / "learn/lib/python3.11/site-packages"
    hosts = {"PYTHONPATH": f"{path}:{learn}", "PYTHONHOME": "/usr", "PYTHONUSERBASE": str(real / ".local")}
    program = "/opt/braggworks/bin/python"
    # torch is not in the image of scattering, whatever the host has.
    absent = exec_in("scatter", program, "-c", "import torch", **hosts)
    assert "ModuleNotFoundError: No module named 'torch'" in absent.stderr
    where = exec_in(
        "scatter", program, "-c", "import numpy, braggworks as b; print(numpy.__file__, b.__file__)", **hosts
    )
    assert where.returncode == 0, where.stderr
    assert all(name.startswith("/opt/braggworks/lib/") for name in where.stdout.split())
    # The command holds even where somebody hands PYTHONPATH on by name, which plain Python follows.
    handed_on = {"APPTAINERENV_PYTHONPATH": str(path)}
    assert "taken from the host" in exec_in("scatter", program, "-c", "import pydantic", **handed_on).stderr
    verb = exec_in("scatter", "braggworks", "schema", **handed_on)
    assert verb.returncode == 0, verb.stderr
    assert json.loads(verb.stdout)["title"]


@needs_containers
@pytest.mark.parametrize("stage", STAGES)
def test_an_image_holds_its_pins_and_no_others(stage: str, real: Path) -> None:
    record = json.loads((IMAGES / f"{stage}.json").read_text())
    pins = [line for line in (ROOT / "envs" / f"{stage}.txt").read_text().splitlines() if line and line[0] != "#"]
    held = {re.sub(r"[-_.]+", "-", text.split("==")[0]): text.split("==")[1].split("+")[0] for text in record["python"]}
    assert held.pop("braggworks")
    wanted = {re.sub(r"[-_.]+", "-", pin.split("==")[0].lower()): pin.split("==")[1] for pin in pins}
    assert wanted.items() <= held.items()
    # What torch's CUDA build brings is pinned by that build.
    assert [name for name in held.keys() - wanted.keys() if not name.startswith(("nvidia-", "cuda-", "triton"))] == []
    assert any(text.startswith("python3.11=") for text in record["debian"])
    assert all(
        re.fullmatch("[0-9a-f]{64}", text) for text in [*record["wheels"].values(), *record["made_from"].values()]
    )


@pytest.mark.slow
@needs_containers
def test_records_hold_the_images_digests(real: Path) -> None:
    for stage in STAGES:
        assert json.loads((IMAGES / f"{stage}.json").read_text())["sha256"] == sha256_of(IMAGES / f"{stage}.sif")


@needs_containers
def test_unchanged_recipes_build_nothing(real: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in IMAGES.glob("*.*")}
    result = subprocess.run(
        [sys.executable, "containers/build.py", *STAGES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert "are up to date" in result.stdout
    assert before == {path.name: path.stat().st_mtime_ns for path in IMAGES.glob("*.*")}


@pytest.fixture
def workshop(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sources, with a folder of images of its own that begins with the real layers."""
    folder = copy_sources(tmp_path / "workshop")
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    cache = folder / "images" / "cache"
    cache.mkdir(parents=True)
    for path in (IMAGES / "cache").iterdir():
        if path.name.startswith(("base-", "scatter-", "pip-environment")):
            (cache / path.name).symlink_to(path)
    monkeypatch.setenv("BRAGGWORKS_IMAGES", str(folder / "images"))
    return folder


def build(folder: Path, *stages: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "containers/build.py", *stages],
        cwd=folder,
        # The copy's own sources, not those that this environment was made with.
        env={**os.environ, "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@pytest.mark.slow
@needs_containers
def test_an_edited_source_rebuilds_the_last_layer_alone(workshop: Path) -> None:
    cache = workshop / "images" / "cache"
    layers = {path.name for path in cache.glob("*.sif")}
    if len(layers) != 2:
        pytest.skip("the images' layers were deleted")
    with (workshop / "src" / "braggworks" / "__init__.py").open("a") as stream:
        stream.write("MARK = 'edited'\n")
    result = build(workshop, "scatter")
    assert result.returncode == 0, result.stderr
    assert {path.name for path in cache.glob("*.sif")} == layers
    image = workshop / "images" / "scatter.sif"
    seen = [
        "apptainer",
        "exec",
        str(image),
        "/opt/braggworks/bin/python",
        "-c",
        "import braggworks as b; print(b.MARK)",
    ]
    assert subprocess.run(seen, capture_output=True, text=True, check=True, timeout=60).stdout == "edited\n"
    assert "are up to date" in build(workshop, "scatter").stdout


@needs_containers
def test_a_failed_build_is_one_sentence_and_leaves_nothing(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (workshop / "envs" / "scatter.txt").write_text("braggworks-no-such-package==1\n")
    result = build(workshop, "scatter")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("containers: Building wheels-scatter failed: ERROR: ")
    assert "Traceback" not in result.stderr
    assert not list((workshop / "images").glob("*scatter*"))


@needs_containers
def test_a_gpu_that_is_not_there_is_told(real: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU")
    monkeypatch.chdir(real)
    with pytest.raises(UserError, match=r"gives the containers a GPU \(--nv\), and this machine has none"):
        check_before_run(config, read_profile(PROFILES / "apptainer-gpu"))


@needs_containers
def test_what_apptainer_refuses_is_told_before_the_run(
    real: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(real)
    check_before_run(config, profile("--cleanenv"))
    with pytest.raises(UserError, match=r"Apptainer cannot start a container here .*no-such-folder"):
        check_before_run(config, profile("--cleanenv --bind /no-such-folder"))
