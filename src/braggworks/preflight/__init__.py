"""What must be there before anything runs: each check raises one sentence with the next step."""

from __future__ import annotations

from pathlib import Path

from braggworks.config import Config
from braggworks.errors import UserError
from braggworks.preflight.containers import check_containers
from braggworks.preflight.data import check_scans, check_splits, empty_splits
from braggworks.preflight.disk import check_disk
from braggworks.preflight.environments import check_environments
from braggworks.preflight.gpu import check_gpu
from braggworks.preflight.profiles import Profile, read_profile
from braggworks.preflight.results import check_results
from braggworks.preflight.slurm import check_cluster, check_requests

__all__ = [
    "Profile",
    "check_before_plan",
    "check_before_run",
    "check_requests",
    "check_results",
    "empty_splits",
    "read_profile",
]


def check_before_plan(config: Config) -> None:
    """Raise `UserError` where the place or the configuration's data do not suffice, even for a dry run.

    Raises
    ------
    UserError
        Says what is missing, and the next step.
    """
    if not Path("Snakefile").is_file():
        raise UserError("There is no Snakefile here: change to the project's folder and run the command again.")
    check_scans(config)
    check_splits(config)


def check_before_run(config: Config, profile: Profile) -> None:
    """Raise `UserError` where the machine or the site lacks what the profile asks for.

    Raises
    ------
    UserError
        Says what is missing, and the next step.
    """
    check_environments(profile)
    check_gpu(config, profile)
    check_disk(config)
    check_containers(config, profile)
    check_cluster(profile)
