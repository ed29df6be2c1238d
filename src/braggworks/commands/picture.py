"""Draw what a command made of a scan: `braggworks inpaint` before and after, or the object of `braggworks phase`.

examples:
    braggworks picture filled.cxi --output filled.png
    braggworks picture object.cxi --output object.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

DPI = 150


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("scan", metavar="CXI", help="file of `braggworks inpaint` or `braggworks phase`")
    parser.add_argument("--output", "--out", metavar="PNG", help="picture to write (default: beside the file)")


def run(args: argparse.Namespace) -> None:
    """Write the picture. Raises `FileError` where the file is of neither command."""
    from braggworks.commands._figure_inputs.results import read_before_after, read_phased
    from braggworks.figures import before_after, phased
    from braggworks.figures.style import Look, save_png
    from braggworks.files import atomic_path, open_h5

    output = Path(args.output) if args.output else Path(args.scan).with_suffix(".png")
    with open_h5(args.scan) as file:
        is_object = file.attrs.get("kind") == "phased object"
    if is_object:
        figure = phased.draw(read_phased(args.scan), Look())
    else:
        figure = before_after.draw(read_before_after(args.scan), Look())
    with atomic_path(output) as temporary:
        save_png(figure, temporary, DPI)
    print(f"{output}: {'the object' if is_object else 'before and after'}")
