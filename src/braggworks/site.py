"""What a site's users set for its cluster: `site.yaml` in the folder of a Slurm profile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from braggworks.config import Config
from braggworks.errors import ConfigError
from braggworks.mistakes import mistake_sentence
from braggworks.planning import TRAINING, training_rules
from braggworks.preflight.profiles import Profile

# What Slurm's names are made of; nothing that a shell or Snakemake would read as more than a word.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.,:@/+&|*!\[\]()-]{1,200}$")]
Folder = Annotated[str, StringConstraints(pattern=r"^/[^\s'\"{}:,$`\\]{0,500}$")]
Options = Annotated[str, StringConstraints(pattern=r"^--[A-Za-z0-9_.,:@/+=%* -]{1,500}$")]

# Options of Snakemake that take several values.
_SEVERAL = ("--default-resources", "--set-resources", "--set-threads")


class Site(BaseModel):
    """Settings of a site. An absent value leaves the choice to the cluster."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    software: Literal["env-modules", "apptainer"] = Field(
        "env-modules", description="Where stages find their software."
    )
    account: Name | None = Field(None, description="Account that is charged (sbatch --account).")
    partition: Name | None = Field(None, description="Partition of all jobs that need no GPU.")
    qos: Name | None = Field(None, description="Quality of service (--qos).")
    constraint: Name | None = Field(None, description="Features that nodes must have (--constraint).")
    extra: Options | None = Field(None, description="Further options of sbatch, such as --nodelist=n1.")
    gpu_partition: Name | None = Field(None, description="Partition of jobs that need a GPU.")
    gpu_model: Name | None = Field(None, description="Model of GPU, where a cluster wants it named (--gpus=MODEL:N).")
    gpus: int = Field(0, ge=0, le=64, description="GPUs for training; 0 trains on processor cores.")
    training_cores: int | None = Field(None, ge=1, le=1024, description="Cores for training, instead of the rule's.")
    modules: list[Name] = Field(default=[], max_length=50, description="Modules to load before each stage's own.")
    scratch: Folder | None = Field(None, description="Folder for temporary files on the nodes (TMPDIR).")
    folders: list[Folder] = Field(default=[], max_length=50, description="Folders that containers see, too.")
    max_jobs: int = Field(100, ge=1, le=100_000, description="Jobs that wait or run at a time.")
    latency_wait: int = Field(60, ge=0, le=3600, description="Seconds that a file may take to show on the shared disk.")


def read_site(folder: str | Path) -> Site | None:
    """Read a profile's `site.yaml`, where it has one.

    Raises
    ------
    ConfigError
        If it is no valid YAML, or holds unknown keys or values.
    """
    file = Path(folder) / "site.yaml"
    if not file.is_file():
        return None
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file} must hold settings and their values.")
    try:
        # A key without a value is a setting that is not made.
        return Site(**{str(key): value for key, value in values.items() if value is not None})
    except ValidationError as error:
        raise ConfigError(mistake_sentence(error, str(file), Site)) from None


def with_site(profile: Profile) -> Profile:
    """Return the profile with the site's choice of software."""
    site = read_site(profile.folder)
    if site is None:
        return profile
    for folder in site.folders:
        if not Path(folder).is_dir():
            raise ConfigError(
                f"{profile.folder / 'site.yaml'}: folders names {folder}, and there is no such folder: correct it, or "
                "leave it out."
            )
    values = {"software-deployment-method": site.software, "apptainer-args": container_arguments(site)}
    return Profile(profile.folder, {**profile.values, **values})


def container_arguments(site: Site, gpu: bool = False) -> str:
    """Return Apptainer's options: a clean environment, the site's folders, and the driver where jobs need a GPU."""
    return " ".join(["--cleanenv", *(["--nv"] if gpu else []), *(f"--bind {folder}" for folder in site.folders)])


def site_options(site: Site, config: Config) -> list[str]:
    """Return the options of Snakemake that a site's settings stand for."""
    defaults = {
        "slurm_account": site.account,
        "slurm_partition": site.partition,
        "qos": site.qos,
        "constraint": site.constraint,
        "slurm_extra": site.extra,
        "tmpdir": site.scratch,
    }
    values = [_text(key, value) for key, value in defaults.items() if value is not None]
    special: list[str] = []
    for rule in _rules_on_gpus(site, config):
        special.append(f"{rule}:gpu={site.gpus if rule in TRAINING else 1}")
        if site.gpu_partition:
            special.append(f"{rule}:{_text('slurm_partition', site.gpu_partition)}")
        if site.gpu_model:
            special.append(f"{rule}:{_text('gpu_model', site.gpu_model)}")
    options = ["--jobs", str(site.max_jobs), "--latency-wait", str(site.latency_wait)]
    options += ["--software-deployment-method", site.software]
    if site.software == "apptainer":
        # In one word, because it begins with a dash.
        options.append(f"--apptainer-args={container_arguments(site, gpu=bool(_rules_on_gpus(site, config)))}")
    if values:
        options += ["--default-resources", *values]
    if special:
        options += ["--set-resources", *special]
    if site.training_cores:
        options += ["--set-threads", *(f"{rule}={site.training_cores}" for rule in training_rules(config))]
    return options


def joined(options: Sequence[str]) -> list[str]:
    """Return options with the values of repeated ones together, because Snakemake heeds the last of a kind alone."""
    rest: list[str] = []
    values: dict[str, list[str]] = {}
    kind = ""
    for option in options:
        name, _, value = option.partition("=")
        if name in _SEVERAL:
            kind = name
            values.setdefault(kind, []).extend([value] if value else [])
        elif kind and not option.startswith("-"):
            values[kind].append(option)
        else:
            kind = ""
            rest.append(option)
    return rest + [word for name, found in values.items() for word in (name, *found)]


def site_environment(site: Site) -> dict[str, str]:
    """Return the variables that jobs inherit."""
    return {"BRAGGWORKS_MODULES": " ".join(site.modules)} if site.modules else {}


def _rules_on_gpus(site: Site, config: Config) -> list[str]:
    rules = training_rules(config) if site.gpus else []
    if any(getattr(campaign, "device", "cpu") == "cuda" for campaign in config.campaigns):
        rules.append("simulate_batch")
    return rules


def _text(key: str, value: str) -> str:
    # Quoted twice: Snakemake evaluates what it gets as an expression.
    return f"{key}={value!r}"
