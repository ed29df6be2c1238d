"""Training samples that are simulated while training, so that no pattern is seen twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from braggworks.datasets.manifests import Manifest
from braggworks.diffraction.simulation import PatternDraw, drawn_patterns, sound_objects
from braggworks.errors import ConfigError
from braggworks.recipes import SimulateRecipe
from braggworks.seeds import generator, identity_digest
from braggworks.training.normalisation import phase_values
from braggworks.training.phase_samples import PhaseSample
from braggworks.training.samples import Samples

_SEEDS = 2**31


class SimulatedSamples(Samples):
    """Patterns of a release's campaigns with other seeds, which nobody has seen, in every epoch.

    The samples of an epoch are particles of the campaigns that are not held out, in turn, with seeds that are made from
    the campaign's, the training's and the epoch. Bodies are drawn by the reading processes; objects, patterns and noise
    are computed where the network is trained. Patterns depend on the device to rounding, their noise altogether.

    Parameters
    ----------
    manifest
        Of a release of the task phase, whose samples are whole patterns.
    number
        Samples of an epoch.
    seed
        The training's seed.
    device
        Where to compute.
    readers
        Processes that draw ahead of training; 0 to draw when a batch is needed.

    Raises
    ------
    ConfigError
        If a campaign's samples are parts of patterns, or its detector has bad pixels.
    """

    def __init__(self, manifest: Manifest, number: int, *, seed: int, device: torch.device, readers: int = 2) -> None:
        self._number, self._training_seed, self._device = number, seed, device
        self._readers, self._pin = readers, False
        self._recipes = [
            _recipe(entry.name, entry.provenance) for entry in manifest.campaigns if entry.name not in manifest.held_out
        ]

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, key: tuple[int, ...]) -> PatternDraw:  # type: ignore[override]
        """Return the sample as it was drawn."""
        epoch, index = key
        particle, campaign = divmod(index, len(self._recipes))
        recipe = self._recipes[campaign]
        seed = identity_digest("simulated samples", self._training_seed, recipe.seed, epoch) % _SEEDS
        return drawn_patterns(recipe.model_copy(update={"seed": seed}), particle)[0]

    def batches(  # type: ignore[override]
        self,
        epoch: int,
        order: NDArray[Any],
        shares: Callable[[NDArray[Any]], Iterable[NDArray[Any]]],
    ) -> Iterator[PhaseSample]:
        """Yield the batches; see `Samples.batches`."""
        loaded = self._loaded(epoch, order, shares, list)
        if self._device.type == "cpu":
            yield from map(self._made, loaded)
            return
        # One batch ahead: while a step waits for the GPU, the next batch's many small operations are sent there.
        with ThreadPoolExecutor(1) as pool:
            ahead: Future[PhaseSample] | None = None
            for draws in loaded:
                before, ahead = ahead, pool.submit(self._made, draws)
                if before:
                    yield before.result()
            if ahead:
                yield ahead.result()

    def _made(self, draws: Sequence[PatternDraw]) -> PhaseSample:
        """Return (batch, 1, z, y, x) of what was drawn."""
        if not draws:
            return PhaseSample(*[torch.empty(0)] * 3)
        places = {id(draw): place for place, draw in enumerate(draws)}
        grid = draws[0].recipe.sampling.grid
        found: list[tuple[Tensor, Tensor]] = [(torch.empty(0), torch.empty(0))] * len(draws)
        # One at once on a processor, for its caches, and because rounding depends on the others.
        together = 1 if self._device.type == "cpu" else len(draws)
        for kept, objects in sound_objects(draws, str(self._device), together):
            for draw, amplitude in zip(kept, objects.amplitude(grid), strict=True):
                found[places[id(draw)]] = (self._counted(draw, amplitude), torch.angle(amplitude))
        counts, truth = (torch.stack(parts)[:, None] for parts in zip(*found, strict=True))
        return PhaseSample(torch.stack([phase_values(each) for each in counts]), truth, counts)

    def _counted(self, draw: PatternDraw, amplitude: Tensor) -> Tensor:
        """Return what the detector counts: a photon budget, log-uniform, and Poisson noise."""
        recipe = draw.recipe
        rng = generator(recipe.campaign, recipe.seed, draw.index, "detector")
        photons = float(np.exp(rng.uniform(*np.log(recipe.detector.total_counts))))
        expected = amplitude.real.square() + amplitude.imag.square()
        noise = torch.Generator(self._device).manual_seed(int(rng.integers(_SEEDS)))
        return torch.poisson(expected * (photons / expected.sum()), generator=noise)


def _recipe(name: str, provenance: Sequence[dict[str, Any]]) -> SimulateRecipe:
    found = [entry["recipe"] for entry in provenance if entry["stage"] == "simulate"]
    recipe = SimulateRecipe.model_validate(found[-1]) if found else None
    if recipe is None or recipe.patches.size != recipe.sampling.grid or recipe.patches.per_pattern != 1:
        raise ConfigError(
            f"training.simulate needs campaigns of shape3d or polygon2d whose samples are whole patterns, and {name} "
            "is none: leave it out, or set patches.size to sampling.grid and patches.per_pattern to 1."
        )
    if recipe.detector.dead_fraction or recipe.detector.hot_fraction:
        raise ConfigError(
            f"training.simulate knows detectors without bad pixels only: leave it out, or set detector.dead_fraction "
            f"and detector.hot_fraction of {name} to 0."
        )
    return recipe
