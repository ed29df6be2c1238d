"""What all models of a campaign file share: names, bounds, and the refusal of unknown keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

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


def check_range(bounds: tuple[float, float], what: str, least: float, most: float) -> None:
    """Check a range [low, high]. Raises `ValueError`."""
    low, high = bounds
    if low > high:
        raise ValueError(f"{what} is a range [low, high]; got low {low:g} above high {high:g}, so swap the two")
    if not least <= low <= high <= most:
        raise ValueError(f"{what} must lie between {least:g} and {most:g}")
