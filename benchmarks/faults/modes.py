"""How a run starts its jobs: on this machine, in containers, or through Slurm."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_SLURM_FOLDER = Path(tempfile.gettempdir()) / "braggworks-faults-cluster"
_SCRIPTS = Path("tests/slurm")


@dataclass(frozen=True)
class Mode:
    """A way to run jobs.

    Parameters
    ----------
    name
        ``local``, ``apptainer`` or ``slurm``.
    profile
        Snakemake profile.
    retries
        Whether the profile starts a failed job again by itself.
    """

    name: str
    profile: str
    retries: bool = False

    def start(self) -> None:
        """Start what the mode needs."""

    def stop(self) -> None:
        """Stop it."""


class SlurmMode(Mode):
    """A real Slurm of one node, which the scripts of the tests start."""

    def start(self) -> None:
        """Start it, or its controller if that was stopped, and let commands find it."""
        script = f'eval "$({_SCRIPTS}/up.sh {_SLURM_FOLDER})" && printf "%s\\n" "$SLURM_CONF" "$PATH"'
        # The script looks for srun on the PATH, where its own stands once it has run.
        own = str(_SLURM_FOLDER / "bin")
        path = ":".join(part for part in os.environ["PATH"].split(":") if part != own)
        settings = {**os.environ, "BRAGGWORKS_SLURM_CPUS": "4", "PATH": path}
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=settings)
        os.environ["SLURM_CONF"], os.environ["PATH"] = done.stdout.splitlines()[-2:]

    def stop(self) -> None:
        """Stop it."""
        subprocess.run([str(_SCRIPTS / "down.sh"), str(_SLURM_FOLDER)], capture_output=True, check=False)

    def stop_controller(self) -> None:
        """Stop the controller alone; jobs go on."""
        subprocess.run([str(_SCRIPTS / "down.sh"), "--controller", str(_SLURM_FOLDER)], capture_output=True, check=True)

    def jobs(self) -> list[str]:
        """Return the numbers of the jobs that run."""
        command = ["squeue", "--noheader", "--states=RUNNING", "--format=%i"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    def was_cancelled(self, job: str) -> bool:
        """Return whether Slurm remembers a job as cancelled."""
        command = ["scontrol", "show", "job", job]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return "JobState=CANCELLED" in done.stdout


MODES: dict[str, Mode] = {
    mode.name: mode
    for mode in (
        Mode("local", "workflow/profiles/local"),
        Mode("apptainer", "workflow/profiles/apptainer"),
        SlurmMode("slurm", "workflow/profiles/slurm", retries=True),
    )
}
