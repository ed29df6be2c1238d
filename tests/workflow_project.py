"""A project folder with a tiny dataset of 2-D patterns, in which the workflow runs with the real environments."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = Path(os.environ.get("BRAGGWORKS_ENVS", ROOT / ".envs")).absolute()

needs_environments = pytest.mark.skipif(
    not (ENVIRONMENTS / "workflow" / "bin" / "braggworks").exists(), reason="needs the environments of `make envs`"
)


def pynx_programs() -> Path:
    """Return the folder of the programs of PyNX's environment; the test is skipped where there is none."""
    folder = ENVIRONMENTS / "pynx" / "bin"
    if not (folder / "braggworks").exists():
        pytest.skip("PyNX is not installed: `make pynx`")
    return folder


def braggworks(folder: Path, stage: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a verb as a person would."""
    program = str(folder / ".envs" / stage / "bin" / "braggworks")
    return subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=280)


def make_project(folder: Path) -> Path:
    """Fill a folder with what a run of `run.yaml` reads."""
    for name in ("workflow", "envs"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / ".envs").symlink_to(ENVIRONMENTS.resolve())
    (folder / "campaigns").mkdir()
    campaign = {"family": "polygon2d", "count": 9, "batch_size": 3, "task": "phase"}
    campaign["patches"] = {"size": 64, "per_pattern": 1}
    (folder / "campaigns" / "tiny.yaml").write_text(yaml.safe_dump(campaign))
    run = {"results": "results", "campaigns": ["tiny"], "releases": [{"name": "tiny", "campaigns": ["tiny"]}]}
    run["splits"] = {"validation": 0.0, "test": 0.0}
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    return folder
