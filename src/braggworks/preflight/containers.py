"""Whether jobs can run in containers: Apptainer, current images, bound folders, and a GPU where one is asked for."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from braggworks.campaigns import AtomisticCampaign, ScanCampaign
from braggworks.config import Config
from braggworks.errors import MissingToolError, UserError
from braggworks.images import bound_folders, image_state, settings
from braggworks.paths import container_image
from braggworks.preflight.environments import STAGES
from braggworks.preflight.profiles import Profile
from braggworks.targets import compares_engines, find_scan, measured_scan

_STATES = {
    "missing": "are missing",
    "damaged": "are not whole or have lost their record",
    "stale": "are of another recipe than this folder's",
}
_CONTAINED = {"-c", "-C", "--contain", "--containall"}


def check_containers(config: Config, profile: Profile) -> None:
    """Raise `UserError` where a profile runs jobs in containers and something that they need is not there.

    Raises
    ------
    UserError
        Says what is missing, and the next step.
    """
    if "apptainer" not in profile.deployment:
        return
    _check_images(config)
    arguments = shlex.split(str(profile.values.get("apptainer-args", profile.values.get("singularity-args", ""))))
    _check_binds(config, profile, arguments)
    environment = settings(os.environ)
    program = next((name for name in ("apptainer", "singularity") if shutil.which(name, path=environment["PATH"])), "")
    if not program:
        raise MissingToolError(
            "Apptainer is not on the PATH: run `make containers`, which installs it on Debian, or load your site's "
            "module."
        )
    # A login node may have neither a GPU nor leave to start containers; its jobs run elsewhere.
    if profile.executor == "local":
        _check_gpu(profile, arguments)
        _check_start([program, "exec", *arguments, container_image("workflow"), "true"], environment)


def _check_images(config: Config) -> None:
    by_name = any(isinstance(c, AtomisticCampaign) and c.diffraction.engine == "pynx" for c in config.campaigns)
    asked = by_name or compares_engines(config)
    stages = [*STAGES, "pynx"] if asked else list(STAGES)
    states = {stage: image_state(stage) for stage in stages}
    for state, told in _STATES.items():
        if found := [container_image(stage) for stage, is_state in states.items() if is_state == state]:
            raise MissingToolError(f"The images {', '.join(found)} {told}: run `make containers`.")


def _check_binds(config: Config, profile: Profile, arguments: list[str]) -> None:
    visible = [Path.cwd().resolve(), *map(Path, _bound(arguments, bound_folders(os.environ)))]
    if not _CONTAINED & set(arguments):
        visible += [Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    for what, path in _needed(config):
        # A link must be seen, and what it leads to.
        for place in dict.fromkeys((path.absolute(), path.resolve())):
            if not any(place.is_relative_to(folder) for folder in visible):
                folder = place if place.is_dir() else place.parent
                site = profile.folder / "site.yaml"
                step = f"`--bind {folder}` to apptainer-args in {profile.folder / 'config.yaml'}"
                step = f"{folder} to folders in {site}" if site.exists() else step
                raise UserError(
                    f"The containers do not see {folder}, which holds {what}: add {step}, or set "
                    f"APPTAINER_BIND={folder}."
                )


def _needed(config: Config) -> Iterator[tuple[str, Path]]:
    """Yield what jobs read and write outside the project, in words and as a path."""
    yield "the results", Path(config.results)
    campaigns = [campaign for campaign in config.campaigns if isinstance(campaign, ScanCampaign)]
    found = [measured_scan(config), *(find_scan(file) for campaign in campaigns for file in campaign.scans)]
    for scan in found:
        if scan:
            yield f"the scan {Path(scan).name}", Path(scan)


def _bound(arguments: list[str], folders: list[str]) -> Iterator[str]:
    """Yield the folders that containers see under the host's own names."""
    given = list(folders)
    for number, word in enumerate(arguments):
        if word in {"--bind", "-B"}:
            given += arguments[number + 1 : number + 2]
        elif word.startswith("--bind="):
            given.append(word.removeprefix("--bind="))
    for bind in (part for text in given for part in text.split(",")):
        source, _, target = bind.partition(":")
        target = target.partition(":")[0] or source
        if source == target:
            yield source


def _check_gpu(profile: Profile, arguments: list[str]) -> None:
    for option, device in (("--nv", "/dev/nvidiactl"), ("--rocm", "/dev/kfd")):
        if option in arguments and not Path(device).exists():
            raise MissingToolError(
                f"The profile {profile.folder} gives the containers a GPU ({option}), and this machine has none "
                f"({device} is absent): use workflow/profiles/apptainer, or run on a machine with a GPU."
            )


def _check_start(command: list[str], environment: dict[str, str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if result.returncode:
        said = [line.strip() for line in result.stderr.splitlines() if line.strip()] or ["it said nothing"]
        reason = next((line.removeprefix("FATAL:").strip() for line in said if line.startswith("FATAL")), said[-1])
        raise MissingToolError(
            f"Apptainer cannot start a container here ({reason}): mend apptainer-args in the profile, or ask the "
            "machine's administrator whether Apptainer may be used."
        )
