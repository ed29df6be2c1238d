"""Whether the environments of the stages are there."""

from __future__ import annotations

from braggworks.errors import MissingToolError
from braggworks.paths import environment_prefix
from braggworks.preflight.profiles import Profile

STAGES = ("workflow", "particles", "relax", "scatter", "learn", "figures")


def check_environments(profile: Profile) -> None:
    """Raise `MissingToolError` where a job's environment, made by `make envs`, is missing."""
    # Where a site has modules of its own, `module load` tells.
    if "env-modules" not in profile.deployment or profile.executor != "local":
        return
    missing = [stage for stage in STAGES if not (environment_prefix(stage) / "bin" / "braggworks").exists()]
    if missing:
        raise MissingToolError(f"The environments {', '.join(missing)} are missing: run `make envs` first.")
