"""What the trained network is scored against, beyond the width of the gap."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from braggworks.campaigns import MAX_GAP_PX, Model, Name

Width = Annotated[int, Field(ge=1, le=MAX_GAP_PX)]


class PositionSweep(Model):
    """A gap at every place across the held-out samples, and against their oversampling."""

    kind: Literal["position"]
    gap_px: Width = Field(9, description="Width of the gap, in pixels.")
    step_px: int = Field(4, ge=1, le=1024, description="Step between the gap's places, in pixels.")


class OversamplingSweep(Model):
    """Whole patterns of the same particles over one range of q, on finer and finer grids."""

    kind: Literal["oversampling"]
    campaign: Name = Field(description="Campaign of the family atomistic whose first batch holds the particles.")
    ratios: list[Annotated[float, Field(ge=1.5, le=20)]] = Field(
        [2, 3, 4, 5, 6, 7], min_length=1, max_length=20, description="At most the patterns' own."
    )
    patterns: int = Field(1, ge=1, le=1000, description="How many of the batch's patterns, at most.")
    gap_widths_px: list[Width] = Field([3, 6, 9, 12], min_length=1, max_length=20)


class SkippedSweep(Model):
    """Time and error of filling the scan's gap with ever fewer windows, for a network that fills patches."""

    kind: Literal["skipped"]
    skipped_px: list[Annotated[int, Field(ge=0, le=63)]] = Field(
        [0, 1, 2, 4, 8, 16, 30], min_length=1, max_length=20, description="Pixels skipped between windows."
    )


class StrainSweep(Model):
    """Strain that a cross gap feigns in objects without any, and what is left of it when the gap is filled."""

    kind: Literal["strain"]
    campaign: Name = Field(description="Campaign of the family atomistic whose first batch holds the particles.")
    patterns: int = Field(1, ge=1, le=1000, description="How many of the batch's patterns, at most.")
    gap_widths_px: list[Width] = Field([3, 6, 9, 12], min_length=1, max_length=20)
    offset_px: int = Field(8, ge=0, le=1024, description="From the peak to the gap's first pixel.")


AnySweep = Annotated[PositionSweep | OversamplingSweep | SkippedSweep | StrainSweep, Field(discriminator="kind")]
