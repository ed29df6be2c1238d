"""Draw a scan before and after `braggworks inpaint`, and how much the predictions of each voxel differ.

example:
    braggworks picture filled.cxi --output filled.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

DPI = 150


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("scan", metavar="CXI", help="file of `braggworks inpaint`")
    parser.add_argument("--output", "--out", metavar="PNG", help="picture to write (default: beside the scan)")


def run(args: argparse.Namespace) -> None:
    """Write the picture. Raises `FileError` where the file is none of `braggworks inpaint`."""
    from braggworks.commands._figure_inputs.results import read_before_after
    from braggworks.figures.before_after import draw
    from braggworks.figures.style import Look, save_png
    from braggworks.files import atomic_path

    output = Path(args.output) if args.output else Path(args.scan).with_suffix(".png")
    figure = draw(read_before_after(args.scan), Look())
    with atomic_path(output) as temporary:
        save_png(figure, temporary, DPI)
    print(f"{output}: before and after")
