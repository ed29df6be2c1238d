"""Show the samples of every campaign in a results folder on one page that opens without a network.

Draws a sheet of samples per campaign and what its patterns span, beside what the shards' sidecars say.

example:
    braggworks gallery results/demo --output gallery.html
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braggworks.errors import FileError
from braggworks.paths import Paths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from braggworks.reporting.gallery import Facts

# Batches of a campaign whose columns are read.
_MOST_BATCHES = 20
_DPI = 150


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("results", metavar="RESULTS", help="results folder of a run")
    parser.add_argument("--output", metavar="HTML", help="page to write (default: gallery.html in the results folder)")


def run(args: argparse.Namespace) -> None:
    """Write the page. Raises `FileError` where there is no shard, or one is damaged or lacks its sidecar."""
    shards = _find_shards(args.results)

    from tqdm import tqdm

    from braggworks.commands._figure_inputs import READERS
    from braggworks.figures import distributions, gallery
    from braggworks.figures.style import Look
    from braggworks.files import write_text
    from braggworks.reporting.gallery import Entry, render_gallery

    look, entries = Look(), []
    interval = 0.1 if sys.stderr.isatty() else 5
    with tqdm(total=len(shards) + 1, desc="gallery", unit="sheet", mininterval=interval) as bar:
        for campaign, files in shards.items():
            facts = _read_facts(campaign, files)
            entries.append(Entry(facts, _png(gallery.draw(READERS["gallery"](files[0]), look))))
            bar.update()
        columns = [file for files in shards.values() for file in files[:_MOST_BATCHES]]
        spans = _png(distributions.draw(READERS["distributions"](*columns), look))
        bar.update()
    output = args.output or str(Path(args.results) / "gallery.html")
    write_text(output, render_gallery(args.results, entries, spans))
    print(f"{output}: {len(shards)} campaign{'s' if len(shards) > 1 else ''}")


def _find_shards(results: str) -> dict[str, list[str]]:
    """Return the shards by campaign, in the order of names and batches."""
    if not Path(results).is_dir():
        raise FileError(f"{results} is no folder: give the results folder of a run, such as results/demo.")
    pattern = str(Path(Paths(".").batch_file("shards", "*", "*")))
    shards: dict[str, list[str]] = {}
    for file in sorted(Path(results).glob(pattern)):
        shards.setdefault(file.parents[1].name, []).append(str(file))
    if not shards:
        raise FileError(
            f"{results} holds no shard: run `braggworks run` first, or give the folder that its configuration names."
        )
    return shards


def _read_facts(campaign: str, files: list[str]) -> Facts:
    from braggworks.files import read_json
    from braggworks.reporting.gallery import facts_of

    sidecars: list[dict[str, Any]] = []
    for file in files:
        path = Path(file).with_suffix(".json")
        sidecars.append(read_json(path))
        try:
            found = facts_of(sidecars[-1:]).campaign
        except (KeyError, TypeError, ValueError, AttributeError):
            raise FileError(
                f"{path} is no whole sidecar of a shard: delete it with its shard and run `braggworks run` again."
            ) from None
        if found != campaign:
            raise FileError(f"{path} belongs to campaign {found!r}, not {campaign!r}: move it back there.")
    return facts_of(sidecars)


def _png(figure: Figure) -> bytes:
    import io

    from braggworks.figures.style import save_png

    stream = io.BytesIO()
    save_png(figure, stream, _DPI)
    return stream.getvalue()
