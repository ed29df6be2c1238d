"""How a run starts its jobs: on this machine, in containers, or through Slurm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.faults.project import Project


@dataclass(frozen=True)
class Mode:
    """A way to run jobs.

    Parameters
    ----------
    name
        ``local``, ``apptainer`` or ``slurm``.
    profile
        Snakemake profile.
    """

    name: str
    profile: str

    def start(self, project: Project) -> None:
        """Start what the mode needs."""

    def stop(self, project: Project) -> None:
        """Stop it."""


MODES = {mode.name: mode for mode in (Mode("local", "workflow/profiles/local"),)}
