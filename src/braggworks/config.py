"""The configuration: every key with unit, default and bound; unknown keys are errors; only this module reads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from braggworks.errors import ConfigError

Shape = Literal["wulff", "winterbottom", "cube", "octahedron", "random"]
Material = Literal["Au", "Pt", "Pd", "Ni", "Ag", "Cu"]
Engine = Literal["nufft", "pynx"]
Interpolation = Literal["nearest", "linear", "cubic"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]

# Bounds that keep one mistyped digit from filling a disk.
MAX_GRID = 512
MAX_GAP_PX = 64


class Model(BaseModel):
    """Base of all configuration models: unknown keys refused, values frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _ordered(low: float, high: float, what: str) -> None:
    if low > high:
        raise ValueError(f"{what} is a range [low, high]; got low {low:g} above high {high:g}, so swap the two")


class CrystalConfig(Model):
    """Which crystals are cut from the lattice."""

    material: Material = Field("Au", description="Element of the face-centred cubic crystal.")
    shapes: list[Shape] = Field(["wulff"], min_length=1, description="Shapes, taken in turn by particle index.")
    atoms: tuple[int, int] = Field((2_000, 20_000), description="Smallest and largest number of atoms, log-uniform.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ordered(*self.atoms, "atoms")
        if not 100 <= self.atoms[0] <= self.atoms[1] <= 5_000_000:
            raise ValueError("atoms must lie between 100 and 5000000")
        return self


class RelaxationConfig(Model):
    """How the particle's energy is minimised."""

    strain: Literal["free", "clamped"] = Field(
        "free", description="free: nothing held; clamped: the layer at the interface (or lowest facet) is held."
    )
    potential: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.+-]+$",
        description="EAM file in the LAMMPS distribution's potentials folder; null is <material>_u3.eam.",
    )
    clamped_thickness: float = Field(5.0, gt=0, le=1e4, description="Thickness of the held layer, in angstrom.")
    force_tolerance: float = Field(1e-3, gt=0, le=10, description="Stop at this force norm, in eV/angstrom.")
    max_steps: int = Field(3_000, ge=1, le=1_000_000, description="Most minimiser steps.")
    max_evaluations: int = Field(30_000, ge=1, le=10_000_000, description="Most force evaluations.")


class DiffractionConfig(Model):
    """How the diffraction around one reflection is sampled."""

    engine: Engine = Field("nufft", description="Scattering engine.")
    reflection: tuple[int, int, int] = Field((1, 1, 1), description="Miller indices hkl.")
    grid: int = Field(64, ge=16, le=MAX_GRID, multiple_of=2, description="Voxels per axis of the pattern.")
    oversampling: tuple[float, float] = Field(
        (2.2, 5.0),
        description="Oversampling ratio along the largest extent, uniform in this range; the lower bound rises where "
        "another reflection would reach into the grid.",
    )
    rotation: Literal["random", "none"] = Field("random", description="Orientation of the grid against the crystal.")
    patterns_per_particle: int = Field(4, ge=1, le=10_000, description="Patterns computed from each particle.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ordered(*self.oversampling, "oversampling")
        if self.oversampling[0] < 2:
            raise ValueError(
                f"oversampling starts at {self.oversampling[0]:g}, and below 2 the pattern loses the object "
                "(Nyquist): use 2 or more"
            )
        if self.oversampling[1] > 20:
            raise ValueError(f"oversampling ends at {self.oversampling[1]:g}: use 20 or less")
        if len({index % 2 for index in self.reflection}) != 1:
            raise ValueError(
                f"reflection {list(self.reflection)} is forbidden in a face-centred cubic lattice: "
                "use three even or three odd indices, such as [1, 1, 1]"
            )
        if self.reflection == (0, 0, 0) or max(map(abs, self.reflection)) > 20:
            raise ValueError(f"reflection {list(self.reflection)} is out of range: use non-zero indices up to 20")
        return self


class DetectorConfig(Model):
    """What the detector adds."""

    total_counts: tuple[float, float] = Field(
        (1e6, 1e8), description="Photons in the whole pattern, log-uniform in this range; Poisson noise follows."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ordered(*self.total_counts, "total_counts")
        if not 1 <= self.total_counts[0] <= self.total_counts[1] <= 1e12:
            raise ValueError("total_counts must lie between 1 and 1e12")
        return self


class PatchConfig(Model):
    """How training samples are cut from patterns."""

    size: int = Field(32, ge=8, le=128, multiple_of=2, description="Voxels per axis of a patch.")
    per_pattern: int = Field(8, ge=1, le=10_000, description="Patches cut from each pattern.")
    outward_bias: float = Field(
        1.0, ge=0, le=8, description="Density of patch centres grows as (distance from the peak)^bias; 0 is uniform."
    )
    minimum_counts: int = Field(100, ge=0, description="Patches with fewer counts are drawn again.")
    gap_widths_px: list[int] = Field([3, 6, 9, 12], min_length=1, description="Gap widths, in pixels, in equal parts.")
    cross_fraction: Fraction = Field(1 / 6, description="Share of patches with a cross gap instead of a vertical one.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for width in self.gap_widths_px:
            if not 1 <= width <= self.size - 4:
                raise ValueError(
                    f"gap_widths_px holds {width}, which leaves no measured border in a patch of {self.size} px: "
                    f"use 1 to {self.size - 4}, or a larger patch size"
                )
        return self


class Campaign(Model):
    """An immutable recipe that generates particles and their diffraction."""

    name: Name = Field(description="The campaign's name; taken from the file name.")
    family: Literal["atomistic"] = Field("atomistic", description="Kind of simulation.")
    seed: int = Field(0, ge=0, lt=2**63, description="Part of every particle's identity.")
    count: int = Field(ge=1, le=10_000_000, description="Number of particles.")
    batch_size: int = Field(ge=1, le=100_000, description="Particles per job and file.")
    crystal: CrystalConfig = Field(default_factory=CrystalConfig)
    relaxation: RelaxationConfig = Field(default_factory=RelaxationConfig)
    diffraction: DiffractionConfig = Field(default_factory=DiffractionConfig)
    detector: DetectorConfig = Field(default_factory=DetectorConfig)
    patches: PatchConfig = Field(default_factory=PatchConfig)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.count % self.batch_size:
            near = -(-self.count // self.batch_size) * self.batch_size
            raise ValueError(
                f"count {self.count} is no multiple of batch_size {self.batch_size}, so that a later, larger count "
                f"would change the last batch: use count {near}"
            )
        if self.patches.size > self.diffraction.grid:
            raise ValueError(
                f"patches.size {self.patches.size} exceeds diffraction.grid {self.diffraction.grid}: "
                "use a smaller patch or a larger grid"
            )
        return self

    @property
    def batches(self) -> int:
        """Number of batches."""
        return self.count // self.batch_size


class Release(Model):
    """One entry of the append-only list of datasets."""

    name: Name = Field(description="Name of the dataset.")
    campaigns: list[Name] = Field(min_length=1, description="Campaigns whose shards make the dataset.")
    warm_start: Name | None = Field(None, description="Release whose weights training starts from.")


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
    """The 3-D patch inpainter of Masto et al. (2024), or a smaller one of the same topology."""

    name: Literal["patch_inpainter_3d"] = "patch_inpainter_3d"
    width: float = Field(1.0, gt=0, le=4, description="Factor on all channel counts; 1 is the published size.")
    mask_input: bool = Field(False, description="Give the gap mask as a second channel (not in the published network).")
    residual: bool = Field(
        False, description="Predict the difference from linear interpolation (not in the published network)."
    )


class LossConfig(Model):
    """Weights of the published sum: in-gap error + SSIM + in-gap gradient error."""

    error: Literal["mae", "mse"] = Field("mse", description="Norm of the in-gap error and of the gradient error.")
    gap: float = Field(1.0, ge=0, le=1e6, description="Weight of the in-gap error.")
    ssim: float = Field(1.0, ge=0, le=1e6, description="Weight of 1 - SSIM.")
    gradient: float = Field(1.0, ge=0, le=1e6, description="Weight of the in-gap gradient error.")


class TrainingConfig(Model):
    """How the inpainting network is trained."""

    release: Name = Field(description="Release that is trained on.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seeds initial weights, order and augmentation.")
    network: NetworkConfig = Field(default_factory=NetworkConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    epochs: int = Field(100, ge=1, le=100_000, description="Passes over the training samples.")
    batch_size: int = Field(32, ge=1, le=65_536, description="Samples per optimiser step.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Adam's initial learning rate.")
    plateau_patience: int = Field(5, ge=0, le=1_000, description="Epochs without progress before the rate drops.")
    plateau_factor: float = Field(0.5, gt=0, lt=1, description="Factor on the rate at a plateau.")
    augment: bool = Field(True, description="Random flips, and swaps of the two axes that lie in the gap's plane.")
    checkpoint_seconds: float = Field(30.0, ge=0, le=86_400, description="Time between saved states, in seconds.")


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
    campaigns: list[Campaign] = Field(min_length=1, description="Names of files in the folder campaigns/.")
    releases: list[Release] = Field(min_length=1)
    splits: SplitConfig = Field(default_factory=SplitConfig)
    training: TrainingConfig
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    comparison: ComparisonConfig
    scan: ScanConfig
    figures: FigureConfig = Field(default_factory=FigureConfig)

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [campaign.name for campaign in self.campaigns]
        releases = [release.name for release in self.releases]
        for what, used, known in (
            ("releases", [c for release in self.releases for c in release.campaigns], names),
            ("comparison.campaign", [self.comparison.campaign], names),
            ("scan.simulated", [self.scan.simulated], names),
            ("training.release", [self.training.release], releases),
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
        if self.comparison.batch >= self.campaign(self.comparison.campaign).batches:
            raise ValueError(f"comparison.batch {self.comparison.batch} is beyond the campaign's last batch")
        return self

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
    return _build(Campaign, {**_read_yaml(path), "name": path.stem}, path)


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


def mistake_sentence(error: ValidationError, where: str, model: type[BaseModel]) -> str:
    """Return the first mistake that pydantic found, as one sentence with the key, the value and a suggestion."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        import difflib

        known = _keys_at(model, [str(part) for part in first["loc"][:-1]])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean '{near[0]}'" if near else f"accepted keys are {', '.join(known)}"
        return f"{where}: unknown key '{key}': {hint}?" if near else f"{where}: unknown key '{key}': {hint}."
    value = "" if first["type"] in {"missing", "value_error"} else f", got {first['input']!r}"
    return ": ".join(part for part in (where, key, f"{message}{value}.") if part)


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    for part in location:
        field = model.model_fields.get(part)
        annotation = getattr(field, "annotation", None)
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        model = nested[0] if nested else model
    return list(model.model_fields)
