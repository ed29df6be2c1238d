"""The Apptainer images of the stages: what each is made from, its record, and the settings that its jobs run with."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from braggworks.errors import FileError
from braggworks.files import read_json
from braggworks.paths import container_image, image_folder

# Raised when containers/build.py makes other images from the same files.
BUILDER_VERSION = 1
_CAP_SYS_RESOURCE = 1 << 24


# --- what an image is made from ---


def definition(stage: str) -> str:
    """Return the definition of a stage's packages."""
    return "containers/pynx.def" if stage == "pynx" else "containers/stage.def"


def base_hash(root: Path = Path()) -> str:
    """Return the SHA-256 of what the base image is made from."""
    return _hash(root, ["containers/base.def"])


def software_hash(stage: str, root: Path = Path()) -> str:
    """Return the SHA-256 of what the image of a stage's packages, without braggworks, is made from."""
    return _hash(root, [definition(stage), f"envs/{stage}.txt"], base_hash(root))


def package_hash(root: Path = Path()) -> str:
    """Return the SHA-256 of the sources that braggworks is built from."""
    sources = (path for path in (root / "src" / "braggworks").rglob("*") if path.is_file())
    names = (str(path.relative_to(root)) for path in sources if "__pycache__" not in path.parts)
    return _hash(root, ["pyproject.toml", *names])


def recipe_hash(stage: str, root: Path = Path()) -> str:
    """Return the SHA-256 of everything that a stage's image is made from: definitions, pins, sources, builder.

    Parameters
    ----------
    stage
        Name of the stage.
    root
        The project's folder.
    """
    return _hash(root, ["containers/package.def"], software_hash(stage, root), package_hash(root))


def _hash(root: Path, names: Iterable[str], *parts: str) -> str:
    digest = hashlib.sha256(f"{BUILDER_VERSION} {platform.machine()} {' '.join(parts)}\n".encode())
    for name in sorted(names):
        content = hashlib.sha256((root / name).read_bytes()).hexdigest()
        digest.update(f"{content} {name}\n".encode())
    return digest.hexdigest()


# --- what is there ---


def record_file(stage: str, root: Path = Path()) -> Path:
    """Return the JSON beside an image that says what it is made from and what it holds."""
    return (root / container_image(stage)).with_suffix(".json")


def read_record(stage: str, root: Path = Path()) -> dict[str, Any]:
    """Return the record of a stage's image; empty where there is none that can be read."""
    try:
        record = read_json(record_file(stage, root))
    except (FileError, OSError):
        return {}
    return record if isinstance(record, dict) else {}


def image_state(stage: str, root: Path = Path()) -> str:
    """Return an image's state: ``missing``, ``damaged`` (no record, or another size), ``stale`` or ``current``."""
    image, record = root / container_image(stage), read_record(stage, root)
    if not image.is_file():
        return "missing"
    if record.get("bytes") != image.stat().st_size:
        return "damaged"
    return "current" if record.get("recipe") == recipe_hash(stage, root) else "stale"


# --- how jobs run in them ---


def lacks_rights() -> bool:
    """Return whether this is a root without the rights of one, as inside a container, which Apptainer must be told."""
    if os.geteuid() != 0:
        return False
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return not int(effective, 16) & _CAP_SYS_RESOURCE


def own_programs() -> Path:
    """Return the folder of the Apptainer that `make containers` installs where a machine has none."""
    return Path(os.environ.get("BRAGGWORKS_ENVS") or ".envs").absolute() / "apptainer" / "bin"


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which Apptainer is found, sees the project's data, and hands on the project's settings.

    Parameters
    ----------
    environment
        The one to begin with; it is not changed.
    """
    found = dict(environment)
    # A site's own Apptainer goes first.
    found["PATH"] = f"{found.get('PATH', os.defpath)}:{own_programs()}"
    if folders := bound_folders(environment):
        found["APPTAINER_BIND"] = ",".join(folders)
    # The containers start from a clean environment; one job plans the workflow, which reads these.
    found |= {f"APPTAINERENV_{name}": value for name, value in environment.items() if name.startswith("BRAGGWORKS_")}
    if lacks_rights():
        found["APPTAINER_NO_PRIVS"] = "1"
    return found


def bound_folders(environment: Mapping[str, str]) -> list[str]:
    """Return what is bound without a profile: the user's APPTAINER_BIND, the folder of scans, that of the images."""
    own = [Path(folder) for folder in (environment.get("BRAGGWORKS_TEST_DATA"), image_folder()) if folder]
    # With links as they are: jobs are given these names.
    folders = [str(folder.absolute()) for folder in own if folder.is_dir()]
    given = [bind for bind in environment.get("APPTAINER_BIND", "").split(",") if bind]
    return list(dict.fromkeys([*given, *folders]))
