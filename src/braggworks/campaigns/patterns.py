"""Diffraction: how reciprocal space is sampled."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from braggworks.campaigns.base import MAX_GRID, Engine, Miller, Model, check_range


def _check_oversampling(bounds: tuple[float, float]) -> None:
    if bounds[0] <= bounds[1] and bounds[0] < 2:
        raise ValueError(
            f"oversampling starts at {bounds[0]:g}, and below 2 the pattern loses the object (Nyquist): use 2 or more"
        )
    check_range(bounds, "oversampling", 2, 20)


def _check_reflection(reflection: Miller) -> None:
    if len({index % 2 for index in reflection}) != 1:
        raise ValueError(
            f"reflection {list(reflection)} is forbidden in a face-centred cubic lattice: "
            "use three even or three odd indices, such as [1, 1, 1]"
        )
    if reflection == (0, 0, 0) or max(map(abs, reflection)) > 20:
        raise ValueError(f"reflection {list(reflection)} is out of range: use non-zero indices up to 20")


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
