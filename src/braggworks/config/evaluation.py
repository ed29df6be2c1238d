"""What is scored, compared and drawn."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from braggworks.campaigns import MAX_GAP_PX, MAX_GRID, Model, Name
from braggworks.config.phasing import PhasingConfig

Interpolation = Literal["nearest", "linear", "cubic"]


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
    phasing: PhasingConfig | None = Field(None, description="Phases the filled scan; left out, it is not.")
    simulated: Name = Field(description="Campaign of whose held-out particles one stands in where the file is absent.")

    def without_phasing(self) -> ScanConfig:
        """Return what preparing the scan and filling its gap depend on."""
        return self.model_copy(update={"phasing": None})


class FigureConfig(Model):
    """How figures look."""

    dpi: int = Field(150, ge=50, le=600, description="Resolution, in dots per inch.")
    intensity_cmap: str = Field("viridis", description="Perceptually uniform map for log intensity.")
    phase_cmap: str = Field("twilight", description="Cyclic map for phase.")
