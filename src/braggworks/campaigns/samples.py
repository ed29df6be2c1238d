"""Samples: what the detector adds, how patches are cut, and which gaps they get."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from braggworks.campaigns.base import MAX_GAP_PX, MAX_GRID, GapShape, Layout, Model, check_range


class DetectorConfig(Model):
    """What the detector adds."""

    total_counts: tuple[float, float] = Field(
        (1e6, 1e8), description="Photons in the whole pattern, log-uniform in this range; Poisson noise follows."
    )
    dead_fraction: float = Field(
        0.0, ge=0, le=0.05, description="Share of detector pixels that count nothing; the mask holds them."
    )
    hot_fraction: float = Field(
        0.0, ge=0, le=0.05, description="Share of detector pixels that count far too much; the mask holds them."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_range(self.total_counts, "total_counts", 1, 1e12)
        return self


class PatchConfig(Model):
    """How training samples are cut from patterns; a patch of the pattern's size is the whole pattern."""

    size: int = Field(32, ge=8, le=MAX_GRID, multiple_of=2, description="Voxels per axis of a patch.")
    per_pattern: int = Field(8, ge=1, le=10_000, description="Patches cut from each pattern.")
    outward_bias: float = Field(
        1.0, ge=0, le=8, description="Density of patch centres grows as (distance from the peak)^bias; 0 is uniform."
    )
    minimum_counts: int = Field(100, ge=0, description="Patches with fewer counts are drawn again.")


class GapConfig(Model):
    """Detector gaps of the samples of the task inpaint."""

    shapes: dict[GapShape, float] = Field(
        {"vertical": 5.0, "cross": 1.0}, min_length=1, description="Parts of the samples by the gap's shape."
    )
    widths_px: list[Annotated[int, Field(ge=1, le=MAX_GAP_PX)]] = Field(
        [3, 6, 9, 12], min_length=1, description="Gap widths, in pixels, in equal parts (not for layouts)."
    )
    position: Literal["centre", "anywhere"] = Field(
        "centre", description="Place of a vertical gap along x; the second arm of a cross or tee is always drawn."
    )
    layouts: list[Layout] = Field(
        ["maxipix", "eiger2m"],
        min_length=1,
        description="Detectors whose gaps the shape 'layout' takes, in equal parts.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not all(0 <= weight <= 1e6 for weight in self.shapes.values()) or not any(self.shapes.values()):
            raise ValueError("shapes must hold parts between 0 and 1e6, and not all 0")
        return self
