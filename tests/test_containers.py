"""Apptainer images: recipes, what is told before a run, and real runs where images are at hand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from container_project import (
    IMAGES,
    container_project,
    copy_sources,
    needs_containers,
    place_images,
    real_environment,
)
from workflow_project import ENVIRONMENTS, ROOT, braggworks, needs_environments

from braggworks.config import Config, load_config
from braggworks.errors import UserError
from braggworks.files import sha256_of
from braggworks.images import image_state, package_hash, recipe_hash, settings, software_hash
from braggworks.preflight import Profile, check_before_run, read_profile
from braggworks.preflight.environments import STAGES
from braggworks.targets import compares_engines

PROFILES = ROOT / "workflow" / "profiles"
CONTAINERS = sorted((ROOT / "containers").glob("*"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of sources with placeholder images, and no Apptainer."""
    for name in ("BRAGGWORKS_IMAGES", "BRAGGWORKS_TEST_DATA", "APPTAINER_BIND", "BRAGGWORKS_DEPLOYMENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BRAGGWORKS_ENVS", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    folder = copy_sources(tmp_path / "project")
    monkeypatch.chdir(folder)
    place_images()
    return folder


@pytest.fixture
def config() -> Config:
    found = load_config(ROOT / "config" / "families.yaml")
    return found.model_copy(update={"results": "results/x"})


def profile(**values: object) -> Profile:
    return Profile(PROFILES / "apptainer", {"software-deployment-method": "apptainer", **values})


# --- recipes ---


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("envs/learn.txt", {"learn"}),
        ("containers/pynx.def", {"pynx"}),
        ("containers/stage.def", set(STAGES)),
        ("containers/base.def", {*STAGES, "pynx"}),
    ],
)
def test_packages_follow_from_definition_and_pins(file: str, changed: set[str], project: Path) -> None:
    stages = [*STAGES, "pynx"]
    before = {stage: (software_hash(stage), recipe_hash(stage)) for stage in stages}
    with (project / file).open("a") as stream:
        stream.write("# changed\n")
    after = {stage: (software_hash(stage), recipe_hash(stage)) for stage in stages}
    assert {stage for stage in stages if before[stage][0] != after[stage][0]} == changed
    assert {stage for stage in stages if before[stage][1] != after[stage][1]} == changed


@pytest.mark.parametrize("file", ["src/braggworks/seeds.py", "containers/package.def"])
def test_edited_source_makes_images_stale_and_keeps_packages(file: str, project: Path) -> None:
    packages = {stage: software_hash(stage) for stage in STAGES}
    assert {image_state(stage) for stage in STAGES} == {"current"}
    with (project / file).open("a") as stream:
        stream.write("# changed\n")
    assert {image_state(stage) for stage in STAGES} == {"stale"}
    assert packages == {stage: software_hash(stage) for stage in STAGES}


def test_recipe_is_of_content_and_place_alone(project: Path) -> None:
    before = package_hash()
    (project / "src" / "braggworks" / "__pycache__").mkdir()
    (project / "src" / "braggworks" / "__pycache__" / "seeds.pyc").write_text("x")
    os.utime(project / "pyproject.toml", (1, 1))
    assert package_hash() == before == package_hash(project)
    (project / "src" / "braggworks" / "new.py").write_text("")
    assert package_hash() != before


@pytest.mark.parametrize("file", CONTAINERS, ids=lambda path: path.name)
def test_no_host_stands_in_a_recipe(file: Path) -> None:
    if file.is_file():
        assert not re.search(r"(https?|ftp|docker|library|oras)://", file.read_text())


def test_the_demo_in_containers_is_the_demo() -> None:
    local, contained = (
        yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text()) for name in ("demo", "demo-containers")
    )
    assert contained.pop("results") == "results/demo-containers"
    assert local.pop("results") == "results/demo"
    assert local == contained


# --- what is told before a run ---


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (Path.unlink, "are missing: run `make containers`"),
        (lambda image: image.write_bytes(b"imag"), "are not whole or have lost their record: run `make containers`"),
        (lambda image: image.with_suffix(".json").unlink(), "have lost their record: run `make containers`"),
        (lambda image: image.with_suffix(".json").write_text("{"), "have lost their record: run `make containers`"),
    ],
)
def test_images_that_cannot_be_used_are_told(
    change: Callable[[Path], object], told: str, project: Path, config: Config
) -> None:
    change(project / ".images" / "relax.sif")
    with pytest.raises(UserError, match=told) as error:
        check_before_run(config, profile())
    assert ".images/relax.sif" in str(error.value)
    assert "learn.sif" not in str(error.value)


def test_an_image_of_another_recipe_is_told(project: Path, config: Config) -> None:
    (project / "envs" / "scatter.txt").write_text("numpy==1.0\n")
    with pytest.raises(UserError, match=r"The images \.images/scatter\.sif are of another recipe") as error:
        check_before_run(config, profile())
    assert "make containers" in str(error.value)


def test_an_image_of_pynx_is_asked_for_only_where_it_is_used(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAGGWORKS_DEPLOYMENT", "apptainer")
    demo = load_config(ROOT / "config" / "demo.yaml")
    assert demo.comparison
    assert not compares_engines(demo)
    always = demo.model_copy(update={"comparison": demo.comparison.model_copy(update={"when": "always"})})
    with pytest.raises(UserError, match=r"The images \.images/pynx\.sif are missing"):
        check_before_run(always, profile())
    place_images(("pynx",))
    assert compares_engines(demo)


def test_missing_apptainer_is_told(project: Path, config: Config) -> None:
    with pytest.raises(UserError, match="Apptainer is not on the PATH: run `make containers`"):
        check_before_run(config, profile())


def test_a_profile_without_containers_asks_for_none(project: Path, config: Config) -> None:
    shutil.rmtree(project / ".images")
    check_before_run(config, Profile(PROFILES / "slurm", {"executor": "slurm"}))


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a scan, outside the project."""
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "scan.cxi").write_bytes(b"scan")
    return folder


def scan_config(config: Config, scan: Path) -> Config:
    found = load_config(ROOT / "config" / "scan-patches.yaml")
    return found.model_copy(update={"campaigns": [found.campaigns[0].model_copy(update={"scans": [str(scan)]})]})


def test_a_scan_that_no_bind_covers_is_told(project: Path, config: Config, scans: Path) -> None:
    wanted = scan_config(config, scans / "scan.cxi")
    closed = "--cleanenv --contain"
    with pytest.raises(UserError, match=f"The containers do not see {scans}, which holds the scan scan.cxi") as error:
        check_before_run(wanted, profile(**{"apptainer-args": closed}))
    assert f"add `--bind {scans}` to apptainer-args" in str(error.value)
    # Under another name it is as good as absent.
    with pytest.raises(UserError, match="do not see"):
        check_before_run(wanted, profile(**{"apptainer-args": f"{closed} --bind {scans}:/data"}))


@pytest.mark.parametrize("how", ["--bind {}", "--bind={}:{}:ro", "-B /proc,{}", "setting", "data"])
def test_a_bound_scan_is_accepted(
    how: str, project: Path, config: Config, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = "--contain"
    if how == "setting":
        monkeypatch.setenv("APPTAINER_BIND", str(scans))
    elif how == "data":
        monkeypatch.setenv("BRAGGWORKS_TEST_DATA", str(scans))
    else:
        arguments += " " + how.format(scans, scans)
    # The next thing that is missing is Apptainer itself.
    with pytest.raises(UserError, match="Apptainer is not on the PATH"):
        check_before_run(scan_config(config, scans / "scan.cxi"), profile(**{"apptainer-args": arguments}))


def test_a_link_out_of_the_bound_folders_is_told(project: Path, config: Config, scans: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "scan.cxi").symlink_to(scans / "scan.cxi")
    with pytest.raises(UserError, match=f"do not see {scans}"):
        check_before_run(
            scan_config(config, linked / "scan.cxi"), profile(**{"apptainer-args": f"--contain --bind {linked}"})
        )
    (project / "results").symlink_to(scans)
    with pytest.raises(UserError, match=f"do not see {scans}.*, which holds the results"):
        check_before_run(config, profile(**{"apptainer-args": "--contain"}))


def test_settings_bind_data_and_hand_on_what_the_project_reads(tmp_path: Path) -> None:
    found = settings(
        {"PATH": "/bin", "BRAGGWORKS_TEST_DATA": str(tmp_path), "APPTAINER_BIND": "/a:/b", "PYTHONPATH": "/x"}
    )
    assert found["APPTAINER_BIND"].split(",")[:2] == ["/a:/b", str(tmp_path)]
    assert found["APPTAINERENV_BRAGGWORKS_TEST_DATA"] == str(tmp_path)
    assert found["PATH"].startswith("/bin:")
    assert not any("PYTHONPATH" in name and name.startswith("APPTAINERENV") for name in found)


# --- in the real images ---


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
    check_before_run(config, profile(**{"apptainer-args": "--cleanenv"}))
    with pytest.raises(UserError, match=r"Apptainer cannot start a container here .*no-such-folder"):
        check_before_run(config, profile(**{"apptainer-args": "--cleanenv --bind /no-such-folder"}))
