"""Draw one figure of the report from the files of the stages before it.

example:
    braggworks figure training --input history.csv --output training.png
"""

from __future__ import annotations

import argparse
import difflib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from braggworks.commands._recipes import read_recipe
from braggworks.config import FigureConfig
from braggworks.errors import ConfigError, FileError, UserError
from braggworks.figures.registry import FIGURES, Entry
from braggworks.recipes import FigureRecipe
from braggworks.versions import STAGE_VERSIONS

if TYPE_CHECKING:
    from braggworks.figures.style import Look

#: Figures of which a run may have several: the name goes on with that of a campaign or a study.
SEVERAL = ("gallery", "study", "phase-study", "sweep-phasing", "sweep-shells", "sweep-steps")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("name", metavar="NAME", help="which figure; see below")
    parser.add_argument(
        "--input", metavar="FILE", action="extend", nargs="+", required=True, help="files to draw from, in order"
    )
    parser.add_argument("--output", metavar="FILE", required=True, help="file to write (PNG, or JSON for isosurface)")
    parser.add_argument("--recipe", metavar="JSON", help="looks, as JSON text or the path of a JSON file")
    width = max(map(len, FIGURES))
    lines = [f"  {name:<{width}}  {entry.about}, from {_wanted(entry)}" for name, entry in FIGURES.items()]
    parser.epilog = "\n".join(["figures:", *lines])


def run(args: argparse.Namespace) -> None:
    """Run the verb. Raises `UserError` for an unknown figure, a bad recipe, or missing, wrong or damaged inputs."""
    args.name, entry = _find(args.name)
    recipe = FigureRecipe(version=STAGE_VERSIONS["figure"], figures=FigureConfig())
    if args.recipe:
        recipe = read_recipe(args, FigureRecipe)
    _check_files(args.name, entry, args.input, args.output)
    look = make_look(recipe.figures)

    from braggworks.commands._figure_inputs import READERS

    data = READERS[args.name](*args.input)
    function = getattr(importlib.import_module(f"braggworks.figures.{entry.module}"), entry.function)
    if entry.suffix == ".json":
        from braggworks.files import write_text

        write_text(args.output, function(data))
    else:
        from braggworks.figures.style import save_png
        from braggworks.files import atomic_path

        figure = function(data, look)
        with atomic_path(args.output) as temporary:
            save_png(figure, temporary, recipe.figures.dpi)


def _find(name: str) -> tuple[str, Entry]:
    """Return a figure's name in the registry; a sheet or a study may carry a name after its own."""
    name = next((kind for kind in SEVERAL if name.startswith(f"{kind}-")), name)
    if name not in FIGURES:
        near = difflib.get_close_matches(name, FIGURES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(FIGURES)}."
        raise UserError(f"There is no figure {name!r}: {hint}")
    return name, FIGURES[name]


def _wanted(entry: Entry) -> str:
    optional = [f"[{name}]" for name in entry.optional]
    return " ".join([*entry.inputs, *optional]) + (" ..." if entry.repeats else "")


def _check_files(name: str, entry: Entry, inputs: list[str], output: str) -> None:
    wanted = len(entry.inputs)
    most = wanted + len(entry.optional)
    if len(inputs) < wanted or (len(inputs) > most and not entry.repeats):
        number = f"{wanted} to {most}" if most > wanted else str(wanted)
        raise UserError(
            f"Figure {name} is drawn from {number} file{'s' if most > 1 else ''}, where --input gives "
            f"{len(inputs)}: give --input {_wanted(entry)}, in this order."
        )
    for path in inputs:
        if not Path(path).is_file():
            raise FileError(f"{path} does not exist or is no file: check the path, or run the stage that writes it.")
    if Path(output).suffix.lower() != entry.suffix:
        raise UserError(f"Figure {name} is written as {entry.suffix}: let --output end so, instead of {output}.")


def make_look(config: FigureConfig) -> Look:
    """Return the colour maps of a configuration. Raises `ConfigError` where matplotlib does not know one."""
    import matplotlib as mpl

    from braggworks.figures.style import Look

    for key in ("intensity_cmap", "phase_cmap"):
        name = getattr(config, key)
        if name not in mpl.colormaps:
            near = difflib.get_close_matches(name, list(mpl.colormaps), n=1) or ["viridis"]
            raise ConfigError(f"figures.{key}: matplotlib has no colour map {name!r}: did you mean {near[0]!r}?")
    return Look(config.intensity_cmap, config.phase_cmap)
