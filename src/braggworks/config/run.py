"""A whole run."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Self

from pydantic import Field, ValidationError, model_validator

from braggworks.campaigns import AnyCampaign, Campaign, Model, Task
from braggworks.config.datasets import Release, SplitConfig
from braggworks.config.evaluation import ComparisonConfig, EvaluationConfig, FigureConfig, ScanConfig
from braggworks.config.sweeps import (
    AnySweep,
    ConsistencySweep,
    MaskingSweep,
    OversamplingSweep,
    PhaseSweep,
    ShellSweep,
    StepSweep,
    StrainSweep,
)
from braggworks.config.training import StudyConfig, TrainingConfig, vary
from braggworks.mistakes import mistake_sentence


class Config(Model):
    """A whole run."""

    results: str = Field(pattern=r"^[A-Za-z0-9_./-]+$", description="Folder that receives everything.")
    campaigns: list[AnyCampaign] = Field(min_length=1, description="Names of files in the folder campaigns/.")
    releases: list[Release] = Field(min_length=1)
    splits: SplitConfig = Field(default_factory=SplitConfig)
    keep_patterns: bool = Field(
        True, description="Keep the patterns, far larger than the shards, when nothing more is made of them."
    )
    training: TrainingConfig | None = Field(None, description="Left out, the run makes datasets only.")
    studies: list[StudyConfig] = Field([], description="Comparisons of networks; they need training.")
    sweeps: list[AnySweep] = Field([], description="What else the network is scored against; they need training.")
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    comparison: ComparisonConfig | None = Field(None, description="Left out, PyNX is not compared with the NUFFT.")
    scan: ScanConfig | None = Field(None, description="Left out, no scan is inpainted; needs training.")
    figures: FigureConfig = Field(default_factory=FigureConfig)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_names()
        tasks = {name: {self.campaign(c).task for c in self.release(name).campaigns} for name in self._release_names}
        for name, found in tasks.items():
            if len(found) > 1:
                raise ValueError(f"release {name!r} mixes campaigns of the tasks inpaint and phase: make two releases")
        for release in self.releases:
            shapes = {(self.campaign(c).ndim, self.campaign(c).patches.size): c for c in release.campaigns}
            if len(shapes) > 1:
                raise ValueError(
                    f"release {release.name!r} mixes samples of different shapes ({', '.join(shapes.values())}): "
                    "give its campaigns one patches.size and one dimension, or make two releases"
                )
        if self.training and tasks[self.training.release] != {self.task}:
            raise ValueError(
                f"training.release {self.training.release!r} must hold campaigns of the task {self.task}, which "
                f"{self.training.network.name} learns: name another release, or another network"
            )
        if self.task == "phase" and self.scan:
            raise ValueError("scan needs a network that fills gaps: leave it out, or train one")
        self._check_studies(tasks)
        self._check_sweeps()
        if self.scan and not self.training:
            raise ValueError("scan needs training, whose network fills the gap: add training, or leave out scan")
        for what, used in (
            ("comparison.campaign", self.comparison.campaign if self.comparison else None),
            ("scan.simulated", self.scan.simulated if self.scan else None),
            *(("sweeps.campaign", sweep.campaign) for sweep in self._with_campaign),
        ):
            if used and self.campaign(used).family != "atomistic":
                raise ValueError(f"{what} names {used!r}, which is not of the family atomistic: name one that is")
        if self.comparison and self.comparison.batch >= self.campaign(self.comparison.campaign).batches:
            raise ValueError(f"comparison.batch {self.comparison.batch} is beyond the campaign's last batch")
        return self

    def _check_studies(self, tasks: Mapping[str, Set[str]]) -> None:
        names = [study.name for study in self.studies]
        if names and not self.training:
            raise ValueError("studies need training, which their variants change: add training, or leave out studies")
        if len(set(names)) < len(names):
            raise ValueError(f"studies names {max(names, key=names.count)!r} twice: rename one")
        for study in self.studies:
            tested: dict[frozenset[str], str] = {}
            for name in study.variants:
                try:
                    variant = self.variant(study.name, name)
                except ValidationError as error:
                    raise ValueError(mistake_sentence(error, f"variant {name}", TrainingConfig)) from None
                if variant.network.task != self.task or tasks.get(variant.release) != {self.task}:
                    raise ValueError(
                        f"variant {name} of study {study.name} needs a network and a release of the task {self.task}, "
                        "which training has"
                    )
                tested.setdefault(self._tested(variant.release), variant.release)
            if len(tested) > 1:
                raise ValueError(
                    f"study {study.name} compares variants on different test particles, of the releases "
                    f"{' and '.join(tested.values())}: let these hold out the same campaigns, or make it two studies"
                )

    def _tested(self, name: str) -> frozenset[str]:
        release = next(each for each in self.releases if each.name == name)
        return frozenset(release.campaigns if self.splits.test else release.held_out)

    def _check_sweeps(self) -> None:
        kinds = [sweep.name for sweep in self.sweeps]
        if kinds and not self.training:
            raise ValueError("sweeps need training, whose network they score: add training, or leave out sweeps")
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"sweeps names {max(kinds, key=kinds.count)!r} twice: leave one out")
        for sweep in self.sweeps:
            task: Task = "phase" if isinstance(sweep, PhaseSweep) else "inpaint"
            if isinstance(sweep, PhaseSweep):
                self._check_phases(sweep)
            by_patches = self.training is not None and self.training.network.name == "rsp_patches_3d"
            if isinstance(sweep, ShellSweep) and not by_patches:
                raise ValueError("the sweep shells needs rsp_patches_3d: leave it out, or train that network")
            if task != self.task:
                raise ValueError(
                    f"the sweep {sweep.kind} needs a network of the task {task}: leave it out, or train one"
                )
        if "skipped" in kinds and not self.scan:
            raise ValueError("the sweep skipped fills the gap of the scan: add scan, or leave the sweep out")

    def _check_phases(self, sweep: PhaseSweep) -> None:
        campaign = self.campaign(sweep.campaign)
        if campaign.task != "phase":
            raise ValueError(f"the sweep {sweep.kind} names {sweep.campaign!r}, which has no phases: name one that has")
        body = getattr(campaign, "body", None)
        if isinstance(sweep, StepSweep) and not (body and body.phase_steps):
            raise ValueError(
                f"the sweep steps names {sweep.campaign!r}, whose phases do not rise in steps: set body.phase_steps, "
                "or name another campaign"
            )

    @property
    def task(self) -> Task:
        """What the run's networks learn."""
        return self.training.network.task if self.training else "inpaint"

    @property
    def _with_campaign(self) -> list[OversamplingSweep | StrainSweep | ConsistencySweep | MaskingSweep]:
        kinds = OversamplingSweep | StrainSweep | ConsistencySweep | MaskingSweep
        return [sweep for sweep in self.sweeps if isinstance(sweep, kinds)]

    @property
    def _release_names(self) -> list[str]:
        return [release.name for release in self.releases]

    def _check_names(self) -> None:
        campaigns, releases = [campaign.name for campaign in self.campaigns], self._release_names
        for what, used, known in (
            ("releases", [c for release in self.releases for c in release.campaigns], campaigns),
            ("comparison.campaign", [self.comparison.campaign] if self.comparison else [], campaigns),
            ("scan.simulated", [self.scan.simulated] if self.scan else [], campaigns),
            *(("sweeps.campaign", [sweep.campaign], campaigns) for sweep in self.sweeps if hasattr(sweep, "campaign")),
            ("training.release", [self.training.release] if self.training else [], releases),
            *(
                (f"warm_start of release {release.name!r}", [release.warm_start], releases[:number])
                for number, release in enumerate(self.releases)
                if release.warm_start
            ),
        ):
            for name in used:
                if name not in known:
                    raise ValueError(
                        f"{what} names {name!r}, which is not defined: use one of {', '.join(known) or '(none)'}"
                    )
        for what, names in (("campaigns", campaigns), ("releases", releases)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} names {twice[0]!r} twice: leave one out, or rename it")

    def campaign(self, name: str) -> Campaign:
        """Return the campaign of that name."""
        return next(campaign for campaign in self.campaigns if campaign.name == name)

    def variant(self, study: str, name: str) -> TrainingConfig:
        """Return how one variant of a study is trained."""
        assert self.training is not None  # noqa: S101
        return vary(self.training, next(each for each in self.studies if each.name == study).variants[name])

    def sweep(self, name: str) -> AnySweep:
        """Return the sweep of that name."""
        return next(sweep for sweep in self.sweeps if sweep.name == name)

    def release(self, name: str) -> Release:
        """Return the release of that name."""
        return next(release for release in self.releases if release.name == name)
