"""The only place where a list of the workflow's files is built."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from braggworks.campaigns import AtomisticCampaign, Campaign, ScanCampaign
from braggworks.config import (
    Config,
    ConsistencySweep,
    MaskingSweep,
    OversamplingSweep,
    PhaseSweep,
    PositionSweep,
    SkippedSweep,
    StrainSweep,
    data_folder,
)
from braggworks.datasets.splits import split_of
from braggworks.errors import ConfigError
from braggworks.paths import container_image, environment_prefix, run_paths, shipped_benchmarks

ATOMS = ("atomistic", "autophasenn")
# Batches of a campaign from which its distributions are drawn.
_SHOWN_BATCHES = 20
# Figures that are drawn from what a network or a scan gave.
_OF_RESULTS = {
    "patch",
    "gap-width",
    "intensity",
    "phases",
    "phase-range",
    "training",
    "scan",
    "baselines",
    "object",
}


def default_targets(config: Config) -> list[str]:
    """Return what a run makes, but for files of atoms and patterns.

    Each file is named, or Snakemake would not miss one that a stopped job left out where all that is made of it exists.
    """
    paths = run_paths(config)
    names = figure_names(config)
    shown = [file for name in names if name.startswith("gallery-") for file in figure_inputs(config, name)]
    steps = [paths.steps(campaign.name) for campaign in campaigns_of(config, "polygon2d")]
    return [
        *dict.fromkeys([*dataset_targets(config), *shown]),
        *steps,
        *_network_targets(config),
        *_scan_targets(config),
        *([paths.engines] if compares_engines(config) else []),
        paths.rulegraph,
        *map(paths.figure, names),
        *([paths.isosurface] if draws_isosurface(config) else []),
        paths.report,
        paths.summary,
    ]


def _network_targets(config: Config) -> Iterator[str]:
    if config.training is None:
        return
    paths, judged = run_paths(config), config.training.release
    yield from (paths.evaluation(judged), paths.examples(judged), paths.gate(judged))
    trained: str | None = judged
    while trained:
        yield from (paths.weights(trained), paths.history(trained), paths.model_card(trained))
        trained = config.release(trained).warm_start
    for study in config.studies:
        for variant in study.variants:
            yield from (paths.variant_file(name, study.name, variant) for name in paths.variant_names)
    yield from (paths.sweep(sweep.name) for sweep in config.sweeps)


def _scan_targets(config: Config) -> Iterator[str]:
    if config.scan is None:
        return
    paths = run_paths(config)
    yield from (paths.prepared_scan, paths.inpainted_scan, paths.scan_scores)
    if config.scan.phasing:
        yield paths.phased_scan


def dataset_targets(config: Config) -> list[str]:
    """Return the datasets of a run."""
    paths = run_paths(config)
    listed = (release_shards, release_sidecars)
    files = [file for release in config.releases for of in listed for file in of(config, release.name)]
    return list(dict.fromkeys([*files, *(paths.manifest(release.name) for release in config.releases)]))


def campaigns_of(config: Config, *families: str) -> list[Campaign]:
    """Return the campaigns of some families, in their order."""
    return [campaign for campaign in config.campaigns if campaign.family in families]


def release_batches(config: Config, release: str) -> dict[str, int]:
    """Return the number of batches of each campaign of a release, in its order."""
    return {name: config.campaign(name).batches for name in config.release(release).campaigns}


def release_sidecars(config: Config, release: str) -> list[str]:
    """Return the shard sidecars of a release, in the order of its campaigns and batches."""
    paths = run_paths(config)
    return [
        paths.shard_sidecar(name, batch)
        for name, count in release_batches(config, release).items()
        for batch in range(count)
    ]


def release_shards(config: Config, release: str) -> list[str]:
    """Return the shards of a release, in the order of `release_sidecars`."""
    return [str(Path(sidecar).with_suffix(".h5")) for sidecar in release_sidecars(config, release)]


def warm_start(config: Config, release: str) -> list[str]:
    """Return the weights that a release's training starts from: none, or those of one release."""
    parent = config.release(release).warm_start
    return [run_paths(config).weights(parent)] if parent else []


def patterns_file(config: Config, campaign: str, batch: int) -> str:
    """Return the patterns that a batch's shard is cut from: by the campaign's engine, or gridded."""
    found = config.campaign(campaign)
    engine = found.diffraction.engine if isinstance(found, AtomisticCampaign) else "gridded"
    return run_paths(config).batch_file(f"patterns-{engine}", campaign, batch)


# --- PyNX beside the NUFFT ---


def compares_engines(config: Config) -> bool:
    """Return whether the run computes one batch with PyNX too."""
    if config.comparison is None:
        return False
    if config.comparison.when == "auto":
        return has_pynx()
    return config.comparison.when == "always"


def has_pynx() -> bool:
    """Return whether jobs of this run find PyNX."""
    # `braggworks run` says where a profile's jobs find their software; jobs inside a container are told, too.
    if "apptainer" in os.environ.get("BRAGGWORKS_DEPLOYMENT", "").split(","):
        return Path(container_image("pynx")).exists()
    return (environment_prefix("pynx") / "bin" / "braggworks").exists()


def compared_patterns(config: Config, engine: str) -> str:
    """Return the patterns of the batch that both engines compute. The configuration must hold a comparison."""
    assert config.comparison is not None  # noqa: S101
    paths = run_paths(config)
    return paths.batch_file(f"patterns-{engine}", config.comparison.campaign, config.comparison.batch)


def first_targets(config: Config) -> list[str]:
    """Return what is best made first: PyNX's batch, the longest job on one thread, so that small ones run beside it."""
    return [compared_patterns(config, "pynx")] if compares_engines(config) else []


# --- scans ---


def find_scan(file: str) -> str | None:
    """Return the path of a measured scan, absolute or in the folder BRAGGWORKS_TEST_DATA; None where it is absent."""
    path = Path(file)
    folder = data_folder()
    if not path.is_absolute():
        path = folder / path if folder else path
    return str(path) if path.is_absolute() and path.is_file() else None


def measured_scan(config: Config) -> str | None:
    """Return the scan that is inpainted, or None where it is absent and a simulated one stands in."""
    return find_scan(config.scan.file) if config.scan else None


def missing_scans(config: Config) -> list[str]:
    """Return the scans that campaigns are cut from and that are absent."""
    files = [file for campaign in config.campaigns if isinstance(campaign, ScanCampaign) for file in campaign.scans]
    return [file for file in files if find_scan(file) is None]


def batch_scans(campaign: Campaign, batch: int) -> list[str]:
    """Return the scans of one batch of a campaign of the family scan.

    Raises
    ------
    ConfigError
        If one is absent.
    """
    assert isinstance(campaign, ScanCampaign)  # noqa: S101
    files = campaign.scans[batch * campaign.batch_size : (batch + 1) * campaign.batch_size]
    found = [(file, find_scan(file)) for file in files]
    for file, path in found:
        if path is None:
            raise ConfigError(
                f"The scan {file} of campaign {campaign.name!r} is absent: set BRAGGWORKS_TEST_DATA to its folder, "
                "write its absolute path, or leave the campaign out."
            )
    return [path for _, path in found if path]


def simulated_particle(config: Config) -> tuple[int, int]:
    """Return batch and index of the particle whose pattern stands in for a scan: one that training never sees."""
    assert config.scan is not None  # noqa: S101
    campaign = config.campaign(config.scan.simulated)
    assert config.training is not None  # noqa: S101
    held_out = config.release(config.training.release).held_out
    unseen = (i for i in range(campaign.count) if split_of(campaign.name, i, config.splits, held_out) == "test")
    index = next(unseen, 0)
    return index // campaign.batch_size, index


def scan_source(config: Config) -> str:
    """Return the scan that is inpainted: the measured one where it exists, else the simulated one."""
    return measured_scan(config) or run_paths(config).simulated_scan


# --- figures and report ---


def figure_names(config: Config) -> list[str]:
    """Return the pictures of a run's report, in its order."""
    families = {campaign.family for campaign in config.campaigns}
    inpaints = any(c.family == "atomistic" and c.task == "inpaint" for c in config.campaigns)
    fills_gaps = config.training is not None and config.task == "inpaint"
    wanted = {
        "rulegraph": True,
        "crystal": bool(families & set(ATOMS)),
        "displacement": bool(families & set(ATOMS)),
        "diffraction": "atomistic" in families,
        "steps": "polygon2d" in families,
        "patches": inpaints,
        "distributions": True,
        **{f"gallery-{campaign.name}": True for campaign in config.campaigns},
        "training": config.training is not None,
        "patch": fills_gaps,
        "gap-width": fills_gaps,
        "intensity": fills_gaps,
        "phases": config.training is not None and config.task == "phase",
        "phase-range": config.training is not None and config.task == "phase",
        **{f"sweep-{sweep.name}": True for sweep in config.sweeps},
        **{f"{study_figure(config)}-{study.name}": True for study in config.studies},
        "engines": compares_engines(config),
        "scan": config.scan is not None,
        "baselines": config.scan is not None,
        "object": config.scan is not None and config.scan.phasing is not None,
    }
    return [name for name, is_wanted in wanted.items() if is_wanted]


def draws_isosurface(config: Config) -> bool:
    """Return whether the report shows a crystal's surface."""
    return bool(campaigns_of(config, "atomistic"))


def figure_inputs(config: Config, figure: str) -> list[str]:
    """Return the files that a picture is drawn from, in the order that its function takes."""
    if figure.startswith("gallery-"):
        return [run_paths(config).batch_file("shards", figure.removeprefix("gallery-"), 0)]
    if figure.startswith("phase-study-"):
        return study_files(config, figure.removeprefix("phase-study-"))
    if figure.startswith("study-"):
        return study_evaluations(config, figure.removeprefix("study-"))
    if figure.startswith("sweep-"):
        return [run_paths(config).sweep(figure.removeprefix("sweep-"))]
    if figure in _OF_RESULTS:
        return _result_inputs(config, figure)
    return _dataset_inputs(config, figure)


def study_figure(config: Config) -> str:
    """Return the kind of figure that shows a study."""
    return "study" if config.task == "inpaint" else "phase-study"


def study_files(config: Config, study: str) -> list[str]:
    """Return the scores and the examples of a study's variants, in their order."""
    evaluations = study_evaluations(config, study)
    return [file for path in evaluations for file in (path, str(Path(path).with_name("examples.h5")))]


def study_evaluations(config: Config, study: str) -> list[str]:
    """Return the scores of a study's variants, in their order."""
    variants = next(each for each in config.studies if each.name == study).variants
    return [run_paths(config).variant_file(run_paths(config).scores_name, study, variant) for variant in variants]


def sweep_inputs(config: Config, name: str) -> list[str]:
    """Return the file that a sweep scores the network on: a manifest, patterns, or a scan."""
    sweep, paths = config.sweep(name), run_paths(config)
    match sweep:
        case OversamplingSweep() | StrainSweep() | ConsistencySweep() | MaskingSweep():
            return [patterns_file(config, sweep.campaign, 0)]
        case PhaseSweep():
            return [paths.batch_file("shards", sweep.campaign, 0)]
        case SkippedSweep():
            return [paths.prepared_scan]
        case PositionSweep():
            assert config.training is not None  # noqa: S101
            return [paths.manifest(config.training.release)]


def _result_inputs(config: Config, figure: str) -> list[str]:
    assert config.training is not None  # noqa: S101
    paths, release = run_paths(config), config.training.release
    return {
        "patch": [paths.examples(release)],
        "gap-width": [paths.evaluation(release)],
        "intensity": [paths.evaluation(release)],
        "phases": [paths.examples(release)],
        "phase-range": [paths.evaluation(release)],
        "training": [paths.history(release)],
        "scan": [paths.inpainted_scan, paths.scan_scores],
        "baselines": [paths.inpainted_scan],
        "object": [paths.phased_scan],
    }[figure]


def _dataset_inputs(config: Config, figure: str) -> list[str]:
    paths = run_paths(config)
    inputs: dict[str, Callable[[], list[str]]] = {
        "rulegraph": lambda: [paths.rulegraph],
        "crystal": lambda: _relaxed(config),
        "displacement": lambda: _relaxed(config),
        "diffraction": lambda: [_shown_patterns(config)],
        "isosurface": lambda: [_shown_patterns(config)],
        "patches": lambda: _patches_inputs(config),
        "steps": lambda: [paths.steps(campaigns_of(config, "polygon2d")[0].name)],
        "distributions": lambda: _shown_shards(config),
        "engines": lambda: [*(compared_patterns(config, engine) for engine in ("nufft", "pynx")), paths.engines],
    }
    return inputs[figure]()


def _relaxed(config: Config) -> list[str]:
    return [run_paths(config).batch_file("relaxed", c.name, 0) for c in campaigns_of(config, *ATOMS)]


def _shown_shards(config: Config) -> list[str]:
    return [
        run_paths(config).batch_file("shards", campaign.name, batch)
        for campaign in config.campaigns
        for batch in range(min(campaign.batches, _SHOWN_BATCHES))
    ]


def _shown_patterns(config: Config) -> str:
    if config.comparison:
        return compared_patterns(config, "nufft")
    return patterns_file(config, campaigns_of(config, "atomistic")[0].name, 0)


def _patches_inputs(config: Config) -> list[str]:
    paths = run_paths(config)
    name = next(c.name for c in campaigns_of(config, "atomistic") if c.task == "inpaint")
    files = [patterns_file(config, name, 0), paths.batch_file("shards", name, 0)]
    return files + ([paths.examples(config.training.release)] if config.training else [])


def report_inputs(config: Config) -> dict[str, str | list[str]]:
    """Return the report's inputs by name."""
    paths = run_paths(config)
    inputs: dict[str, str | list[str]] = {
        "figures": [paths.figure(name) for name in figure_names(config)],
        "manifests": [paths.manifest(release.name) for release in config.releases],
    }
    if draws_isosurface(config):
        inputs["isosurface"] = paths.isosurface
    if config.training:
        release = config.training.release
        inputs |= {
            "card": paths.model_card(release),
            "evaluation": paths.evaluation(release),
            "gate": paths.gate(release),
        }
    if config.studies:
        inputs["studies"] = [file for study in config.studies for file in study_evaluations(config, study.name)]
    if config.sweeps:
        inputs["sweeps"] = [paths.sweep(sweep.name) for sweep in config.sweeps]
    if shipped := shipped_benchmarks(config):
        inputs["shipped"] = list(shipped.values())
    if config.scan:
        inputs["scores"] = paths.scan_scores
        if config.scan.phasing:
            inputs["object"] = paths.phased_scan
    if compares_engines(config):
        inputs["engines"] = paths.engines
    return inputs
