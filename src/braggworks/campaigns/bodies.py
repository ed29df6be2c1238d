"""Particles without atoms: bodies on a grid, with an analytic phase."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from braggworks.campaigns.base import FieldKind, Material, Model, Shape, check_range


class BodyConfig(Model):
    """Homogeneous bodies with an analytic phase, for the families shape3d and polygon2d."""

    phases: list[FieldKind] = Field(
        ["gaussians", "cosines", "random_field"], min_length=1, description="Phase fields, in turn by particle index."
    )
    phase_range: tuple[float, float] = Field(
        (6.2832, 15.708), description="Largest minus smallest phase inside the body, in radians, uniform."
    )
    phase_steps: bool = Field(
        False,
        exclude_if=lambda value: not value,
        description="Give a particle's patterns one view, and phases that rise evenly over phase_range, in place of a "
        "view each and one phase.",
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
        check_range(self.phase_range, "phase_range", 0, 100)
        check_range(self.correlation, "correlation", 0.02, 5)
        check_range(self.edge_px, "edge_px", 0.1, 8)
        check_range(self.modulus_noise, "modulus_noise", 0, 0.5)
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
        check_range(self.points, "points", 3, 1_000)
        return self
