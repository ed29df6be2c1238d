"""Networks and how they are trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from braggworks.campaigns import MAX_GAP_PX, Fraction, Model, Name, Task, check_range


class NetworkConfig(Model):
    """Which network, and how large; by default the 3-D patch inpainter of Masto et al. (2024) at its published size."""

    name: Literal[
        "patch_inpainter_3d",
        "plane_network",
        "unet_2d",
        "modified_unet_2d",
        "msd_net_2d",
        "rsp_unet_2d",
        "rsp_unet_3d",
        "block_rsp_unet_3d",
        "rsp_patches_3d",
        "rsp_cascade_3d",
    ] = Field(
        "patch_inpainter_3d",
        description="plane_network is our own: one network for every gap width; it needs training.slabs. Those in two "
        "dimensions are the thesis's, for releases of polygon2d. Those with rsp find phases, for releases of the task "
        "phase; block_rsp_unet_3d is our own, small enough for a processor, rsp_cascade_3d refines its "
        "phases by way of the object, and rsp_patches_3d finds them patch by patch.",
    )
    width: float = Field(1.0, gt=0, le=4, description="Factor on all channel counts; 1 is the published size.")
    mask_input: bool = Field(
        False, description="Give the network the gap mask as a second channel (not in the published networks)."
    )
    residual: bool = Field(
        False,
        description="Let the network predict the difference from linear interpolation (not published either).",
    )

    phasor: bool = Field(
        False,
        exclude_if=lambda value: not value,
        description="Let rsp_unet_2d give a complex number, whose angle is the phase, in place of an unwrapped phase "
        "(not published).",
    )

    stages: int = Field(
        6,
        ge=1,
        le=100,
        exclude_if=lambda value: value == 6,
        description="Refinements of rsp_cascade_3d's phases in training.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.stages != 6 and self.name != "rsp_cascade_3d":
            raise ValueError("stages is an option of rsp_cascade_3d alone: leave it out")
        if self.phasor and self.name != "rsp_unet_2d":
            raise ValueError("phasor is an option of rsp_unet_2d alone: leave it out")
        if (self.name == "plane_network" or self.task == "phase") and (self.mask_input or self.residual):
            raise ValueError(f"mask_input and residual are no options of {self.name}: leave them out")
        return self

    @property
    def task(self) -> Task:
        """What the network learns."""
        return "phase" if "rsp" in self.name else "inpaint"


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


class PhaseLossConfig(Model):
    """What a network for reciprocal-space phases minimises, of either twin the smaller where twins are forgiven."""

    kind: Literal["wca", "object", "moduli_and_phases", "unwrapped"] = Field(
        "wca",
        description="wca: 1 - |weighted mean of exp(i difference)|; object: squared difference of the objects; "
        "moduli_and_phases: those of their moduli and of their phases (thesis, eq. 4.2); unwrapped: squared difference "
        "of unwrapped phases.",
    )
    weighting: Literal["amplitude", "log_intensity", "intensity", "uniform"] = Field(
        "amplitude",
        description="Weight of each voxel, in wca and unwrapped: the root of its counts, as published, "
        "log(1 + counts), as in the published code, its counts, or 1.",
    )
    twins: bool = Field(True, description="Forgive object the twin and a constant phase, which no intensity tells.")
    remove_symmetries: bool = Field(
        False,
        description="Turn and conjugate each label so that its phase is 0 at the peak and positive beside it "
        "(thesis, Fig. 4.5: not enough to be rid of twins).",
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
    """How the network is trained; the keys from `processes` on define no result and retrain nothing."""

    release: Name = Field(description="Release that is trained on.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seeds initial weights, order and augmentation.")
    network: NetworkConfig = Field(default_factory=NetworkConfig)
    slabs: SlabConfig | None = Field(None, description="Left out, the gaps are those in the shards.")
    loss: LossConfig = Field(default_factory=LossConfig, description="Of networks that fill gaps.")
    phase_loss: PhaseLossConfig | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Of networks with rsp in their name; {} for its defaults.",
    )
    simulate: int | None = Field(
        None,
        ge=1,
        le=2**31,
        exclude_if=lambda value: value is None,
        description="Simulate this many training samples anew in every epoch while training, from the release's "
        "campaigns with other seeds, in place of reading those of its train split; for whole patterns of the task "
        "phase. Left out, the shards are read.",
    )
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
    augment: bool = Field(
        True,
        description="Random flips, and swaps of the axes: of the two in the gap's plane, or, for phases, of all.",
    )
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
        if (self.network.task == "phase") != (self.phase_loss is not None):
            raise ValueError(
                "phase_loss goes together with a network with rsp in its name: give both, `phase_loss: {}` for its "
                "defaults, or neither"
            )
        if self.phase_loss and self.loss != LossConfig():
            raise ValueError("loss is that of networks that fill gaps: leave it out, and set phase_loss")
        if self.network.name == "rsp_patches_3d" and (
            self.phase_loss != PhaseLossConfig(weighting=self.phase_loss.weighting if self.phase_loss else "amplitude")
        ):
            raise ValueError("rsp_patches_3d minimises wca alone: leave phase_loss.kind and its options out")
        if self.simulate and (
            not self.phase_loss
            or self.network.name == "rsp_patches_3d"
            or self.phase_loss.kind == "unwrapped"
            or self.phase_loss.remove_symmetries
        ):
            raise ValueError(
                "simulate needs a network for whole phases, and phase_loss without kind unwrapped and "
                "remove_symmetries: leave it out"
            )
        if self.loss.poisson and self.slabs is None:
            raise ValueError("loss.poisson needs counts, and only plane_network works on them: leave it out")
        return self

    def options(self, threads: int) -> list[str]:
        """Return what defines no result as options of `braggworks train`, with the threads that a job was given."""
        names = ("processes", "device", "memory_mb", "readers", "checkpoint_seconds")
        values = {name: getattr(self, name) for name in names} | {"threads": threads}
        return [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]


class StudyConfig(Model):
    """Networks that are trained alike but for some keys of `training`, and their accuracies in one figure."""

    name: Name = Field(description="Name of the study.")
    about: str = Field("", max_length=400, description="Caption of its figure.")
    variants: dict[Name, dict[str, Any]] = Field(
        min_length=2, max_length=20, description="What each variant changes of training, by the variant's name."
    )


def vary(base: TrainingConfig, changes: Mapping[str, Any]) -> TrainingConfig:
    """Return a training with some keys changed, those of its parts one by one.

    Raises
    ------
    pydantic.ValidationError
        If a change is not accepted.
    """
    values = {name: getattr(base, name) for name in base.model_fields_set}
    for name, change in changes.items():
        part = values.get(name)
        if isinstance(part, Model) and isinstance(change, Mapping):
            values[name] = {key: getattr(part, key) for key in part.model_fields_set} | dict(change)
        else:
            values[name] = change
    return TrainingConfig.model_validate(values)
