"""The jobs of a run and the files that tie them, without Snakemake, and which of them are still to be done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from braggworks.campaigns import Campaign
from braggworks.config import Config
from braggworks.paths import run_paths
from braggworks.targets import (
    ATOMS,
    compared_patterns,
    compares_engines,
    dataset_targets,
    default_targets,
    draws_isosurface,
    figure_inputs,
    figure_names,
    patterns_file,
    release_shards,
    release_sidecars,
    report_inputs,
    scan_source,
    simulated_particle,
    sweep_inputs,
    warm_start,
)


@dataclass(frozen=True, eq=False)
class Job:
    """One job of the workflow.

    Parameters
    ----------
    rule
        Its rule.
    outputs, inputs
        Files that it makes and reads.
    of
        Whose it is: a campaign, a release or a figure; empty where there is one job of its rule.
    batch
        Its batch; None where it is of no batch.
    """

    rule: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    of: str = ""
    batch: int | None = None

    @property
    def group(self) -> tuple[str, str]:
        """Rule and campaign or release, by which jobs are counted; figures count together."""
        return self.rule, "" if self.rule == "draw_figure" else self.of


class JobGraph:
    """The jobs that lead to a run's targets.

    Parameters
    ----------
    config
        The run.
    datasets_only
        Whether training, figures and report are left out.
    """

    def __init__(self, config: Config, *, datasets_only: bool = False) -> None:
        self.campaigns = [campaign.name for campaign in config.campaigns]
        self._maker = {output: job for job in _all_jobs(config) for output in job.outputs}
        self._targets = dataset_targets(config) if datasets_only else default_targets(config)
        self.jobs = self._reach(self._makers(self._targets))
        self._users: dict[Job, list[Job]] = {job: [] for job in self.jobs}
        for job in self.jobs:
            for maker in self.makers(job):
                self._users[maker].append(job)

    def makers(self, job: Job) -> list[Job]:
        """Return the jobs that make what a job reads."""
        return self._makers(job.inputs)

    def users(self, job: Job) -> list[Job]:
        """Return the jobs that read what a job makes."""
        return self._users[job]

    def of_output(self, output: str) -> Job | None:
        """Return the job that makes a file; None where no job of the run does."""
        job = self._maker.get(output)
        return job if job in self._users else None

    def to_do(self, started: Iterable[Job] = ()) -> set[Job]:
        """Return the jobs that are to be done, as Snakemake sees it, from which files exist.

        A file that nothing reads any more may be gone: patterns, when their shard exists and `keep_patterns` is false.

        Parameters
        ----------
        started
            Jobs that were begun and have not ended, whose files do not count.
        """
        exists = _Folders()
        unfinished = set(started)
        to_do = unfinished.union(self._makers(target for target in self._targets if not exists(target)))
        fresh = list(to_do)
        while fresh:
            job = fresh.pop()
            missing = [maker for maker in self.makers(job) if not self._all_read(maker, job, exists)]
            for other in (*missing, *self._users[job]):
                if other not in to_do:
                    to_do.add(other)
                    fresh.append(other)
        return to_do

    @staticmethod
    def _all_read(maker: Job, job: Job, exists: _Folders) -> bool:
        """Return whether all that a job reads of another exists."""
        return all(exists(output) for output in maker.outputs if output in job.inputs)

    def _makers(self, files: Iterable[str]) -> list[Job]:
        return list(dict.fromkeys(self._maker[file] for file in files if file in self._maker))

    def _reach(self, last: Iterable[Job]) -> list[Job]:
        """Return jobs and all that they wait for, makers before users."""
        order: dict[Job, None] = {}
        stack = [(job, False) for job in last]
        while stack:
            job, is_left = stack.pop()
            if is_left:
                order[job] = None
            elif job not in order:
                stack.append((job, True))
                stack += [(maker, False) for maker in self.makers(job) if maker not in order]
        return list(order)


class _Folders:
    """Whether files exist; a folder is listed once, and no file is looked at by itself."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}

    def __call__(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        if folder not in self._names:
            try:
                self._names[folder] = {entry.name for entry in Path(folder).iterdir()}
            except OSError:
                self._names[folder] = set()
        return name in self._names[folder]


def _all_jobs(config: Config) -> Iterator[Job]:
    for campaign in config.campaigns:
        for batch in range(campaign.batches):
            yield from _batch_jobs(config, campaign, batch)
    yield from _campaign_jobs(config)
    for release in config.releases:
        yield from _release_jobs(config, release.name)
    yield from _study_jobs(config)
    yield from _sweep_jobs(config)
    yield from _scan_jobs(config)
    yield from _report_jobs(config)


def _batch_jobs(config: Config, campaign: Campaign, batch: int) -> Iterator[Job]:
    paths, name = run_paths(config), campaign.name
    shard = (paths.batch_file("shards", name, batch), paths.shard_sidecar(name, batch))
    if campaign.family not in ATOMS:
        rule = "cut_scan_shard" if campaign.family == "scan" else "simulate_batch"
        yield Job(rule, shard, (), name, batch)
        return
    crystals, relaxed = (paths.batch_file(stage, name, batch) for stage in ("crystals", "relaxed"))
    yield Job("cut_crystals", (crystals,), (), name, batch)
    yield Job("relax_batch", (relaxed,), (crystals,), name, batch)
    if campaign.family == "autophasenn":
        yield Job("grid_batch", (patterns_file(config, name, batch),), (relaxed,), name, batch)
    else:
        for rule, engine in (("scatter_batch", "nufft"), ("scatter_batch_pynx", "pynx")):
            yield Job(rule, (paths.batch_file(f"patterns-{engine}", name, batch),), (relaxed,), name, batch)
    yield Job("cut_shard", shard, (patterns_file(config, name, batch),), name, batch)


def _campaign_jobs(config: Config) -> Iterator[Job]:
    paths = run_paths(config)
    for campaign in config.campaigns:
        if campaign.family == "polygon2d":
            yield Job("show_steps", (paths.steps(campaign.name),), (), campaign.name)
    if compares_engines(config):
        compared = tuple(compared_patterns(config, engine) for engine in ("nufft", "pynx"))
        yield Job("compare_engines", (paths.engines,), compared)


def _release_jobs(config: Config, name: str) -> Iterator[Job]:
    paths = run_paths(config)
    manifest, weights = paths.manifest(name), paths.weights(name)
    yield Job("write_manifest", (manifest,), tuple(release_sidecars(config, name)), name)
    learnt = (manifest, *release_shards(config, name), *warm_start(config, name))
    yield Job("train_network", (weights, paths.history(name), paths.model_card(name)), learnt, name)
    yield Job("evaluate_network", (paths.evaluation(name), paths.examples(name)), (manifest, weights), name)
    yield Job("check_network", (paths.gate(name),), (paths.evaluation(name),), name)


def _study_jobs(config: Config) -> Iterator[Job]:
    paths = run_paths(config)
    for study in config.studies:
        for variant in study.variants:
            release, of = config.variant(study.name, variant).release, f"{study.name}/{variant}"
            manifest = paths.manifest(release)
            weights, history, card, scores, examples = (
                paths.variant_file(name, study.name, variant) for name in paths.variant_names
            )
            learnt = (manifest, *release_shards(config, release))
            yield Job("train_variant", (weights, history, card), learnt, of)
            yield Job("evaluate_variant", (scores, examples), (manifest, weights), of)


def _sweep_jobs(config: Config) -> Iterator[Job]:
    paths = run_paths(config)
    for sweep in config.sweeps:
        assert config.training is not None  # noqa: S101
        weights = paths.weights(config.training.release)
        yield Job("sweep_network", (paths.sweep(sweep.name),), (*sweep_inputs(config, sweep.name), weights), sweep.name)


def _scan_jobs(config: Config) -> Iterator[Job]:
    if config.scan is None or config.training is None:
        return
    paths = run_paths(config)
    batch, _ = simulated_particle(config)
    yield Job("simulate_scan", (paths.simulated_scan,), (patterns_file(config, config.scan.simulated, batch),))
    yield Job("prepare_scan", (paths.prepared_scan,), (scan_source(config),))
    read = (paths.prepared_scan, paths.weights(config.training.release))
    yield Job("inpaint_scan", (paths.inpainted_scan, paths.scan_scores), read)
    if config.scan.phasing:
        yield Job("phase_scan", (paths.phased_scan,), (paths.inpainted_scan,))


def _report_jobs(config: Config) -> Iterator[Job]:
    paths = run_paths(config)
    yield Job("draw_rulegraph", (paths.rulegraph,))
    for name in figure_names(config):
        yield Job("draw_figure", (paths.figure(name),), tuple(figure_inputs(config, name)), name)
    if draws_isosurface(config):
        yield Job("mesh_crystal", (paths.isosurface,), tuple(figure_inputs(config, "isosurface")))
    read = (value if isinstance(value, list) else [value] for value in report_inputs(config).values())
    yield Job("write_report", (paths.report, paths.summary), tuple(file for files in read for file in files))
