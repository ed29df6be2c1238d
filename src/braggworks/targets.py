"""The only place where a list of the workflow's files is built."""

from __future__ import annotations

from pathlib import Path

from braggworks.config import Config, data_folder
from braggworks.datasets.splits import split_of
from braggworks.paths import Paths, environment_prefix

FIGURES = ("crystal", "diffraction", "patch", "gap-width", "training", "scan", "rulegraph")


def default_targets(config: Config) -> list[str]:
    """Return what a run makes."""
    paths = Paths(config.results)
    return [paths.report, paths.summary]


def release_sidecars(config: Config, release: str) -> list[str]:
    """Return the shard sidecars of a release, in the order of its campaigns and batches."""
    paths = Paths(config.results)
    return [
        paths.shard_sidecar(name, batch)
        for name in config.release(release).campaigns
        for batch in range(config.campaign(name).batches)
    ]


def release_shards(config: Config, release: str) -> list[str]:
    """Return the shards of a release, in the order of `release_sidecars`."""
    return [str(Path(sidecar).with_suffix(".h5")) for sidecar in release_sidecars(config, release)]


def warm_start(config: Config, release: str) -> list[str]:
    """Return the weights that a release's training starts from: none, or those of one release."""
    parent = config.release(release).warm_start
    return [Paths(config.results).weights(parent)] if parent else []


def compares_engines(config: Config) -> bool:
    """Return whether the run computes one batch with PyNX too."""
    if config.comparison.when == "auto":
        return (environment_prefix("pynx") / "bin" / "braggworks").exists()
    return config.comparison.when == "always"


def first_targets(config: Config) -> list[str]:
    """Return what is best made first: PyNX's batch, the longest job on one thread, so that small ones run beside it."""
    comparison = config.comparison
    patterns = Paths(config.results).batch_file("patterns-pynx", comparison.campaign, comparison.batch)
    return [patterns] if compares_engines(config) else []


def measured_scan(config: Config) -> str | None:
    """Return the measured scan's path, or None where it is absent and a simulated one stands in."""
    path = Path(config.scan.file)
    folder = data_folder()
    if not path.is_absolute():
        path = folder / path if folder else path
    return str(path) if path.is_absolute() and path.is_file() else None


def simulated_particle(config: Config) -> tuple[int, int]:
    """Return batch and index of the particle whose pattern stands in for a scan: one that training never sees."""
    campaign = config.campaign(config.scan.simulated)
    held_out = (i for i in range(campaign.count) if split_of(campaign.name, i, config.splits) == "test")
    index = next(held_out, 0)
    return index // campaign.batch_size, index


def scan_source(config: Config) -> str:
    """Return the scan that is inpainted: the measured one where it exists, else the simulated one."""
    return measured_scan(config) or Paths(config.results).simulated_scan


def figure_names(config: Config) -> list[str]:
    """Return the pictures of a run's report."""
    return [*FIGURES, *(["engines"] if compares_engines(config) else [])]


def figure_inputs(config: Config, figure: str) -> list[str]:
    """Return the files that a picture is drawn from, in the order that its function takes."""
    paths = Paths(config.results)
    release, comparison = config.training.release, config.comparison
    first = [(name, 0) for name in config.release(release).campaigns]
    patterns = paths.batch_file("patterns-nufft", comparison.campaign, comparison.batch)
    inputs = {
        "crystal": [paths.batch_file("relaxed", *batch) for batch in first],
        "diffraction": [patterns],
        "isosurface": [patterns],
        "patch": [paths.examples(release)],
        "gap-width": [paths.evaluation(release)],
        "training": [paths.history(release)],
        "scan": [paths.inpainted_scan, paths.scan_scores],
        "rulegraph": [paths.rulegraph],
        "engines": [
            patterns,
            paths.batch_file("patterns-pynx", comparison.campaign, comparison.batch),
            paths.engines,
        ],
    }
    return inputs[figure]


def report_inputs(config: Config) -> dict[str, str | list[str]]:
    """Return the report's inputs by name."""
    paths = Paths(config.results)
    release = config.training.release
    inputs: dict[str, str | list[str]] = {
        "figures": [paths.figure(name) for name in figure_names(config)],
        "isosurface": paths.isosurface,
        "manifest": paths.manifest(release),
        "card": paths.model_card(release),
        "evaluation": paths.evaluation(release),
        "gate": paths.gate(release),
        "scores": paths.scan_scores,
    }
    if compares_engines(config):
        inputs["engines"] = paths.engines
    return inputs
