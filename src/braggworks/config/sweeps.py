"""What the trained network is scored against, beyond the width of the gap."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from braggworks.campaigns import MAX_GAP_PX, Model, Name, check_range
from braggworks.config.phasing import PhasingConfig

Share = Annotated[float, Field(gt=0, lt=1)]
Width = Annotated[int, Field(ge=1, le=MAX_GAP_PX)]


class Sweep(Model):
    """A sweep of any kind."""

    kind: str

    @property
    def name(self) -> str:
        """Name of the sweep among those of a run."""
        return self.kind


class PositionSweep(Sweep):
    """A gap at every place across the held-out samples, and against their oversampling."""

    kind: Literal["position"]
    gap_px: Width = Field(9, description="Width of the gap, in pixels.")
    step_px: int = Field(4, ge=1, le=1024, description="Step between the gap's places, in pixels.")


class OversamplingSweep(Sweep):
    """Whole patterns of the same particles over one range of q, on finer and finer grids."""

    kind: Literal["oversampling"]
    campaign: Name = Field(description="Campaign of the family atomistic whose first batch holds the particles.")
    ratios: list[Annotated[float, Field(ge=1.5, le=20)]] = Field(
        [2, 3, 4, 5, 6, 7], min_length=1, max_length=20, description="At most the patterns' own."
    )
    patterns: int = Field(1, ge=1, le=1000, description="How many of the batch's patterns, at most.")
    gap_widths_px: list[Width] = Field([3, 6, 9, 12], min_length=1, max_length=20)


class SkippedSweep(Sweep):
    """Time and error of filling the scan's gap with ever fewer windows, for a network that fills patches."""

    kind: Literal["skipped"]
    skipped_px: list[Annotated[int, Field(ge=0, le=63)]] = Field(
        [0, 1, 2, 4, 8, 16, 30], min_length=1, max_length=20, description="Pixels skipped between windows."
    )


class StrainSweep(Sweep):
    """Strain that a cross gap feigns in objects without any, and what is left of it when the gap is filled."""

    kind: Literal["strain"]
    campaign: Name = Field(description="Campaign of the family atomistic whose first batch holds the particles.")
    patterns: int = Field(1, ge=1, le=1000, description="How many of the batch's patterns, at most.")
    gap_widths_px: list[Width] = Field([3, 6, 9, 12], min_length=1, max_length=20)
    offset_px: int = Field(8, ge=0, le=1024, description="From the peak to the gap's first pixel.")


class ConsistencySweep(Sweep):
    """Strain that a filled gap feigns, with and without a last step of consistency with the autocorrelation."""

    kind: Literal["consistency"]
    campaign: Name = Field(description="Campaign of the family atomistic whose first batch holds the particles.")
    patterns: int = Field(3, ge=1, le=1000, description="How many of the batch's patterns, at most.")
    ratios: list[Annotated[float, Field(ge=1.5, le=20)]] = Field(
        [3, 6], min_length=1, max_length=20, description="Oversampling ratios, at most the patterns' own."
    )
    gap_widths_px: list[Width] = Field([3, 6, 9, 12], min_length=1, max_length=20)
    offset_px: int = Field(8, ge=0, le=1024, description="From the peak to the gap's first pixel.")


class MaskingSweep(Sweep):
    """Objects phased from patterns with a cross gap that is masked in several ways, zeroed, or filled."""

    kind: Literal["masking"]
    campaign: Name = Field(description="Campaign of the family atomistic whose first batch holds the particles.")
    patterns: int = Field(1, ge=1, le=1000, description="How many of the batch's patterns, at most.")
    gap_px: Width = Field(6, description="Width of both arms of the cross, in pixels.")
    offset_px: int = Field(8, ge=0, le=1024, description="From the peak to the gap's first pixel.")
    starts: int = Field(3, ge=1, le=1000, description="Random starts, of which that of the best free LLK is kept.")
    hio: int = Field(200, ge=0, le=100_000, description="Cycles of hybrid input-output.")
    raar: int = Field(400, ge=0, le=100_000, description="Cycles of relaxed averaged alternating reflections.")
    er: int = Field(100, ge=0, le=100_000, description="Cycles of error reduction.")
    support_threshold: tuple[Share, Share] = Field(
        (0.25, 0.35), description="Shares of the rms modulus above which a voxel stays in the support."
    )
    support_period: int = Field(25, ge=1, le=10_000, description="Cycles between updates of the support.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_range(self.support_threshold, "support_threshold", 0, 1)
        return self


class PhaseSweep(Sweep):
    """A sweep of a network for phases, over the patterns of one campaign; a run may have one for each campaign."""

    campaign: Name = Field(description="Campaign of the task phase, whose first batch is phased.")

    @property
    def name(self) -> str:
        """Name of the sweep among those of a run."""
        return f"{self.kind}-{self.campaign}"


class PhasingSweep(PhaseSweep):
    """Held-out patterns phased by the network, by it and ER, and iteratively, against the phase range."""

    kind: Literal["phasing"]
    patterns: int = Field(120, ge=1, le=100_000, description="How many of the batch's patterns, at most.")
    groups: int = Field(6, ge=1, le=100, description="Groups of equal size by phase range.")
    phasing: PhasingConfig = Field(
        default_factory=lambda: PhasingConfig(starts=5, coherence=False),
        description="Iterative phasing; as many views of the network are refined.",
    )


class StepSweep(PhaseSweep):
    """Particles whose phase grows in steps, of a campaign with body.phase_steps, and the network's phases of each."""

    kind: Literal["steps"]


class ShellSweep(PhaseSweep):
    """Held-out patterns phased patch by patch, scored shell by shell, given what was found within, or the truth."""

    kind: Literal["shells"]
    patterns: int = Field(40, ge=1, le=100_000, description="How many of the batch's patterns, at most.")


AnySweep = Annotated[
    PositionSweep
    | OversamplingSweep
    | SkippedSweep
    | StrainSweep
    | ConsistencySweep
    | MaskingSweep
    | PhasingSweep
    | StepSweep
    | ShellSweep,
    Field(discriminator="kind"),
]
