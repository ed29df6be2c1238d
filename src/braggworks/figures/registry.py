"""The figures by name: which module draws each, and from which files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One figure.

    Parameters
    ----------
    module
        Module of `braggworks.figures`.
    function
        Its function, from data to a figure, or to JSON for the isosurface.
    inputs
        What the files hold, in the order in which they are given.
    about
        What is seen.
    repeats
        The last input may be given several times.
    suffix
        What is written: ``.png``, or ``.json`` for the mesh.
    """

    module: str
    function: str
    inputs: tuple[str, ...]
    about: str
    repeats: bool = False
    suffix: str = ".png"


FIGURES: dict[str, Entry] = {
    "crystal": Entry("crystal", "draw", ("relaxed.h5",), "relaxed particles, cut open", repeats=True),
    "diffraction": Entry("diffraction", "draw", ("patterns.h5",), "a pattern in three slices, and its object"),
    "patch": Entry("patch", "draw", ("examples.h5",), "held-out patches with their gap filled"),
    "gap-width": Entry("gap_width", "draw", ("gap_width.nc",), "accuracy against gap width"),
    "engines": Entry(
        "engines", "draw", ("patterns-nufft.h5", "patterns-pynx.h5", "engines.json"), "PyNX against the NUFFT"
    ),
    "scan": Entry("scan", "draw", ("inpainted.cxi", "scores.json"), "a scan before and after"),
    "training": Entry("training", "draw", ("history.csv",), "loss by epoch"),
    "rulegraph": Entry("rulegraph", "draw", ("rulegraph.dot",), "the workflow's rules"),
    "isosurface": Entry("isosurface", "draw", ("patterns.h5",), "a crystal's surface, as a mesh", suffix=".json"),
}
