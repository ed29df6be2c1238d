"""Where faults are injected: a project in one mode, what an undisturbed run made there, and the judgement."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.faults.modes import Mode
from benchmarks.faults.processes import kill, processes_in
from benchmarks.faults.project import CAMPAIGNS, MEGABYTES, Project
from benchmarks.faults.samples import Samples, fingerprint, wrong_samples

_REFERENCE = "reference.json"


@dataclass
class Reference:
    """What an undisturbed run makes.

    Parameters
    ----------
    files
        Hash of every file of every stage, by its path in the results.
    jobs
        How many jobs each campaign alone takes.
    """

    files: dict[str, str]
    jobs: dict[str, int]


class Site:
    """A project whose results can be disturbed.

    Parameters
    ----------
    mode
        How jobs run.
    folder
        Folder of the project; kept, so that a benchmark that was stopped goes on.
    names
        Campaigns.
    """

    reference: Reference
    samples: Samples

    def __init__(self, mode: Mode, folder: Path, names: tuple[str, ...] = tuple(CAMPAIGNS)) -> None:
        self.mode, self.project = mode, Project(folder, mode.profile, names)
        self.store = self.project.folder / "store"
        self.mounted = False

    # --- the results as a file system of their own --------------------------------------------------------------------

    def mount(self) -> bool:
        """Put the results on a small file system of their own; return whether this machine lets us."""
        self.project.results.mkdir(parents=True, exist_ok=True)
        self.store.mkdir(exist_ok=True)
        if not self.store.is_mount():
            size = f"size={MEGABYTES}m"
            if _quiet("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self.store)):
                return False
        self.attach()
        self.mounted = True
        return True

    def attach(self) -> None:
        """Make the store visible as the results' folder."""
        self.detach()
        _must("mount", "--bind", str(self.store), str(self.project.results))

    def detach(self) -> None:
        """Take away everything that is mounted on the results' folder, even while it is in use."""
        while self.project.results.is_mount():
            _must("umount", "-l", str(self.project.results))

    def unmount(self) -> None:
        """Take away both; the results are gone."""
        self.detach()
        if self.store.is_mount():
            _must("umount", "-l", str(self.store))
        self.mounted = False

    # --- the undisturbed run ------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the undisturbed results, or take those that are there."""
        self.project.make()
        kept = self.project.read_state(_REFERENCE)
        if kept:
            self.reference = Reference(**kept)
            if self.differing():  # stopped in the middle of an injection
                self.reset()
            if self.differing():
                raise RuntimeError(f"{self.project.folder} was made by other software: delete it")
        else:
            self.reset()
            files, jobs = self.hashes(), {}
            for name in self.project.names:
                self.project.remove(name)
                self._finish()
                text = (self.project.folder / "said.txt").read_text()
                jobs[name] = int(re.search(r"^(\d+) jobs are to be done", text, re.MULTILINE)[1])  # type: ignore[index]
                if self.hashes() != files:
                    changed = [file for file, value in self.hashes().items() if files.get(file) != value]
                    raise RuntimeError(f"an undisturbed run of {name} does not give the same bytes twice: {changed}")
            self.reference = Reference(files, jobs)
            self.project.write_state(_REFERENCE, asdict(self.reference))
        self.samples = self.project.samples()

    def reset(self) -> None:
        """Make all results anew, undisturbed."""
        for path in self.project.results.iterdir() if self.project.results.exists() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(self.project.folder / ".snakemake", ignore_errors=True)
        self._finish()

    def restore(self) -> None:
        """Make everything sound again after a fault or a recovery that broke off."""
        kill(processes_in(self.project.folder))
        if self.mounted:
            self.attach()
            (self.store / "ballast").unlink(missing_ok=True)
        self.reset()

    def _finish(self) -> None:
        said = self.project.run()
        if said.code:
            raise RuntimeError(f"an undisturbed run ended with {said.code}: {said.text}")

    # --- judgement ----------------------------------------------------------------------------------------------------

    def hashes(self) -> dict[str, str]:
        """Return a hash of every file that is there under a final name."""
        return {str(path.relative_to(self.project.results)): fingerprint(path) for path in self.project.files()}

    def torn(self, damaged: tuple[Path, ...]) -> list[str]:
        """Return files under a final name that the undisturbed run did not write like this."""
        on_purpose = {str(path.relative_to(self.project.results)) for path in damaged}
        found = self.hashes().items()
        return [name for name, value in found if name not in on_purpose and self.reference.files.get(name) != value]

    def differing(self) -> list[str]:
        """Return files that are missing, changed, or should not be there."""
        found, wanted = self.hashes(), self.reference.files
        return sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))

    def wrong(self) -> dict[str, int]:
        """Return how many samples are lost, doubled, changed or foreign."""
        return wrong_samples(self.samples, self.project.samples())

    def __enter__(self) -> Site:
        self.project.folder.mkdir(parents=True, exist_ok=True)
        self.mount()
        self.mode.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.mode.stop()
        with contextlib.suppress(OSError):
            (self.project.folder / "said.txt").unlink()


def _quiet(*command: str) -> int:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode
    except FileNotFoundError:
        return 1


def _must(*command: str) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)
