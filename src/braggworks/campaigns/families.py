"""The families of campaigns: what a campaign file holds as a whole."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from braggworks.campaigns.base import Model, Name, Task
from braggworks.campaigns.bodies import PolygonConfig, PolyhedronConfig
from braggworks.campaigns.crystals import ClippedCubeConfig, CrystalConfig, RelaxationConfig
from braggworks.campaigns.patterns import DiffractionConfig, GriddingConfig, SamplingConfig
from braggworks.campaigns.samples import DetectorConfig, GapConfig, PatchConfig


class CampaignBase(Model):
    """What every campaign has: an immutable recipe that generates samples."""

    name: Name = Field(description="The campaign's name; taken from the file name.")
    seed: int = Field(0, ge=0, lt=2**63, description="Part of every particle's identity.")
    count: int = Field(ge=1, le=10_000_000, description="Number of particles.")
    batch_size: int = Field(ge=1, le=100_000, description="Particles per job and file.")
    task: Task = Field("inpaint", description="inpaint: counts and a gap mask; phase: counts and the phase (RSP).")
    patches: PatchConfig = Field(default_factory=PatchConfig)
    gaps: GapConfig = Field(default_factory=GapConfig)

    @model_validator(mode="after")
    def _check_campaign(self) -> Self:
        if self.count % self.batch_size:
            near = -(-self.count // self.batch_size) * self.batch_size
            raise ValueError(
                f"count {self.count} is no multiple of batch_size {self.batch_size}, so that a later, larger count "
                f"would change the last batch: use count {near}"
            )
        if self.task == "inpaint":
            self._check_gaps()
        return self

    def _check_gaps(self) -> None:
        for width in self.gaps.widths_px:
            if not 1 <= width <= self.patches.size - 4:
                raise ValueError(
                    f"gaps.widths_px holds {width}, which leaves no measured border in a patch of "
                    f"{self.patches.size} px: use 1 to {self.patches.size - 4}, or a larger patches.size"
                )

    @property
    def batches(self) -> int:
        """Number of batches."""
        return self.count // self.batch_size

    @property
    def ndim(self) -> int:
        """Axes of a sample."""
        return 3


class SimulatedCampaign(CampaignBase):
    """A campaign whose patterns are computed on a grid, and then detected."""

    detector: DetectorConfig = Field(default_factory=DetectorConfig)

    @property
    @abstractmethod
    def pattern_grid(self) -> tuple[str, int]:
        """Key of the pattern's voxels per axis, and their number."""

    @model_validator(mode="after")
    def _check_grid(self) -> Self:
        where, grid = self.pattern_grid
        size, number = self.patches.size, self.patches.per_pattern
        if size > grid:
            raise ValueError(f"patches.size {size} exceeds {where} {grid}: use a smaller patch or a larger grid")
        if size == grid and number > 1:
            raise ValueError(
                f"patches.size {size} is the whole pattern, so that {number} patches would be equal: use per_pattern 1"
            )
        return self


class RelaxedCampaign(SimulatedCampaign):
    """A campaign of crystals that are strained and relaxed with LAMMPS."""

    relaxation: RelaxationConfig = Field(default_factory=RelaxationConfig)
    diffraction: DiffractionConfig | GriddingConfig

    @property
    def pattern_grid(self) -> tuple[str, int]:
        """Key of the pattern's voxels per axis, and their number."""
        return "diffraction.grid", self.diffraction.grid


class AtomisticCampaign(RelaxedCampaign):
    """Crystals cut from the lattice, relaxed with LAMMPS, and summed atom by atom."""

    family: Literal["atomistic"]
    crystal: CrystalConfig = Field(default_factory=CrystalConfig)
    diffraction: DiffractionConfig = Field(default_factory=DiffractionConfig)


class AutophasennCampaign(RelaxedCampaign):
    """Clipped cubes, strained and relaxed, as density and lattice phase on a coarse grid (Yao et al. 2022)."""

    family: Literal["autophasenn"]
    crystal: ClippedCubeConfig = Field(default_factory=ClippedCubeConfig)
    diffraction: GriddingConfig = Field(default_factory=GriddingConfig)


class BodyCampaign(SimulatedCampaign):
    """A campaign of bodies without atoms, which torch puts on a grid."""

    sampling: SamplingConfig = Field(default_factory=SamplingConfig)
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where torch computes the objects and transforms.")

    @property
    def pattern_grid(self) -> tuple[str, int]:
        """Key of the pattern's voxels per axis, and their number."""
        return "sampling.grid", self.sampling.grid


class Shape3dCampaign(BodyCampaign):
    """Polyhedra with an analytic phase on a grid."""

    family: Literal["shape3d"]
    body: PolyhedronConfig = Field(default_factory=PolyhedronConfig)


class Polygon2dCampaign(BodyCampaign):
    """Polygons with an analytic phase on a grid."""

    family: Literal["polygon2d"]
    body: PolygonConfig = Field(default_factory=PolygonConfig)

    @property
    def ndim(self) -> int:
        """Axes of a sample."""
        return 2


class ScanCampaign(CampaignBase):
    """Patches of measured scans that hold no gap and no bad pixel of their own; a scan counts as one particle."""

    family: Literal["scan"]
    scans: list[str] = Field(
        min_length=1, description="Files, absolute or in the folder BRAGGWORKS_TEST_DATA; one per particle index."
    )

    @model_validator(mode="after")
    def _check_family(self) -> Self:
        if self.count != len(self.scans):
            raise ValueError(f"count {self.count} must be the number of scans, {len(self.scans)}")
        if self.task != "inpaint":
            raise ValueError("task must be inpaint, because no detector records the phase")
        return self


Campaign = AtomisticCampaign | AutophasennCampaign | Shape3dCampaign | Polygon2dCampaign | ScanCampaign
AnyCampaign = Annotated[Campaign, Field(discriminator="family")]
FAMILIES: dict[str, type[CampaignBase]] = {
    "atomistic": AtomisticCampaign,
    "autophasenn": AutophasennCampaign,
    "shape3d": Shape3dCampaign,
    "polygon2d": Polygon2dCampaign,
    "scan": ScanCampaign,
}
