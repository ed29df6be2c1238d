"""A project folder of its own, with a small campaign of every family, in which runs are disturbed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.faults.samples import Samples, samples_of
from braggworks.config import Config, load_config
from braggworks.paths import Paths
from braggworks.seeds import generator
from braggworks.targets import release_shards

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "faults.yaml"
RESULTS = "results"
SEED = 0
# Enough for the results many times over, and small enough to be filled quickly.
MEGABYTES = 96

_INPAINT: dict[str, Any] = {"task": "inpaint", "gaps": {"widths_px": [2, 3]}}
_PHASE: dict[str, Any] = {"task": "phase", "patches": {"size": 32, "per_pattern": 1}}
CAMPAIGNS: dict[str, dict[str, Any]] = {
    "fault-atoms": {
        "family": "atomistic",
        "count": 4,
        "batch_size": 2,
        "crystal": {"shapes": ["wulff", "random"], "atoms": [800, 1200]},
        "diffraction": {"grid": 32, "patterns_per_particle": 2},
        "patches": {"size": 16, "per_pattern": 4, "minimum_counts": 0},
        **_INPAINT,
    },
    "fault-cubes": {
        "family": "autophasenn",
        "count": 2,
        "batch_size": 2,
        "crystal": {"edge": 40.0, "facets": [4, 8]},
        "relaxation": {"strain": {"protocol": "stopped", "steps": [5, 10]}},
        "diffraction": {"bin_size": 4.0, "object_grid": 16, "grid": 32, "patterns_per_particle": 2},
        **_PHASE,
    },
    "fault-polygons": {
        "family": "polygon2d",
        "count": 6,
        "batch_size": 3,
        "sampling": {"grid": 32, "patterns_per_particle": 2},
        **_PHASE,
    },
    "fault-shapes": {"family": "shape3d", "count": 6, "batch_size": 3, "sampling": {"grid": 32}, **_PHASE},
    "fault-scan": {
        "family": "scan",
        "count": 1,
        "batch_size": 1,
        "scans": ["scan.npy"],
        "patches": {"size": 16, "per_pattern": 16, "minimum_counts": 0, "outward_bias": 0},
        **_INPAINT,
    },
}


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    text: str

    @property
    def sentence(self) -> str:
        """The last line with the program's own name, or else the last one: where the command failed, why."""
        lines = [line for line in self.text.splitlines() if line.strip()]
        return ([line for line in lines if line.startswith("braggworks ")] or lines or [""])[-1]


class Project:
    """Folder in which `braggworks run` makes the small campaigns.

    Parameters
    ----------
    folder
        Where it lies, or shall lie.
    profile
        Snakemake profile, relative to the project.
    names
        Which of `CAMPAIGNS`.
    """

    def __init__(self, folder: Path, profile: str, names: tuple[str, ...] = tuple(CAMPAIGNS)) -> None:
        self.folder, self.profile, self.names = folder.resolve(), profile, names
        self.results = self.folder / RESULTS

    def make(self) -> None:
        """Write everything that a run reads, where it is not there yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("workflow", "envs"):
            shutil.copytree(ROOT / name, self.folder / name, dirs_exist_ok=True)
        shutil.copy(ROOT / "Snakefile", self.folder)
        # What jobs find their software in; the state of an image is told from the sources that it was made from.
        for name in (".envs", ".images", "containers", "src", "pyproject.toml"):
            if (ROOT / name).exists() and not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to((ROOT / name).resolve())
        (self.folder / "campaigns").mkdir(exist_ok=True)
        for name in self.names:
            values = dict(CAMPAIGNS[name])
            if "scans" in values:
                values["scans"] = [str(self._scan(file)) for file in values["scans"]]
            (self.folder / "campaigns" / f"{name}.yaml").write_text(yaml.safe_dump({"seed": SEED, **values}))
        releases = [{"name": name, "campaigns": [name]} for name in self.names]
        run = {"results": RESULTS, "campaigns": list(self.names), "releases": releases}
        (self.folder / CONFIG).write_text(yaml.safe_dump({**run, "splits": {"validation": 0.0, "test": 0.0}}))

    def _scan(self, file: str) -> Path:
        """Write a measured scan: a broad peak, as a detector counts it."""
        path = self.folder / file
        if not path.exists():
            distance = sum((axis - 20.0) ** 2 for axis in np.indices((40, 40, 40)))
            expected = 2e3 * np.exp(-distance / 60) + 0.2
            np.save(path, generator("fault-scan", SEED).poisson(expected).astype(np.uint32))
        return path

    @property
    def config(self) -> Config:
        """The configuration that runs."""
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            return load_config(CONFIG)
        finally:
            os.chdir(before)

    # --- commands -----------------------------------------------------------------------------------------------------

    def command(self, *options: str) -> list[str]:
        """Return the command of a run."""
        program = str(self.folder / ".envs/workflow/bin/braggworks")
        return [program, "run", CONFIG, "--cores", "2", "--datasets", "--profile", self.profile, *options]

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start a run in a session of its own; what it says goes into a file beside the project's results."""
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # Begun in the background of a script, this process would hand on that it ignores Ctrl-C.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with (self.folder / "said.txt").open("w") as said:
            return subprocess.Popen(
                self.command(*options), cwd=self.folder, stdout=said, stderr=said, text=True, start_new_session=True
            )

    def said(self, process: subprocess.Popen[str]) -> Said:
        """Wait for a run that `start` started."""
        code = process.wait(900)
        return Said(code, (self.folder / "said.txt").read_text(errors="replace"))

    def run(self, *options: str) -> Said:
        """Give the command of a run, and wait for its end."""
        return self.said(self.start(*options))

    def verb(self, stage: str, *arguments: str) -> Said:
        """Give another command of the project."""
        program = str(self.folder / ".envs" / stage / "bin" / "braggworks")
        done = subprocess.run([program, *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        return Said(done.returncode, done.stdout + done.stderr)

    # --- files --------------------------------------------------------------------------------------------------------

    @property
    def shards(self) -> list[str]:
        """The shards that a run makes, relative to the project."""
        config = self.config
        return [shard for name in self.names for shard in release_shards(config, name)]

    def files(self, campaign: str = "*") -> list[Path]:
        """Return what is there under a final name: files of every stage, sidecars and manifests."""
        found = [*self.results.glob(f"campaigns/{campaign}/*/*"), *self.results.glob(f"releases/{campaign}/*")]
        return sorted(path for path in found if path.is_file() and not path.name.endswith(".part"))

    def remove(self, campaign: str) -> None:
        """Remove everything that was made of a campaign and of its release."""
        for folder in (self.results / "campaigns" / campaign, self.results / "releases" / campaign):
            shutil.rmtree(folder, ignore_errors=True)

    def manifest(self, campaign: str) -> Path:
        """Return the manifest of a campaign's release."""
        return self.folder / Paths(RESULTS).manifest(campaign)

    def samples(self) -> Samples:
        """Return every sample that is in the shards now."""
        return samples_of(sorted(self.results.glob("campaigns/*/shards/*.h5")))

    def write_state(self, name: str, value: Any) -> None:
        """Keep progress, so that a benchmark that was stopped goes on."""
        path = self.folder / name
        part = path.with_suffix(".part")
        part.write_text(json.dumps(value, indent=1))
        part.replace(path)

    def read_state(self, name: str) -> Any:
        """Return what `write_state` kept, or None."""
        path = self.folder / name
        return json.loads(path.read_text()) if path.exists() else None
