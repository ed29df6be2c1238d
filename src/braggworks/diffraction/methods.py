"""The two ways from a relaxed crystal to a pattern: atom by atom with an engine, or by FFT of a coarse grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from braggworks.campaigns import DiffractionConfig, GriddingConfig
from braggworks.diffraction.engines import ComplexArray, Engine
from braggworks.diffraction.gridding import draw_gridded_view, gridded_amplitude
from braggworks.diffraction.relaxed import RelaxedCrystal
from braggworks.diffraction.sampling import View, draw_view


@dataclass(frozen=True)
class Method:
    """A way to make patterns.

    Parameters
    ----------
    name, version
        Of what computes the amplitude; kept with the patterns.
    concurrent
        Whether patterns are computed side by side, one thread each, instead of one after the other with all threads.
    draw
        Draws a pattern's geometry.
    amplitude
        Computes F of a crystal in a view with at most so many threads: shape (n, n, n), axes (z, y, x), peak at n//2.
    """

    name: str
    version: str
    concurrent: bool
    draw: Callable[[np.random.Generator, RelaxedCrystal], View]
    amplitude: Callable[[RelaxedCrystal, View, int], ComplexArray]


def atomistic(settings: DiffractionConfig, engine: Engine) -> Method:
    """Return the method of the family atomistic: the kinematic sum over all atoms."""

    def draw(rng: np.random.Generator, crystal: RelaxedCrystal) -> View:
        return draw_view(
            rng,
            crystal,
            settings.reflections,
            n=settings.grid,
            oversampling=settings.oversampling,
            rotate=settings.rotation == "random",
        )

    def amplitude(crystal: RelaxedCrystal, view: View, threads: int) -> ComplexArray:
        grid = view.grid
        return engine.amplitude(crystal.atoms @ view.rotation.T, grid.centre, grid.dq, grid.n, threads)

    return Method(engine.name, engine.version, engine.concurrent, draw, amplitude)


def gridded(settings: GriddingConfig) -> Method:
    """Return the method of the family autophasenn: density and lattice phase on a coarse grid."""

    def draw(rng: np.random.Generator, crystal: RelaxedCrystal) -> View:
        return draw_gridded_view(
            rng,
            crystal,
            settings.reflections,
            bin_size=settings.bin_size,
            object_grid=settings.object_grid,
            n=settings.grid,
            rotate=settings.rotation == "random",
        )

    def amplitude(crystal: RelaxedCrystal, view: View, threads: int) -> ComplexArray:
        del threads
        return gridded_amplitude(crystal, view)

    return Method("gridded", np.__version__, concurrent=True, draw=draw, amplitude=amplitude)
