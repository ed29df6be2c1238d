"""The only place where a file name is built; `{...}` in a template are Snakemake wildcards."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braggworks.campaigns import Task
    from braggworks.config import Config


@dataclass(frozen=True)
class Paths:
    """File names of one run.

    Parameters
    ----------
    results
        The run's folder, ``Config.results``.
    task
        What its networks learn.
    """

    results: str
    task: Task = "inpaint"

    # one file per batch -------------------------------------------------------------------------------------------

    def batch_file(self, stage: str, campaign: str = "{campaign}", batch: int | str = "{batch}") -> str:
        """HDF5 file of one stage (``crystals``, ``relaxed``, ``patterns-nufft``, ``patterns-pynx``, ``shards``)."""
        return f"{self.results}/campaigns/{campaign}/{stage}/{_batch(batch)}.h5"

    def shard_sidecar(self, campaign: str = "{campaign}", batch: int | str = "{batch}") -> str:
        """JSON that describes a shard."""
        return str(Path(self.batch_file("shards", campaign, batch)).with_suffix(".json"))

    def steps(self, campaign: str = "{campaign}") -> str:
        """HDF5 of the steps that lead to one pattern of a campaign, for the figure."""
        return f"{self.results}/campaigns/{campaign}/steps.h5"

    # one file per release -----------------------------------------------------------------------------------------

    def manifest(self, release: str = "{release}") -> str:
        """JSON that defines a release's dataset."""
        return f"{self.results}/releases/{release}/manifest.json"

    def weights(self, release: str = "{release}") -> str:
        """Trained weights."""
        return f"{self.results}/releases/{release}/{self.task}/weights.safetensors"

    def model_card(self, release: str = "{release}") -> str:
        """JSON that says how the weights were made."""
        return f"{self.results}/releases/{release}/{self.task}/card.json"

    def history(self, release: str = "{release}") -> str:
        """CSV of losses by epoch."""
        return f"{self.results}/releases/{release}/{self.task}/history.csv"

    def training_state(self, release: str = "{release}") -> str:
        """Folder of resumable training state; never a declared output, because Snakemake deletes those on retry."""
        return f"{self.results}/state/{release}/{self.task}"

    @property
    def scores_name(self) -> str:
        """Name of the file with a network's scores."""
        return "gap_width.nc" if self.task == "inpaint" else "phases.nc"

    def evaluation(self, release: str = "{release}") -> str:
        """NetCDF of the scores on held-out particles."""
        return f"{self.results}/releases/{release}/{self.task}/{self.scores_name}"

    def examples(self, release: str = "{release}") -> str:
        """HDF5 of a few held-out samples and what the network made of them, for the figure."""
        return f"{self.results}/releases/{release}/{self.task}/examples.h5"

    def gate(self, release: str = "{release}") -> str:
        """JSON that says by how much the network clears its bar."""
        return f"{self.results}/releases/{release}/{self.task}/gate.json"

    def sweep(self, name: str = "{sweep}") -> str:
        """NetCDF of one sweep of the trained network."""
        return f"{self.results}/sweeps/{name}.nc"

    def sweep_state(self, name: str = "{sweep}") -> str:
        """JSON of what is done of a long sweep; never a declared output, because Snakemake deletes those on retry."""
        return f"{self.results}/state/sweeps/{name}.json"

    # one folder per variant of a study --------------------------------------------------------------------------------

    @property
    def variant_names(self) -> tuple[str, str, str, str, str]:
        """Names of a variant's files: weights, history, card, scores and examples."""
        return "weights.safetensors", "history.csv", "card.json", self.scores_name, "examples.h5"

    def variant_file(self, name: str, study: str = "{study}", variant: str = "{variant}") -> str:
        """One of `variant_names`."""
        return f"{self.results}/studies/{study}/{variant}/{name}"

    def variant_state(self, study: str = "{study}", variant: str = "{variant}") -> str:
        """Folder of a variant's resumable training state."""
        return f"{self.results}/state/studies/{study}/{variant}"

    # one file per run ---------------------------------------------------------------------------------------------

    @property
    def engines(self) -> str:
        """JSON of the differences between the scattering engines."""
        return f"{self.results}/engines.json"

    @property
    def simulated_scan(self) -> str:
        """CXI of a simulated scan, used where no measured one is at hand."""
        return f"{self.results}/scan/simulated.cxi"

    @property
    def prepared_scan(self) -> str:
        """CXI of the corrected and cropped scan."""
        return f"{self.results}/scan/prepared.cxi"

    @property
    def inpainted_scan(self) -> str:
        """CXI of the scan with the synthetic gap filled."""
        return f"{self.results}/scan/inpainted.cxi"

    @property
    def scan_scores(self) -> str:
        """JSON of the scores against the measured counts."""
        return f"{self.results}/scan/scores.json"

    @property
    def phased_scan(self) -> str:
        """CXI of the object that the filled scan was phased to."""
        return f"{self.results}/scan/object.cxi"

    @property
    def rulegraph(self) -> str:
        """DOT file of the workflow's rules."""
        return f"{self.results}/rulegraph.dot"

    def figure(self, name: str = "{figure}") -> str:
        """One picture."""
        return f"{self.results}/figures/{name}.png"

    @property
    def isosurface(self) -> str:
        """JSON of one crystal's surface mesh and phase."""
        return f"{self.results}/figures/isosurface.json"

    @property
    def summary(self) -> str:
        """JSON of every record of the run."""
        return f"{self.results}/summary.json"

    @property
    def report(self) -> str:
        """The HTML report."""
        return f"{self.results}/report.html"

    # beside the results -------------------------------------------------------------------------------------------

    def log(self, rule: str, *wildcards: str) -> str:
        """Log of one job."""
        return f"{self.results}/logs/{'/'.join((rule, *wildcards))}.log"

    @property
    def run_lock(self) -> str:
        """Lock of the folder while a run is on."""
        return f"{self.results}/.run-lock"

    @property
    def workflow_log(self) -> str:
        """Everything that Snakemake said."""
        return f"{self.results}/logs/workflow.log"

    def benchmark(self, rule: str, *wildcards: str) -> str:
        """Wall time and memory of one job."""
        return f"{self.results}/benchmarks/{'/'.join((rule, *wildcards))}.tsv"

    @property
    def benchmarks(self) -> str:
        """Folder of all benchmark files, one folder or file per rule."""
        return f"{self.results}/benchmarks"


def run_paths(config: Config) -> Paths:
    """Return the file names of a run."""
    return Paths(config.results, config.task)


def _batch(batch: int | str) -> str:
    return f"batch-{batch:05d}" if isinstance(batch, int) else f"batch-{batch}"


SHIPPED_BENCHMARKS: dict[Task, str] = {
    "inpaint": "benchmarks/results/inpainting.json",
    "phase": "benchmarks/results/phasing.json",
}
"""Records of the networks that come with the package, as `python -m benchmarks` writes them."""


def environment_prefix(stage: str) -> Path:
    """Folder of a stage's uv environment, which exists once `make envs` has run."""
    return Path(".envs") / stage


def conda_file(stage: str) -> str:
    """Conda environment of a stage, relative to a rule file."""
    return f"../../envs/{stage}.yaml"


def image_folder() -> Path:
    """Folder of the Apptainer images, which `make containers` fills: the setting BRAGGWORKS_IMAGES, or `.images`."""
    return Path(os.environ.get("BRAGGWORKS_IMAGES") or ".images")


def container_image(stage: str) -> str:
    """Apptainer image of a stage."""
    return str(image_folder() / f"{stage}.sif")


def shipped_benchmarks(config: Config) -> dict[Task, str]:
    """Return the files of records that a report shows beside its own, by what those networks of the package learned."""
    tasks: list[Task] = [config.task] if config.training else []
    if config.scan and config.scan.phasing:
        tasks.append("phase")
    return {task: SHIPPED_BENCHMARKS[task] for task in tasks if Path(SHIPPED_BENCHMARKS[task]).exists()}
