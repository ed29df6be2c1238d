"""Project folders for tests of containers: with placeholder images, or with the real ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from workflow_project import ROOT, make_project

from braggworks.files import write_json
from braggworks.images import image_state, recipe_hash, record_file, settings
from braggworks.paths import container_image
from braggworks.preflight.environments import STAGES

IMAGES = Path(os.environ.get("BRAGGWORKS_IMAGES") or ROOT / ".images").absolute()
# What an image's recipe is computed from.
SOURCES = ("containers", "envs", "src", "pyproject.toml")


def copy_sources(folder: Path) -> Path:
    """Fill a folder with what recipes are computed from."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def place_images(stages: tuple[str, ...] = STAGES) -> None:
    """Write files in the place of images, with records as of this folder's recipe."""
    for stage in stages:
        image = Path(container_image(stage))
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(b"image")
        write_json(record_file(stage), {"recipe": recipe_hash(stage), "bytes": 5})


def container_project(folder: Path) -> Path:
    """Fill a folder with a tiny project whose recipes are those of the real images."""
    make_project(folder)
    for name in ("containers", "src", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def why_no_containers() -> str:
    """Say why containers cannot run here; empty where they can."""
    environment = settings(real_environment())
    if shutil.which("apptainer", path=environment["PATH"]) is None:
        return "Apptainer is not installed (make containers)"
    states = {stage: image_state(stage, ROOT) for stage in STAGES}
    if wrong := {stage: state for stage, state in states.items() if state != "current"}:
        return f"images are not current (make containers): {wrong}"
    result = subprocess.run(
        ["apptainer", "exec", str(IMAGES / "workflow.sif"), "true"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return f"Apptainer cannot start here: {result.stderr.strip()[-200:]}" if result.returncode else ""


def real_environment() -> dict[str, str]:
    """Return an environment that names the real images and the Apptainer of `make containers`."""
    environments = os.environ.get("BRAGGWORKS_ENVS", str(ROOT / ".envs"))
    return {
        **os.environ,
        "BRAGGWORKS_IMAGES": str(IMAGES),
        "BRAGGWORKS_ENVS": str(Path(environments).absolute()),
    }


WHY_NOT = why_no_containers()


def needs_containers(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that runs in the real images, and skip it where they cannot run."""
    return pytest.mark.needs_apptainer(pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)(test))
