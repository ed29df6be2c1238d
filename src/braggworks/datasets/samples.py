"""From a pattern to training samples: where patches are cut, and which gap each one gets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from braggworks.datasets.gaps import NO_GAP, plan_gaps
from braggworks.datasets.patches import choose_corners, extract
from braggworks.seeds import generator

if TYPE_CHECKING:
    from braggworks.campaigns import Family
    from braggworks.recipes import SamplesRecipe

# Phases are kept as whole parts of a half turn, so that they wrap where the angle does.
PHASE_STEPS = 32768

# Voxels of samples that are in memory together.
_MOST_VOXELS = 1 << 22

# One value per sample: name and type; corner and oversampling have one per axis, gap_start has two.
COLUMNS: dict[str, str] = {
    "particle": "i8",
    "pattern": "i4",
    "corner": "i4",
    "gap_shape": "u1",
    "gap_width": "i4",
    "gap_start": "i4",
    "masked": "i8",
    "oversampling": "f4",
    "total_counts": "f8",
    "phase_range": "f4",
    "gradient": "f4",
}
#: Further columns of some families.
ATOM_COLUMNS: dict[str, str] = {"strain": "f4", "atoms": "i8"}

Samples = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Pattern:
    """One pattern as the detector counted it, with 2 (y, x) or 3 axes (z, y, x).

    Parameters
    ----------
    counts
        Counts, uint32, the peak at voxel n//2; for the task inpaint complete also where `bad` is true.
    phase
        Reciprocal-space phase in radians, of the shape of `counts`; None for the task inpaint.
    bad
        (y, x), true at dead and hot pixels; None for none.
    values
        ``oversampling`` (one number, or one per axis), ``total_counts`` (photons), ``phase_range`` (rad),
        ``gradient`` (rad per voxel), and those of `ATOM_COLUMNS` for the families of atoms.
    unmeasured
        True at voxels of a scan that no patch may hold; None for none.
    peak
        Voxel of the peak where it is not n//2.
    """

    counts: NDArray[np.uint32]
    phase: NDArray[np.floating] | None = None
    bad: NDArray[np.bool_] | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    unmeasured: NDArray[np.bool_] | None = None
    peak: tuple[int, ...] | None = None


def columns_of(family: Family) -> dict[str, str]:
    """Return names and types of the per-sample values of a family's shards."""
    return COLUMNS | (ATOM_COLUMNS if family in {"atomistic", "autophasenn"} else {})


def holds_mask(recipe: SamplesRecipe) -> bool:
    """Return whether samples have a mask: gaps for the task inpaint, else only dead and hot pixels."""
    detector = getattr(recipe, "detector", None)
    bad = detector is not None and (detector.dead_fraction > 0 or detector.hot_fraction > 0)
    return recipe.task == "inpaint" or bad


def encode_phase(phase: NDArray[np.floating]) -> NDArray[np.int16]:
    """Return angles in radians as multiples of pi / 32768, wrapped to [-pi, pi). Raises `ValueError` if not finite."""
    if not np.isfinite(phase).all():
        raise ValueError("a phase must be finite")
    # Whole numbers lose their high bits on the way to 16, which is the wrap.
    return np.rint(np.asarray(phase, np.float64) * (PHASE_STEPS / np.pi)).astype(np.int64).astype(np.int16)


def decode_phase(stored: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return what `encode_phase` stored, in radians, in [-pi, pi), float32."""
    return stored.astype(np.float32) * np.float32(np.pi / PHASE_STEPS)


def particle_samples(
    index: int, patterns: Iterable[Pattern], count: int, recipe: SamplesRecipe, ndim: int
) -> Iterator[Samples]:
    """Yield the samples of each pattern of one particle, some at a time.

    Corners and gaps come from the particle's own random numbers, purpose "patches", in this order: all of its gaps,
    then the corners of each pattern.

    Parameters
    ----------
    index
        Index of the particle in its campaign.
    patterns
        Its patterns.
    count
        How many there are.
    recipe
        Task, patches and gaps.
    ndim
        Axes of a pattern.

    Yields
    ------
    dict
        Counts, mask and phase, (k, p, ...) each, as far as the task has them, and the values of `columns_of`.

    Raises
    ------
    ValueError
        If a pattern or its values do not fit.
    ConfigError
        If patches do not fit in the patterns, or gaps in the patches.
    """
    cut = recipe.patches
    rng = generator(recipe.campaign, recipe.seed, index, "patches")
    gaps = plan_gaps(index, count * cut.per_pattern, recipe.gaps, cut.size, rng) if recipe.gaps else None
    step = max(1, _MOST_VOXELS // cut.size**ndim)
    number = 0
    for number, pattern in enumerate(patterns, 1):
        _check(pattern, number, count, recipe, ndim)
        corners = choose_corners(
            pattern.counts,
            cut.size,
            cut.per_pattern,
            bias=cut.outward_bias,
            minimum=cut.minimum_counts,
            rng=rng,
            peak=pattern.peak,
            unmeasured=pattern.unmeasured,
        )
        for first in range(0, cut.per_pattern, step):
            part = corners[first : first + step]
            place = (number - 1) * cut.per_pattern + first
            rows = slice(place, place + len(part))
            samples = _voxels(pattern, part, gaps.planes(rows) if gaps else None, recipe)
            given = {
                "particle": index,
                "pattern": number - 1,
                "corner": part,
                "gap_shape": gaps.shape[rows] if gaps else NO_GAP,
                "gap_width": gaps.width[rows] if gaps else 0,
                "gap_start": gaps.start[rows] if gaps else -1,
                "masked": np.count_nonzero(samples["mask"], axis=tuple(range(1, ndim + 1))) if "mask" in samples else 0,
            }
            yield samples | _columns({**given, **pattern.values}, len(part), ndim, recipe)
    if number != count:
        raise ValueError(f"particle {index} has {number} patterns instead of {count}")


def _check(pattern: Pattern, number: int, count: int, recipe: SamplesRecipe, ndim: int) -> None:
    shape = pattern.counts.shape
    if number > count or len(shape) != ndim or pattern.counts.dtype != np.uint32:
        raise ValueError(f"pattern {number - 1} is no array of {ndim} axes and type uint32, or one too many")
    if (pattern.phase is None) != (recipe.task == "inpaint") or (
        pattern.phase is not None and pattern.phase.shape != shape
    ):
        raise ValueError(f"pattern {number - 1} must have a phase of its shape for the task phase, and only then")
    if pattern.bad is not None and pattern.bad.shape != shape[-2:]:
        raise ValueError(f"the bad pixels of pattern {number - 1} are not those of a frame")


def _voxels(
    pattern: Pattern, corners: NDArray[np.int64], planes: NDArray[np.bool_] | None, recipe: SamplesRecipe
) -> Samples:
    """Return counts, and mask and phase where the task has them; `planes` are the gaps, (k, p, p)."""
    size, ndim = recipe.patches.size, pattern.counts.ndim
    samples: Samples = {"counts": extract(pattern.counts, corners, size)}
    if pattern.phase is not None:
        samples["phase"] = extract(encode_phase(pattern.phase), corners, size)
    if holds_mask(recipe):
        masks = np.zeros((len(corners), size, size), bool) if planes is None else planes
        if pattern.bad is not None:
            masks = masks | extract(pattern.bad, corners[:, -2:], size)
        samples["mask"] = over_leading_axes(masks, ndim)
    return samples


def _columns(given: Mapping[str, Any], k: int, ndim: int, recipe: SamplesRecipe) -> Samples:
    """Return k rows of every column; a value that is the same for all rows is repeated."""
    widths = {"corner": (ndim,), "oversampling": (ndim,), "gap_start": (2,)}
    columns = columns_of(recipe.family)
    missing = columns.keys() - given.keys()
    if missing:
        raise ValueError(f"a pattern has no value {min(missing)!r}")
    return {
        name: np.broadcast_to(np.asarray(given[name]), (k, *widths.get(name, ()))).astype(kind)
        for name, kind in columns.items()
    }


def over_leading_axes(planes: NDArray[np.bool_], ndim: int) -> NDArray[np.uint8]:
    """Extend (k, p, p) detector planes over the leading axes of samples with `ndim` axes, as 0 and 1."""
    k, p, _ = planes.shape
    wide = planes.reshape(k, *(1,) * (ndim - 2), p, p).astype(np.uint8)
    return np.broadcast_to(wide, (k, *(p,) * ndim))
