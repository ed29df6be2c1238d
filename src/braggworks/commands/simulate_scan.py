"""Write a simulated scan, for use where no measured one is at hand.

Takes the first pattern of a particle, scales it to the given counts, adds Poisson noise, and writes a CXI file
that says that it is simulated; whatever is made from it says so, too.

example:
    braggworks simulate-scan --recipe recipe.json --patterns patterns.h5 --output simulated.cxi
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from braggworks.commands._recipes import add_recipe_arguments, read_recipe
from braggworks.errors import ConfigError, FileError
from braggworks.recipes import ScanRecipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_COUNTS = 4e7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_recipe_arguments(parser, campaign=False)
    parser.add_argument("--patterns", required=True, metavar="H5", help="patterns, as `braggworks scatter` writes them")
    parser.add_argument("--particle", type=int, metavar="N", help="index of the particle (default: the file's first)")
    parser.add_argument("--output", required=True, metavar="CXI", help="file to write")
    parser.add_argument(
        "--total-counts", type=float, default=DEFAULT_COUNTS, metavar="N", help="photons in the scan (default: 4e7)"
    )


def run(args: argparse.Namespace) -> None:
    """Write the scan."""
    read_recipe(args, ScanRecipe)
    if not 1 <= args.total_counts <= 1e12:
        raise ConfigError(f"--total-counts {args.total_counts:g} cannot be used: give 1 to 1e12 photons.")

    from braggworks.diffraction.detector import poisson_counts
    from braggworks.scans.scan import Scan
    from braggworks.scans.writers import write_scan
    from braggworks.seeds import generator

    intensity, campaign, seed, index = _first_pattern(args.patterns, args.particle)
    try:
        counts = poisson_counts(intensity, args.total_counts, generator(campaign, seed, index, "scan"))
    except ValueError as error:
        raise FileError(f"{args.patterns}: {error}; make the file again.") from None
    scan = Scan(counts, title=f"simulated: {campaign}, particle {index}", axes=("z", "y", "x"), simulated=True)
    write_scan(args.output, scan)
    print(f"{args.output}: simulated scan of {'x'.join(map(str, counts.shape))} with {counts.sum(dtype='u8')} counts")


def _first_pattern(path: str, particle: int | None) -> tuple[NDArray[np.float64], str, int, int]:
    """Return intensity, campaign, seed and particle."""
    import numpy as np

    from braggworks.files import open_h5

    with open_h5(path, "patterns") as file:
        try:
            name = min(file) if particle is None else f"{particle:07d}"
            if name not in file:
                raise ValueError(f"particle {particle} is not in it")
            recipe: dict[str, Any] = json.loads(file.attrs["recipe"])
            amplitude = file[name]["amplitude"][0]
            if amplitude.ndim != 3:
                raise ValueError(f"amplitude has {amplitude.ndim + 1} axes")
            intensity = np.abs(amplitude.astype(np.complex128)) ** 2
            return intensity, str(file.attrs["campaign"]), int(recipe["seed"]), int(name)
        except (KeyError, ValueError, TypeError) as error:
            raise FileError(
                f"{path} holds no usable pattern ({error}): make it again with `braggworks scatter`."
            ) from None
