"""The configuration: every key with unit, default and bound; unknown keys are errors; only this module reads it."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast

import yaml
from pydantic import Field, ValidationError, model_validator

from braggworks.campaigns import (
    FAMILIES,
    MAX_GAP_PX,
    MAX_GRID,
    AnyCampaign,
    Campaign,
    Fraction,
    Model,
    Name,
    check_range,
)
from braggworks.errors import ConfigError
from braggworks.mistakes import mistake_sentence

Interpolation = Literal["nearest", "linear", "cubic"]


class Release(Model):
    """One entry of the append-only list of datasets."""

    name: Name = Field(description="Name of the dataset.")
    campaigns: list[Name] = Field(min_length=1, description="Campaigns whose shards make the dataset.")
    held_out: list[Name] = Field([], description="Those of the campaigns whose particles are all in the test split.")
    warm_start: Name | None = Field(None, description="Release whose weights training starts from.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in self.held_out:
            if name not in self.campaigns:
                raise ValueError(f"held_out names {name!r}, which is not among the campaigns: add it there")
        return self


class SplitConfig(Model):
    """Shares of the particles; a particle's split follows from its identity alone."""

    validation: Fraction = Field(0.04, description="Share that steers the learning rate.")
    test: Fraction = Field(0.025, description="Share that training never sees.")
    seed: int = Field(0, ge=0, description="Part of the identity that decides the split.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave nothing to train on: let their sum stay below 1")
        return self


class NetworkConfig(Model):
    """Which network, and how large; by default the 3-D patch inpainter of Masto et al. (2024) at its published size."""

    name: Literal["patch_inpainter_3d", "plane_network", "unet_2d", "modified_unet_2d", "msd_net_2d"] = Field(
        "patch_inpainter_3d",
        description="plane_network is our own: one network for every gap width; it needs training.slabs. Those in two "
        "dimensions are the thesis's, for releases of polygon2d.",
    )
    width: float = Field(1.0, gt=0, le=4, description="Factor on all channel counts; 1 is the published size.")
    mask_input: bool = Field(
        False, description="Give the network the gap mask as a second channel (not in the published networks)."
    )
    residual: bool = Field(
        False,
        description="Let the network predict the difference from linear interpolation (not published either).",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name == "plane_network" and (self.mask_input or self.residual):
            raise ValueError("mask_input and residual are no options of plane_network: leave them out")
        return self


class LossConfig(Model):
    """Weights of the terms: the published sum of in-gap error, SSIM and in-gap gradient error, and two of our own."""

    error: Literal["mae", "mse"] = Field("mse", description="Norm of the in-gap error and of the gradient error.")
    gap: float = Field(1.0, ge=0, le=1e6, description="Weight of the in-gap error.")
    ssim: float = Field(1.0, ge=0, le=1e6, description="Weight of 1 - SSIM.")
    gradient: float = Field(1.0, ge=0, le=1e6, description="Weight of the in-gap gradient error.")
    poisson: float = Field(
        0.0, ge=0, le=1e6, description="Weight of the in-gap Poisson deviance, for plane_network (not published)."
    )
    relative: float = Field(
        0.0, ge=0, le=1e6, description="Weight of the in-gap squared error over the variance there (not published)."
    )


class SlabConfig(Model):
    """Gaps that are drawn anew in every epoch, slabs normal to any axis, instead of those in the shards."""

    widths_px: tuple[int, int] = Field((2, 41), description="Narrowest and widest slab, in pixels.")
    narrow_share: Fraction = Field(0.7, description="Share of the slabs that are at most 12 px wide.")
    noise_free: Fraction = Field(
        0.5, description="Share of the samples that are as bright as simulated, nearly without noise."
    )
    total_counts: tuple[float, float] = Field(
        (1e5, 3e9), description="Photons in the whole pattern, log-uniform; at most as many as were simulated."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_range(self.widths_px, "widths_px", 1, MAX_GAP_PX)
        check_range(self.total_counts, "total_counts", 1, 1e12)
        return self


class TrainingConfig(Model):
    """How the inpainting network is trained; the keys from `processes` on define no result and retrain nothing."""

    release: Name = Field(description="Release that is trained on.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seeds initial weights, order and augmentation.")
    network: NetworkConfig = Field(default_factory=NetworkConfig)
    slabs: SlabConfig | None = Field(None, description="Left out, the gaps are those in the shards.")
    loss: LossConfig = Field(default_factory=LossConfig)
    epochs: int = Field(100, ge=1, le=100_000, description="Passes over the training samples.")
    batch_size: int = Field(32, ge=1, le=65_536, description="Samples per optimiser step, of all processes together.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Adam's initial learning rate.")
    schedule: Literal["plateau", "cosine"] = Field(
        "plateau",
        description="plateau: the rate drops where the validation loss stays; cosine: it rises over the first "
        "hundredth of the training, and then falls to 0 at its end.",
    )
    plateau_patience: int = Field(5, ge=0, le=1_000, description="Epochs without progress before the rate drops.")
    plateau_factor: float = Field(0.5, gt=0, lt=1, description="Factor on the rate at a plateau.")
    gradient_norm: float | None = Field(
        None, gt=0, le=1e6, description="Largest norm of a step's gradient, longer ones are shortened; left out, any."
    )
    augment: bool = Field(True, description="Random flips, and swaps of the two axes that lie in the gap's plane.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="Of the network's arithmetic in training; weights, loss and validation stay float32."
    )
    micro_batch: int | None = Field(
        None, ge=1, le=65_536, description="Samples computed at once; left out, each process's part of a batch."
    )
    shuffle_buffer: int | None = Field(
        None, ge=1, le=2**31, description="Samples that are shuffled with each other; left out, all of an epoch."
    )
    # Excluded from recipes: what follows says where and how fast, not what.
    processes: int = Field(1, ge=1, le=4096, exclude=True, description="Training processes, one per GPU or CPU share.")
    threads: int = Field(2, ge=1, le=1024, exclude=True, description="Processor threads of all processes together.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", exclude=True, description="auto: a GPU where torch sees one, else the CPU."
    )
    memory_mb: int = Field(
        1024, ge=0, le=2**31, exclude=True, description="Memory for samples on a machine; more are read while training."
    )
    readers: int = Field(
        2, ge=0, le=256, exclude=True, description="Reading processes beside each, if samples exceed the memory."
    )
    checkpoint_seconds: float = Field(
        30.0, ge=0, le=86_400, exclude=True, description="Time between saved states, in seconds."
    )
    restarts: int = Field(
        3, ge=0, le=1_000, exclude=True, description="Times that the workflow goes on by itself after a time limit."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.network.name == "plane_network") != (self.slabs is not None):
            raise ValueError("plane_network and slabs go together: give both, `slabs: {}` for its defaults, or neither")
        if self.loss.poisson and self.slabs is None:
            raise ValueError("loss.poisson needs counts, and only plane_network works on them: leave it out")
        return self

    def options(self, threads: int) -> list[str]:
        """Return what defines no result as options of `braggworks train`, with the threads that a job was given."""
        names = ("processes", "device", "memory_mb", "readers", "checkpoint_seconds")
        values = {name: getattr(self, name) for name in names} | {"threads": threads}
        return [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]


class BarConfig(Model):
    """A bar that the trained network must clear, or the workflow fails."""

    baseline: Interpolation = Field("linear", description="Interpolation to beat.")
    gap_px: int = Field(6, ge=1, le=MAX_GAP_PX, description="Gap width at which it is to be beaten, in pixels.")


class EvaluationConfig(Model):
    """The sweep over gap widths on held-out particles."""

    gap_widths_px: list[Annotated[int, Field(ge=1, le=MAX_GAP_PX)]] = Field([3, 6, 9, 12], min_length=1)
    interpolations: list[Interpolation] = Field(["nearest", "linear", "cubic"], min_length=1)
    intensity_strata: int = Field(4, ge=1, le=100, description="Number of strata of equal size by mean counts.")
    must_beat: BarConfig | None = Field(default_factory=BarConfig)

    @model_validator(mode="after")
    def _check(self) -> Self:
        bar = self.must_beat
        if bar and (bar.gap_px not in self.gap_widths_px or bar.baseline not in self.interpolations):
            raise ValueError(
                f"must_beat asks for {bar.baseline} at {bar.gap_px} px, which the sweep does not hold: "
                "add it to interpolations and gap_widths_px"
            )
        return self


class ComparisonConfig(Model):
    """PyNX against the NUFFT on one whole batch."""

    when: Literal["auto", "always", "never"] = Field("auto", description="auto: where PyNX is installed.")
    campaign: Name = Field(description="Campaign whose batch is computed twice.")
    batch: int = Field(0, ge=0, description="Number of that batch.")


class ScanConfig(Model):
    """The scan that is inpainted behind a synthetic cross gap."""

    file: str = Field("aps34idc_au_scan54.cxi", description="File, absolute or in the folder BRAGGWORKS_TEST_DATA.")
    crop: int = Field(128, ge=32, le=MAX_GRID, multiple_of=2, description="Voxels per axis around the peak.")
    gap_px: int = Field(6, ge=1, le=MAX_GAP_PX, description="Width of the synthetic cross gap, in pixels.")
    gap_offset_px: tuple[int, int] = Field(
        (12, 12), description="Distance of the gap's first pixel from the peak along the detector's y and x."
    )
    stride_px: int = Field(8, ge=1, le=64, description="Step between overlapping windows.")
    simulated: Name = Field(description="Campaign of whose held-out particles one stands in where the file is absent.")


class FigureConfig(Model):
    """How figures look."""

    dpi: int = Field(150, ge=50, le=600, description="Resolution, in dots per inch.")
    intensity_cmap: str = Field("viridis", description="Perceptually uniform map for log intensity.")
    phase_cmap: str = Field("twilight", description="Cyclic map for phase.")


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
        if self.training and tasks[self.training.release] != {"inpaint"}:
            raise ValueError(f"training.release {self.training.release!r} must hold campaigns of the task inpaint")
        if self.scan and not self.training:
            raise ValueError("scan needs training, whose network fills the gap: add training, or leave out scan")
        for what, used in (
            ("comparison.campaign", self.comparison.campaign if self.comparison else None),
            ("scan.simulated", self.scan.simulated if self.scan else None),
        ):
            if used and self.campaign(used).family != "atomistic":
                raise ValueError(f"{what} names {used!r}, which is not of the family atomistic: name one that is")
        if self.comparison and self.comparison.batch >= self.campaign(self.comparison.campaign).batches:
            raise ValueError(f"comparison.batch {self.comparison.batch} is beyond the campaign's last batch")
        return self

    @property
    def _release_names(self) -> list[str]:
        return [release.name for release in self.releases]

    def _check_names(self) -> None:
        campaigns, releases = [campaign.name for campaign in self.campaigns], self._release_names
        for what, used, known in (
            ("releases", [c for release in self.releases for c in release.campaigns], campaigns),
            ("comparison.campaign", [self.comparison.campaign] if self.comparison else [], campaigns),
            ("scan.simulated", [self.scan.simulated] if self.scan else [], campaigns),
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

    def release(self, name: str) -> Release:
        """Return the release of that name."""
        return next(release for release in self.releases if release.name == name)


ModelT = TypeVar("ModelT", bound=Model)


# --- reading ---


def load_config(path: str | Path) -> Config:
    """Read a configuration and the campaign files that it names.

    Parameters
    ----------
    path
        YAML file; each entry of its ``campaigns`` names a file ``campaigns/NAME.yaml`` beside it.

    Raises
    ------
    ConfigError
        If a file is missing, is no YAML, or holds a value that is not accepted.
    """
    path = Path(path)
    values = _read_yaml(path)
    if "count" in values and "campaigns" not in values:
        raise ConfigError(f"{path} is a campaign: name it, without .yaml, in the campaigns of a run such as demo.yaml.")
    names = values.get("campaigns")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{path}: campaigns must list names of files in {path.parent / 'campaigns'}, without .yaml.")
    campaigns = [load_campaign(path.parent / "campaigns" / f"{name}.yaml") for name in names]
    return _build(Config, {**values, "campaigns": campaigns}, path)


def load_campaign(path: str | Path) -> Campaign:
    """Read one campaign file; its name is the campaign's name. Raises `ConfigError` as `load_config` does."""
    path = Path(path)
    values = _read_yaml(path)
    family = values.get("family")
    if family not in FAMILIES:
        near = difflib.get_close_matches(str(family), FAMILIES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(FAMILIES)}."
        told = "there is no family" if family is None else f"there is no family {family!r}"
        raise ConfigError(f"{path}: {told}: {hint}")
    return cast(Campaign, _build(FAMILIES[family], {**values, "name": path.stem}, path))


def data_folder() -> Path | None:
    """Return the folder that holds measured scans, from the setting BRAGGWORKS_TEST_DATA."""
    folder = os.environ.get("BRAGGWORKS_TEST_DATA")
    return Path(folder) if folder else None


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a configuration file, in which campaigns are names."""
    schema = Config.model_json_schema()
    schema["properties"]["campaigns"] = {"type": "array", "minItems": 1, "items": {"type": "string"}}
    return schema


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: check the path, or the name in campaigns.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): give a YAML file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        raise ConfigError(f"{path} is not valid YAML: {reason}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold keys and values, as config/demo.yaml does.")
    return values


def _build(model: type[ModelT], values: dict[str, Any], path: Path) -> ModelT:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(mistake_sentence(error, str(path), model)) from None
