"""From a recipe to the patterns of the families without atoms: draws by identity, rejection, and a pattern's steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from braggworks.campaigns import PolygonConfig
from braggworks.diffraction.detector import detect
from braggworks.diffraction.gridded import Draw, Objects, box_size, make_objects
from braggworks.errors import ConfigError
from braggworks.particles.bodies import Particle, draw_particle, draw_view
from braggworks.recipes import SimulateRecipe
from braggworks.seeds import generator

#: Least oversampling along every axis, as measured on the grid (Nyquist).
MIN_OVERSAMPLING = 2.0
#: Views of one pattern that may be rejected one after the other.
MAX_REJECTED = 100

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Exposure:
    """One pattern before the detector.

    Attributes
    ----------
    intensity
        |F|^2, shape (n, ..., n), axes (y, x) or (z, y, x), peak at voxel n//2, float32.
    rsp
        Reciprocal-space phase, same shape, in radians; None where it is not asked for.
    oversampling
        As measured on the grid, shape (ndim,), in the order of the axes.
    phase_range, gradient
        Of the object; see `braggworks.diffraction.gridded.Objects`.
    """

    intensity: FloatArray
    rsp: FloatArray | None
    oversampling: FloatArray
    phase_range: float
    gradient: float


@dataclass(frozen=True, eq=False)
class Simulated:
    """The patterns of one particle, and how many views were rejected on the way."""

    index: int
    exposures: list[Exposure]
    rejected: int


@dataclass(frozen=True, eq=False)
class Steps:
    """How one pattern comes about; all on the grid, shape (n, ..., n).

    Attributes
    ----------
    body
        The body with a sharp edge: 1 inside, 0 outside.
    phase
        In radians; 0 outside the support.
    smoothed, modulus
        Occupancy with its smooth edge, and with the noise.
    intensity
        |F|^2 of the object padded to the grid.
    counts
        What the detector counts.
    oversampling
        As measured on the grid, shape (ndim,), in the order of the axes.
    total_counts
        Photons asked for.
    """

    body: FloatArray
    phase: FloatArray
    smoothed: FloatArray
    modulus: FloatArray
    intensity: FloatArray
    counts: NDArray[np.uint32]
    oversampling: FloatArray
    total_counts: float


class PatternDraw:
    """One pattern that is yet to be made: draws views until one is sampled well enough."""

    def __init__(self, recipe: SimulateRecipe, index: int, number: int, particle: Particle) -> None:
        self.recipe, self.index, self.number, self.particle = recipe, index, number, particle
        view = 0 if recipe.body.phase_steps else number
        self.rng = generator(recipe.campaign, recipe.seed, index, "view", view)
        self.rejected = 0

    def draw(self) -> Draw:
        """Draw a view, and noise where the particle has any."""
        n, ndim = self.recipe.sampling.grid, self.particle.body.ndim
        view = draw_view(self.recipe.sampling, ndim, self.rng)
        if not self.particle.noise:
            return Draw(self.particle, view)
        shape = (box_size(self.particle, view, n),) * ndim
        return Draw(self.particle, view, self.rng.standard_normal(shape, dtype=np.float32))

    def reject(self) -> None:
        """Count a rejected view. Raises `ConfigError` after too many."""
        self.rejected += 1
        if self.rejected >= MAX_REJECTED:
            raise ConfigError(
                f"Particle {self.index} of campaign {self.recipe.campaign}: {MAX_REJECTED} views in a row are "
                f"oversampled less than {MIN_OVERSAMPLING:g} times along an axis: raise the lower bound of "
                "sampling.oversampling."
            )


def dimensions(recipe: SimulateRecipe) -> int:
    """Return the number of dimensions of a recipe's patterns."""
    return 2 if isinstance(recipe.body, PolygonConfig) else 3


def simulate(
    recipe: SimulateRecipe,
    indices: Sequence[int],
    device: str = "cpu",
    together: int = 1,
    dtype: torch.dtype = torch.float32,
) -> list[Simulated]:
    """Simulate the patterns of a few particles.

    Parameters
    ----------
    recipe
        Bodies and sampling; a pattern depends on campaign, seed, index and its number alone.
    indices
        The particles.
    device
        Torch's name of where to compute.
    together
        Patterns that are computed at once: 1 suits a CPU's caches, some dozens a GPU.
    dtype
        Precision. In float32 the amplitude is within 2e-5 of the peak of that in float64, and so it is on a GPU.

    Raises
    ------
    ConfigError
        If a pattern's views are rejected `MAX_REJECTED` times in a row.
    """
    every = [pattern for index in indices for pattern in drawn_patterns(recipe, index)]
    done = dict[tuple[int, int], Exposure]()
    for patterns, objects in sound_objects(every, device, together, dtype):
        for pattern, exposure in zip(patterns, _expose(objects, recipe), strict=True):
            done[pattern.index, pattern.number] = exposure
    each = range(recipe.sampling.patterns_per_particle)
    rejected = {index: sum(pattern.rejected for pattern in every if pattern.index == index) for index in indices}
    return [Simulated(index, [done[index, number] for number in each], rejected[index]) for index in indices]


def sound_objects(
    patterns: Sequence[PatternDraw], device: str = "cpu", together: int = 1, dtype: torch.dtype = torch.float32
) -> Iterator[tuple[list[PatternDraw], Objects]]:
    """Yield objects of patterns of one grid, a few at once and not in order, drawn again where sampled too coarsely.

    Parameters
    ----------
    patterns
        What is to be made.
    device, together, dtype
        As for `simulate`.

    Raises
    ------
    ConfigError
        As `simulate` does.
    """
    waiting = list(patterns)
    while waiting:
        batch, waiting = waiting[:together], waiting[together:]
        objects = make_objects([pattern.draw() for pattern in batch], batch[0].recipe.sampling.grid, device, dtype)
        sound = objects.oversampling.min(axis=1) >= MIN_OVERSAMPLING
        for row in np.flatnonzero(~sound):
            batch[row].reject()
            waiting.insert(0, batch[row])
        if sound.any():
            rows = np.flatnonzero(sound)
            yield [batch[row] for row in rows], objects.select(rows)


def pattern_steps(recipe: SimulateRecipe, index: int) -> Steps:
    """Return the steps of the first pattern of a particle, with the numbers that `simulate` draws for it.

    Parameters
    ----------
    recipe
        Bodies, sampling and detector.
    index
        The particle.

    Raises
    ------
    ConfigError
        As `simulate` does.
    """
    pattern, n = drawn_patterns(recipe, index)[0], recipe.sampling.grid
    while True:
        draw = pattern.draw()
        objects = make_objects([draw], n)
        if objects.oversampling.min() >= MIN_OVERSAMPLING:
            break
        pattern.reject()
    sharp = replace(draw.particle, edge=1e-3, noise=0.0)
    body = (make_objects([Draw(sharp, draw.view)], n, box=objects.occupancy.shape[-1]).occupancy >= 0.5).float()
    intensity = _expose(objects, recipe)[0].intensity
    noise = generator(recipe.campaign, recipe.seed, index, "detector")
    detected = detect(intensity, recipe.detector, noise, recipe.task)
    phase = torch.where(objects.occupancy >= 0.5, objects.phase, 0.0)
    return Steps(
        _embed(body, n),
        _embed(phase, n),
        _embed(objects.occupancy, n),
        _embed(objects.modulus, n),
        intensity,
        detected.counts,
        objects.oversampling[0],
        detected.total_counts,
    )


def drawn_patterns(recipe: SimulateRecipe, index: int) -> list[PatternDraw]:
    """Draw a particle of a campaign, and return its patterns, which are yet to be made."""
    particle = draw_particle(recipe.body, index, generator(recipe.campaign, recipe.seed, index, "body"))
    number = recipe.sampling.patterns_per_particle
    particles = [particle] * number
    if recipe.body.phase_steps and particle.kind != "none":
        particles = [replace(particle, phase_range=span) for span in np.linspace(*recipe.body.phase_range, number)]
    return [PatternDraw(recipe, index, k, each) for k, each in enumerate(particles)]


def _expose(objects: Objects, recipe: SimulateRecipe) -> list[Exposure]:
    """Return the exposures of objects."""
    amplitude = objects.amplitude(recipe.sampling.grid)
    intensity = (amplitude.real.square() + amplitude.imag.square()).cpu().numpy()
    rsp = torch.angle(amplitude).cpu().numpy() if recipe.task == "phase" else None
    return [
        Exposure(
            intensity[row],
            None if rsp is None else rsp[row],
            objects.oversampling[row],
            float(objects.phase_range[row]),
            float(objects.gradient[row]),
        )
        for row in range(len(intensity))
    ]


def _embed(boxes: torch.Tensor, n: int) -> FloatArray:
    """Return the first of the boxes in the centre of the grid."""
    values = boxes[0].numpy()
    result = np.zeros((n,) * values.ndim, dtype=values.dtype)
    start = n // 2 - len(values) // 2
    result[(slice(start, start + len(values)),) * values.ndim] = values
    return result
