"""Cut one batch of crystals from the face-centred cubic lattice, for the families atomistic and autophasenn.

Writes an HDF5 file of kind "particles" with one group per particle: atom positions in angstrom, the planes that bound
the crystal, its shape and orientation. What a particle looks like depends on its campaign, seed and index alone.

example:
    braggworks crystals --campaign config/campaigns/demo-free.yaml --batch 0 --output crystals.h5
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from typing import TYPE_CHECKING

from braggworks.campaigns import ClippedCubeConfig, CrystalConfig
from braggworks.commands._recipes import add_batch_arguments, add_recipe_arguments, batch_indices, read_recipe
from braggworks.errors import ConfigError
from braggworks.recipes import CrystalsRecipe

if TYPE_CHECKING:
    import h5py
    import numpy as np

    from braggworks.particles.crystals import Crystal

_TOOLS = ("numpy", "scipy", "wulffpack")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_recipe_arguments(parser, campaign=True)
    add_batch_arguments(parser)
    parser.add_argument("--output", required=True, metavar="H5", help="file to write")


def run(args: argparse.Namespace) -> None:
    """Write the batch's file."""
    recipe = read_recipe(args, CrystalsRecipe, "crystals")
    indices = batch_indices(args)
    _check_family(recipe)

    from tqdm import tqdm

    from braggworks.files import create_h5
    from braggworks.particles.materials import MATERIALS
    from braggworks.provenance import lineage
    from braggworks.seeds import generator

    identity = {
        "campaign": recipe.campaign,
        "batch": args.batch,
        "recipe": recipe.to_json(),
        "particles": len(indices),
        "lineage": lineage(None, "crystals", recipe, {tool: importlib.metadata.version(tool) for tool in _TOOLS}),
    }
    with create_h5(args.output, "particles", **identity) as file:
        for index in tqdm(indices, "crystals", unit="particle", mininterval=0.1 if sys.stderr.isatty() else 5):
            rng = generator(recipe.campaign, recipe.seed, index, "crystal")
            shape, symbol = turn(recipe.crystal, index)
            group = file.create_group(f"{index:07d}")
            group.attrs["shape"] = shape
            group.attrs["material"] = symbol
            group.attrs["lattice_constant"] = MATERIALS[symbol].lattice_constant
            _write(group, _cut(recipe.crystal, shape, symbol, rng))


def turn(config: CrystalConfig | ClippedCubeConfig, index: int) -> tuple[str, str]:
    """Return the shape and the material whose turn it is at a particle's index; the shapes change faster."""
    if isinstance(config, ClippedCubeConfig):
        return "clipped_cube", config.materials[index % len(config.materials)]
    rounds, place = divmod(index, len(config.shapes))
    return config.shapes[place], config.materials[rounds % len(config.materials)]


def _cut(config: CrystalConfig | ClippedCubeConfig, shape: str, symbol: str, rng: np.random.Generator) -> Crystal:
    from braggworks.particles.clipped_cubes import cut_clipped_cube
    from braggworks.particles.crystals import cut
    from braggworks.particles.materials import MATERIALS

    if isinstance(config, ClippedCubeConfig):
        return cut_clipped_cube(MATERIALS[symbol], config.edge, config.facets, rng)
    return cut(shape, MATERIALS[symbol], config.atoms, rng)


def _check_family(recipe: CrystalsRecipe) -> None:
    """Keep a recipe written by hand from meaning another family's crystals."""
    if isinstance(recipe.crystal, ClippedCubeConfig) != (recipe.family == "autophasenn"):
        keys = "edge" if recipe.family == "autophasenn" else "shapes and atoms"
        raise ConfigError(
            f"--recipe is of the family {recipe.family}, but its crystal is not: give the crystal's {keys}."
        )


def _write(group: h5py.Group, crystal: Crystal) -> None:
    group.create_dataset("positions", data=crystal.positions, fletcher32=True)
    group.create_dataset("normals", data=crystal.polyhedron.normals)
    group.create_dataset("distances", data=crystal.polyhedron.distances)
    group.attrs["orientation"] = crystal.orientation
    if crystal.polyhedron.interface_normal is not None:
        group.attrs["interface_normal"] = crystal.polyhedron.interface_normal
