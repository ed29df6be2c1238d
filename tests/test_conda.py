"""The conda environments: strict files, with the same pins as the uv environments."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "envs").glob("*.yaml"))
# One exact version of one package: no range, marker, address or option.
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][A-Za-z0-9.]*)$")


def pins(lines: list[str]) -> dict[str, str]:
    """Versions by normalised name."""
    found = {}
    for line in lines:
        match = PIN.match(line)
        assert match, f"{line!r} is no exact pin"
        name = re.sub(r"[-_.]+", "-", match[1]).lower()
        assert name not in found, f"{name} is named twice"
        found[name] = match[2]
    return found


def test_every_stage_that_a_rule_names_has_its_file() -> None:
    rules = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    stages = set(re.findall(r'conda_file\("(\w+)"\)', rules))
    assert stages == {path.stem for path in FILES}
    assert stages == set(re.findall(r'container_image\("(\w+)"\)', rules))
    assert stages == set(re.findall(r'"braggworks/(\w+)"', rules))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_conda_file_is_strict(file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    assert set(content) == {"name", "channels", "dependencies"}
    assert content["name"] == f"braggworks-{file.stem}"
    # No channel comes in from a user's settings.
    assert content["channels"] == ["conda-forge", "nodefaults"]
    python, pip, packages = content["dependencies"]
    assert (python, pip) == ("python=3.11", "pip")
    assert set(packages) == {"pip"}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_conda_and_uv_hold_the_same_pins(file: Path) -> None:
    own = pins(yaml.safe_load(file.read_text())["dependencies"][2]["pip"])
    lines = [line for line in file.with_suffix(".txt").read_text().splitlines() if line and not line.startswith("#")]
    assert own == pins(lines)
    assert own


def test_conda_uv_and_images_use_the_same_python() -> None:
    conda = {yaml.safe_load(file.read_text())["dependencies"][0].removeprefix("python=") for file in FILES}
    uv = re.search(r"BRAGGWORKS_PYTHON:-([0-9.]+)", (ROOT / "envs" / "install.sh").read_text())
    images = re.search(r'"BRAGGWORKS_PYTHON", "([0-9.]+)"', (ROOT / "containers" / "build.py").read_text())
    assert uv and images
    assert conda == {uv[1]} == {images[1]}


@pytest.mark.parametrize("text", ["numpy>=2", "numpy", "torch==2.13.0+cpu", "a @ https://host/a.whl", "-r other.txt"])
def test_a_loose_pin_is_found(text: str) -> None:
    with pytest.raises(AssertionError, match="no exact pin"):
        pins([text])
