"""Campaigns: what a campaign file may hold, for each family of particles. Every key has unit, default and bound."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Family = Literal["atomistic", "autophasenn", "shape3d", "polygon2d", "scan"]
Task = Literal["inpaint", "phase"]
Shape = Literal["wulff", "winterbottom", "cube", "octahedron", "random"]
Material = Literal["Au", "Pt", "Pd", "Ni", "Ag", "Cu"]
Engine = Literal["nufft", "pynx"]
FieldKind = Literal["gaussians", "cosines", "random_field", "none"]
GapShape = Literal["vertical", "horizontal", "cross", "tee", "layout"]
Layout = Literal["merlin", "maxipix", "timepix", "eiger2m", "eiger4m", "eiger9m"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Miller = tuple[int, int, int]

# Bounds that keep one mistyped digit from filling a disk.
MAX_GRID = 512
MAX_GAP_PX = 64


class Model(BaseModel):
    """Base of all configuration models: unknown keys refused, values frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _ordered(bounds: tuple[float, float], what: str, least: float, most: float) -> None:
    """Check a range [low, high]. Raises `ValueError`."""
    low, high = bounds
    if low > high:
        raise ValueError(f"{what} is a range [low, high]; got low {low:g} above high {high:g}, so swap the two")
    if not least <= low <= high <= most:
        raise ValueError(f"{what} must lie between {least:g} and {most:g}")


def _check_oversampling(bounds: tuple[float, float]) -> None:
    if bounds[0] <= bounds[1] and bounds[0] < 2:
        raise ValueError(
            f"oversampling starts at {bounds[0]:g}, and below 2 the pattern loses the object (Nyquist): use 2 or more"
        )
    _ordered(bounds, "oversampling", 2, 20)


def _check_reflection(reflection: Miller) -> None:
    if len({index % 2 for index in reflection}) != 1:
        raise ValueError(
            f"reflection {list(reflection)} is forbidden in a face-centred cubic lattice: "
            "use three even or three odd indices, such as [1, 1, 1]"
        )
    if reflection == (0, 0, 0) or max(map(abs, reflection)) > 20:
        raise ValueError(f"reflection {list(reflection)} is out of range: use non-zero indices up to 20")


# --- crystals ---


class CrystalConfig(Model):
    """Which crystals are cut from the lattice."""

    materials: list[Material] = Field(
        ["Au"],
        min_length=1,
        description="Elements of the face-centred cubic crystals, in turn, slower than the shapes.",
    )
    shapes: list[Shape] = Field(["wulff"], min_length=1, description="Shapes, taken in turn by particle index.")
    atoms: tuple[int, int] = Field((2_000, 20_000), description="Smallest and largest number of atoms, log-uniform.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ordered(self.atoms, "atoms", 100, 5_000_000)
        return self


class ClippedCubeConfig(Model):
    """Cubes clipped by random high-symmetry planes (Yao et al. 2022)."""

    materials: list[Material] = Field(["Au"], min_length=1, description="Elements, taken in turn by particle index.")
    edge: float = Field(200.0, ge=20, le=1_000, description="Edge of the cube, in angstrom.")
    facets: tuple[int, int] = Field((4, 20), description="Fewest and most clipping planes.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ordered(self.facets, "facets", 1, 26)
        return self


# --- strain ---

_PRESTRAIN = "Largest component of a random homogeneous strain that is applied before the minimisation."


class FreeStrain(Model):
    """Nothing is held: the particle relaxes to its own minimum, whatever the strain before (a no-op, tested)."""

    protocol: Literal["free"] = "free"
    prestrain: float = Field(0.0, ge=0, le=0.05, description=_PRESTRAIN)


class ClampedStrain(Model):
    """The layer at the interface (or the lowest facet) is held, and with it the in-plane part of the strain."""

    protocol: Literal["clamped"] = "clamped"
    prestrain: float = Field(0.0, ge=0, le=0.05, description=_PRESTRAIN)
    thickness: float = Field(5.0, gt=0, le=1e4, description="Thickness of the held layer, in angstrom.")


class StoppedStrain(Model):
    """The minimisation stops early, so that part of the strain before it remains."""

    protocol: Literal["stopped"] = "stopped"
    prestrain: float = Field(0.01, ge=0, le=0.05, description=_PRESTRAIN)
    steps: tuple[int, int] = Field((5, 50), description="Fewest and most steps of the minimiser, log-uniform.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ordered(self.steps, "steps", 1, 1_000_000)
        return self


class FieldStrain(Model):
    """A smooth displacement field is added after the relaxation of a free particle."""

    protocol: Literal["field"] = "field"
    kinds: list[FieldKind] = Field(
        ["gaussians", "cosines", "random_field"], min_length=1, description="Kinds of field, of which one is drawn."
    )
    displacement: tuple[float, float] = Field(
        (1.0, 6.0), description="Range (largest minus smallest) of each component of the field, in angstrom, uniform."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ordered(self.displacement, "displacement", 0, 100)
        return self


Strain = Annotated[FreeStrain | ClampedStrain | StoppedStrain | FieldStrain, Field(discriminator="protocol")]


class RelaxationConfig(Model):
    """How the particle's energy is minimised, and how it is strained."""

    strain: Strain = Field(default_factory=FreeStrain, description="Strain protocol.")
    potential: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.+-]+$",
        description="EAM file in the LAMMPS distribution's potentials folder; null is <material>_u3.eam.",
    )
    force_tolerance: float = Field(1e-3, gt=0, le=10, description="Stop at this force norm, in eV/angstrom.")
    max_steps: int = Field(3_000, ge=1, le=1_000_000, description="Most minimiser steps.")
    max_evaluations: int = Field(30_000, ge=1, le=10_000_000, description="Most force evaluations.")


# --- diffraction ---


class SamplingConfig(Model):
    """How reciprocal space is sampled."""

    grid: int = Field(64, ge=16, le=MAX_GRID, multiple_of=2, description="Voxels per axis of the pattern.")
    oversampling: tuple[float, float] = Field(
        (2.2, 5.0), description="Oversampling ratio along the largest extent, uniform; patterns below 2 are rejected."
    )
    rotation: Literal["random", "none"] = Field("random", description="Orientation of the grid against the particle.")
    patterns_per_particle: int = Field(1, ge=1, le=10_000, description="Patterns computed from each particle.")

    @model_validator(mode="after")
    def _check_ratio(self) -> Self:
        _check_oversampling(self.oversampling)
        return self


class DiffractionConfig(SamplingConfig):
    """How the diffraction of atoms around a reflection is sampled."""

    engine: Engine = Field("nufft", description="Scattering engine.")
    reflections: list[Miller] = Field(
        [(1, 1, 1)], min_length=1, description="Miller indices hkl; one is drawn for each pattern."
    )
    oversampling: tuple[float, float] = Field(
        (2.2, 5.0),
        description="Oversampling ratio along the largest extent, uniform in this range; the lower bound rises where "
        "another reflection would reach into the grid, and patterns below 2 are rejected.",
    )
    patterns_per_particle: int = Field(4, ge=1, le=10_000, description="Patterns computed from each particle.")

    @model_validator(mode="after")
    def _check_reflections(self) -> Self:
        for reflection in self.reflections:
            _check_reflection(reflection)
        return self


class GriddingConfig(Model):
    """Number density and lattice phase on a coarse grid, transformed by FFT (Yao et al. 2022)."""

    reflections: list[Miller] = Field([(1, 1, 1)], min_length=1, description="Miller indices hkl, one per pattern.")
    bin_size: float = Field(8.0, ge=2, le=100, description="Edge of a voxel of the object, in angstrom.")
    object_grid: int = Field(32, ge=8, le=MAX_GRID, multiple_of=2, description="Voxels per axis of the object.")
    grid: int = Field(64, ge=16, le=MAX_GRID, multiple_of=2, description="Voxels per axis after zero-padding.")
    rotation: Literal["random", "none"] = Field("random", description="Orientation of the grid against the particle.")
    patterns_per_particle: int = Field(2, ge=1, le=10_000, description="Patterns (rotations) of each particle.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for reflection in self.reflections:
            _check_reflection(reflection)
        if self.grid < 2 * self.object_grid:
            raise ValueError(
                f"grid {self.grid} is less than twice object_grid {self.object_grid}, so that the pattern would be "
                f"undersampled: use {2 * self.object_grid} or more"
            )
        return self


# --- particles without atoms ---


class BodyConfig(Model):
    """Homogeneous bodies with an analytic phase, for the families shape3d and polygon2d."""

    phases: list[FieldKind] = Field(
        ["gaussians", "cosines", "random_field"], min_length=1, description="Phase fields, in turn by particle index."
    )
    phase_range: tuple[float, float] = Field(
        (6.2832, 15.708), description="Largest minus smallest phase inside the body, in radians, uniform."
    )
    correlation: tuple[float, float] = Field(
        (0.2, 0.6), description="Correlation length of the random field, in units of the body's largest extent."
    )
    edge_px: tuple[float, float] = Field(
        (0.5, 0.5), description="Standard deviation of the Gaussian that smooths the surface, in voxels, uniform."
    )
    modulus_noise: tuple[float, float] = Field(
        (0.0, 0.0), description="Standard deviation of Gaussian noise on the modulus, relative, uniform."
    )

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        _ordered(self.phase_range, "phase_range", 0, 100)
        _ordered(self.correlation, "correlation", 0.02, 5)
        _ordered(self.edge_px, "edge_px", 0.1, 8)
        _ordered(self.modulus_noise, "modulus_noise", 0, 0.5)
        return self


class PolyhedronConfig(BodyConfig):
    """Polyhedra of crystal shapes."""

    shapes: list[Shape] = Field(
        ["wulff", "winterbottom", "cube", "octahedron", "random"], min_length=1, description="Shapes, in turn."
    )
    material: Material = Field("Au", description="Element whose surface energies give the equilibrium shapes.")


class PolygonConfig(BodyConfig):
    """Convex hulls of random points in the plane."""

    points: tuple[int, int] = Field((5, 20), description="Fewest and most random points of which the hull is taken.")

    @model_validator(mode="after")
    def _check_points(self) -> Self:
        _ordered(self.points, "points", 3, 1_000)
        return self


# --- detector and samples ---


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
        _ordered(self.total_counts, "total_counts", 1, 1e12)
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


# --- the families ---


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


def _check_grid(patches: PatchConfig, grid: int, where: str) -> None:
    if patches.size > grid:
        raise ValueError(f"patches.size {patches.size} exceeds {where} {grid}: use a smaller patch or a larger grid")
    if patches.size == grid and patches.per_pattern > 1:
        raise ValueError(
            f"patches.size {patches.size} is the whole pattern, so that {patches.per_pattern} patches would be equal: "
            "use per_pattern 1"
        )


class AtomisticCampaign(CampaignBase):
    """Crystals cut from the lattice, relaxed with LAMMPS, and summed atom by atom."""

    family: Literal["atomistic"]
    crystal: CrystalConfig = Field(default_factory=CrystalConfig)
    relaxation: RelaxationConfig = Field(default_factory=RelaxationConfig)
    diffraction: DiffractionConfig = Field(default_factory=DiffractionConfig)
    detector: DetectorConfig = Field(default_factory=DetectorConfig)

    @model_validator(mode="after")
    def _check_family(self) -> Self:
        _check_grid(self.patches, self.diffraction.grid, "diffraction.grid")
        return self


class AutophasennCampaign(CampaignBase):
    """Clipped cubes, strained and relaxed, as density and lattice phase on a coarse grid (Yao et al. 2022)."""

    family: Literal["autophasenn"]
    crystal: ClippedCubeConfig = Field(default_factory=ClippedCubeConfig)
    relaxation: RelaxationConfig = Field(default_factory=RelaxationConfig)
    diffraction: GriddingConfig = Field(default_factory=GriddingConfig)
    detector: DetectorConfig = Field(default_factory=DetectorConfig)

    @model_validator(mode="after")
    def _check_family(self) -> Self:
        _check_grid(self.patches, self.diffraction.grid, "diffraction.grid")
        return self


class Shape3dCampaign(CampaignBase):
    """Polyhedra with an analytic phase on a grid."""

    family: Literal["shape3d"]
    body: PolyhedronConfig = Field(default_factory=PolyhedronConfig)
    sampling: SamplingConfig = Field(default_factory=SamplingConfig)
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where torch computes the objects and transforms.")
    detector: DetectorConfig = Field(default_factory=DetectorConfig)

    @model_validator(mode="after")
    def _check_family(self) -> Self:
        _check_grid(self.patches, self.sampling.grid, "sampling.grid")
        return self


class Polygon2dCampaign(CampaignBase):
    """Polygons with an analytic phase on a grid."""

    family: Literal["polygon2d"]
    body: PolygonConfig = Field(default_factory=PolygonConfig)
    sampling: SamplingConfig = Field(default_factory=SamplingConfig)
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where torch computes the objects and transforms.")
    detector: DetectorConfig = Field(default_factory=DetectorConfig)

    @model_validator(mode="after")
    def _check_family(self) -> Self:
        _check_grid(self.patches, self.sampling.grid, "sampling.grid")
        return self

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
