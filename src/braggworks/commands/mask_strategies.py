"""Write one pattern with a gap as phase retrieval may be given it: masked in several ways, zeroed, or filled.

The pattern is the first of a batch, with Poisson noise. `braggworks phase-strategies` phases what this writes.

example:
    braggworks mask-strategies patterns.h5 --recipe recipe.json --weights w.safetensors --output strategies.h5
"""

from __future__ import annotations

import argparse

from braggworks.commands._recipes import add_recipe_arguments, read_recipe, thread_count
from braggworks.config import MaskingSweep
from braggworks.errors import ConfigError
from braggworks.recipes import SweepRecipe

SEED = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("patterns", metavar="H5", help="complex patterns of one batch")
    add_recipe_arguments(parser, campaign=False)
    parser.add_argument("--weights", required=True, metavar="SAFETENSORS", help="trained weights")
    parser.add_argument("--output", required=True, metavar="H5", help="file to write")
    parser.add_argument("--threads", type=thread_count, default=1, metavar="N", help="processor threads (1)")


def run(args: argparse.Namespace) -> None:
    """Write the strategies, and the object that they are judged by."""
    sweep = masking_sweep(args)

    import numpy as np
    import torch

    from braggworks.commands._diffracted import read_diffracted
    from braggworks.evaluation.gap_artefacts import whole_fills
    from braggworks.evaluation.masking import mask_strategies
    from braggworks.files import create_h5
    from braggworks.inpainting.model import load_inpainter

    torch.set_num_threads(args.threads)
    (particle,) = read_diffracted(args.patterns, 1)
    intensity = np.abs(particle.amplitude) ** 2
    fills = whole_fills(load_inpainter(args.weights))
    strategies, gap = mask_strategies(intensity, fills, sweep.gap_px, sweep.offset_px, SEED)
    with create_h5(args.output, "strategies", order=list(strategies), seed=SEED) as file:
        file["amplitude"], file["gap"] = particle.amplitude, gap
        file.attrs["g_per_angstrom"], file.attrs["voxel_angstrom"] = particle.g_per_angstrom, particle.voxel_angstrom
        for name, strategy in strategies.items():
            group = file.create_group(f"strategies/{name}")
            group.create_dataset("counts", data=strategy.counts, compression="gzip", compression_opts=1)
            group.create_dataset("mask", data=strategy.mask, compression="gzip", compression_opts=1)


def masking_sweep(args: argparse.Namespace) -> MaskingSweep:
    """Return the sweep of the recipe. Raises `ConfigError` if it is of another kind."""
    sweep = read_recipe(args, SweepRecipe).sweep
    if not isinstance(sweep, MaskingSweep):
        raise ConfigError(f"The recipe describes the sweep {sweep.kind}: give one of the kind masking.")
    return sweep
