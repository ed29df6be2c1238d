"""What a Snakemake profile asks for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from braggworks.errors import ConfigError

# Versioned names are looked for by Snakemake, too.
_NAMES = ("config.v9+.yaml", "config.v8+.yaml", "config.yaml")


@dataclass(frozen=True)
class Profile:
    """A profile folder.

    Parameters
    ----------
    folder
        Where it lies.
    values
        Options of Snakemake by name, with dashes.
    """

    folder: Path
    values: dict[str, Any]

    @property
    def executor(self) -> str:
        """Where jobs run: local, slurm, kubernetes."""
        return str(self.values.get("executor", "local"))

    @property
    def deployment(self) -> list[str]:
        """How a job finds its stage's software: env-modules, apptainer, conda."""
        found = self.values.get("software-deployment-method", self.values.get("sdm", []))
        return [found] if isinstance(found, str) else list(found)


def read_profile(folder: str | Path) -> Profile:
    """Read a profile.

    Raises
    ------
    ConfigError
        If it is missing, or no mapping in YAML.
    """
    folder = Path(folder)
    files = [folder / name for name in _NAMES if (folder / name).is_file()]
    if not files:
        raise ConfigError(f"There is no profile {folder}: give a folder with a config.yaml, as in workflow/profiles.")
    try:
        values = yaml.safe_load(files[0].read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{files[0]} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{files[0]} must hold options of Snakemake and their values.")
    return Profile(folder, {str(key).replace("_", "-"): value for key, value in values.items()})
