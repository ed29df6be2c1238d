"""Crystals with atoms: which are cut, how they are strained, and how they are relaxed."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from braggworks.campaigns.base import FieldKind, Material, Model, Shape, check_range


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
        check_range(self.atoms, "atoms", 100, 5_000_000)
        return self


class ClippedCubeConfig(Model):
    """Cubes clipped by random high-symmetry planes (Yao et al. 2022)."""

    materials: list[Material] = Field(["Au"], min_length=1, description="Elements, taken in turn by particle index.")
    edge: float = Field(200.0, ge=20, le=1_000, description="Edge of the cube, in angstrom.")
    facets: tuple[int, int] = Field((4, 20), description="Fewest and most clipping planes.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_range(self.facets, "facets", 1, 26)
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
        check_range(self.steps, "steps", 1, 1_000_000)
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
        check_range(self.displacement, "displacement", 0, 100)
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
