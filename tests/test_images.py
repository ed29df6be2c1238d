"""Images' recipes, and what is told before a run in containers."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from container_project import copy_sources, place_images
from workflow_project import ROOT

from braggworks.config import Config, load_config
from braggworks.errors import UserError
from braggworks.images import image_state, package_hash, recipe_hash, settings, software_hash
from braggworks.preflight import Profile, check_before_run, read_profile
from braggworks.preflight.containers import check_containers
from braggworks.preflight.environments import STAGES
from braggworks.site import read_site, site_options, with_site
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
    check_containers(config, Profile(PROFILES / "slurm", {"executor": "slurm"}))


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


def test_a_cluster_binds_its_folders(project: Path, config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "slurm"
    folder.mkdir()
    (folder / "config.yaml").write_text("executor: slurm\n")
    # Any file outside the project and /tmp.
    wanted, settings_file = scan_config(config, Path("/etc/os-release").resolve()), folder / "site.yaml"
    settings_file.write_text("software: apptainer\n")
    with pytest.raises(UserError, match=r"do not see .*: add .* to folders in .*/site\.yaml"):
        check_containers(wanted, with_site(read_profile(folder)))
    place = wanted.campaigns[0].scans[0].rpartition("/")[0]  # type: ignore[union-attr]
    settings_file.write_text(f"software: apptainer\nfolders: [{place}]\ngpus: 1\n")
    with pytest.raises(UserError, match="Apptainer is not on the PATH"):
        check_containers(wanted, with_site(read_profile(folder)))
    site = read_site(folder)
    assert site
    demo = load_config(ROOT / "config" / "demo.yaml")
    assert f"--apptainer-args=--cleanenv --nv --bind {place}" in site_options(site, demo)


def test_settings_bind_data_and_hand_on_what_the_project_reads(tmp_path: Path) -> None:
    found = settings(
        {"PATH": "/bin", "BRAGGWORKS_TEST_DATA": str(tmp_path), "APPTAINER_BIND": "/a:/b", "PYTHONPATH": "/x"}
    )
    assert found["APPTAINER_BIND"].split(",")[:2] == ["/a:/b", str(tmp_path)]
    assert found["APPTAINERENV_BRAGGWORKS_TEST_DATA"] == str(tmp_path)
    assert found["PATH"].startswith("/bin:")
    assert not any("PYTHONPATH" in name and name.startswith("APPTAINERENV") for name in found)
