"""How a scan is phased."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from braggworks.campaigns import MAX_GRID, Model, check_range

MAX_VIEWS = 48  # of a cube: mirrored along three axes, which have six orders
Share = Annotated[float, Field(gt=0, lt=1)]
Cycles = Annotated[int, Field(ge=0, le=1_000_000)]


class PhasingConfig(Model):
    """Phase retrieval from several starts, and the best of them."""

    method: Literal["iterative", "pynx", "rsp+er"] = Field(
        "iterative",
        description="iterative: our own, in torch; pynx: PyNX's; rsp+er: a network's object, refined by ER alone.",
    )
    crop_px: int = Field(128, ge=16, le=MAX_GRID, description="Voxels per axis around the peak, at most.")
    bins: tuple[int, int, int] | None = Field(
        None,
        description="Voxels to sum along rocking angle, rows and columns; left out, as oversampling allows.",
    )
    starts: int = Field(
        10, ge=1, le=1000, description="Random starts, or mirrored views that the network of rsp+er sees."
    )
    best: int = Field(3, ge=1, le=1000, description="Runs that are combined.")
    by: Literal["free_llk", "mean_to_max"] = Field("free_llk", description="What makes a run good.")
    seed: int = Field(0, ge=0, lt=2**31, description="Of the starts.")
    hio: Cycles = Field(400, description="Cycles of hybrid input-output.")
    raar: Cycles = Field(1000, description="Cycles of relaxed averaged alternating reflections.")
    er: Cycles = Field(300, description="Cycles of error reduction.")
    refine_hio: tuple[Cycles, ...] = Field(
        (0,),
        min_length=1,
        max_length=MAX_VIEWS,
        exclude_if=lambda value: not any(value),
        description="Cycles of hybrid input-output between the network and ER, in rsp+er (not published); views take "
        "several numbers in turn.",
    )
    detwin: Cycles = Field(20, description="Cycles of hybrid input-output in half the support, against the twin.")
    support_threshold: tuple[Share, Share] = Field(
        (0.3, 0.4), description="Shares of the rms modulus above which a voxel stays; each start draws its own."
    )
    support_smooth_px: tuple[float, float] = Field((2.0, 1.0), description="Smoothing, first and after 600 cycles.")
    support_period: int = Field(25, ge=1, le=1_000_000, description="Cycles between updates of the support.")
    support_border_px: int = Field(0, ge=0, le=64, description="Change only what is this near to the border; 0: all.")
    support_expand_px: tuple[Annotated[int, Field(ge=-16, le=16)], ...] = Field(
        (), max_length=8, description="Growth (or shrinkage, negative) after each update, one after the other."
    )
    coherence: bool = Field(True, description="Fit partial coherence, from the end of HIO on.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_range(self.support_threshold, "support_threshold", 0, 1)
        check_range(self.support_smooth_px[::-1], "support_smooth_px, reversed,", 0.1, 20)
        if self.bins and not all(1 <= each <= MAX_GRID for each in self.bins):
            raise ValueError("bins holds a number below 1: give voxels to sum along each axis")
        if self.best > self.starts:
            raise ValueError(f"best {self.best} is more than starts {self.starts}: keep fewer runs, or start more")
        if self.method == "rsp+er" and self.starts > MAX_VIEWS:
            raise ValueError(f"starts {self.starts} is more than the {MAX_VIEWS} views that rsp+er has: ask for fewer")
        if self.method == "rsp+er" and not self.er:
            raise ValueError("er is 0, and rsp+er refines by ER alone: ask for some cycles")
        if self.method != "rsp+er" and any(self.refine_hio):
            raise ValueError(f"refine_hio is for rsp+er, and the method is {self.method}: leave it out")
        if len(self.refine_hio) > self.starts:
            raise ValueError(
                f"refine_hio has {len(self.refine_hio)} numbers for {self.starts} views: give fewer, or raise starts"
            )
        if not self.hio + self.raar + self.er:
            raise ValueError("hio, raar and er are all 0: ask for some cycles")
        return self
