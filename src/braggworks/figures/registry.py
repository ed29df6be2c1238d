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
    optional
        What further files may hold, in order.
    suffix
        What is written: ``.png``, or ``.json`` for the mesh.
    """

    module: str
    function: str
    inputs: tuple[str, ...]
    about: str
    repeats: bool = False
    optional: tuple[str, ...] = ()
    suffix: str = ".png"


FIGURES: dict[str, Entry] = {
    "crystal": Entry("crystal", "draw", ("relaxed.h5",), "relaxed particles, cut open", repeats=True),
    "displacement": Entry(
        "displacement", "draw", ("relaxed.h5",), "a particle, and where its atoms moved", repeats=True
    ),
    "diffraction": Entry("diffraction", "draw", ("patterns.h5",), "a pattern in three slices, and its object"),
    "steps": Entry("steps", "draw", ("steps.h5",), "the steps that lead to a 2-D pattern"),
    "patches": Entry(
        "patches",
        "draw",
        ("patterns.h5", "shard.h5"),
        "where samples are cut from a pattern",
        optional=("examples.h5",),
    ),
    "gallery": Entry("gallery", "draw", ("shard.h5",), "a sheet of a campaign's samples"),
    "distributions": Entry("distributions", "draw", ("shard.h5",), "what the campaigns' samples span", repeats=True),
    "patch": Entry("patch", "draw", ("examples.h5",), "held-out patches with their gap filled"),
    "phases": Entry("phases", "draw_examples", ("examples.h5",), "held-out patterns with the phase a network finds"),
    "phase-range": Entry("phases", "draw_range", ("phases.nc",), "loss and accuracy against the object's phase range"),
    "gap-width": Entry("gap_width", "draw", ("gap_width.nc",), "accuracy against gap width"),
    "intensity": Entry("intensity", "draw", ("gap_width.nc",), "accuracy against intensity"),
    "sweep-phasing": Entry(
        "phasing_methods", "draw", ("phasing.nc",), "network, refined network and iterative phasing by phase range"
    ),
    "sweep-steps": Entry("phase_steps", "draw", ("steps.nc",), "a network's phases of particles whose phase grows"),
    "sweep-shells": Entry("shells", "draw", ("shells.nc",), "phases found patch by patch, from shell to shell"),
    "sweep-position": Entry("sweeps", "draw_position", ("position.nc",), "accuracy against the gap's place"),
    "sweep-oversampling": Entry("sweeps", "draw_oversampling", ("oversampling.nc",), "accuracy against oversampling"),
    "sweep-skipped": Entry("sweeps", "draw_skipped", ("skipped.nc",), "time and error against skipped pixels"),
    "sweep-strain": Entry("artefacts", "draw", ("strain.nc",), "strain that gaps feign"),
    "sweep-consistency": Entry(
        "consistency", "draw", ("consistency.nc",), "what consistency with the autocorrelation adds to a filled gap"
    ),
    "sweep-masking": Entry("masking", "draw", ("masking.nc",), "what is phased of a masked, zeroed or filled gap"),
    "phase-study": Entry(
        "phase_study",
        "draw",
        ("phases.nc", "examples.h5"),
        "networks for phases that are trained alike",
        repeats=True,
    ),
    "study": Entry("study", "draw", ("gap_width.nc",), "accuracies of networks that are trained alike", repeats=True),
    "engines": Entry(
        "engines", "draw", ("patterns-nufft.h5", "patterns-pynx.h5", "engines.json"), "PyNX against the NUFFT"
    ),
    "scan": Entry("scan", "draw", ("inpainted.cxi", "scores.json"), "a scan before and after"),
    "baselines": Entry("baselines", "draw", ("inpainted.cxi",), "the scan's gap, filled by every method"),
    "object": Entry("phased", "draw", ("object.cxi",), "a phased object: modulus, phase, strain and surface"),
    "finetune": Entry("finetune", "draw", ("examples.h5",), "held-out gaps of a scan before and after fine-tuning"),
    "training": Entry("training", "draw", ("history.csv",), "loss by epoch"),
    "rulegraph": Entry("rulegraph", "draw", ("rulegraph.dot",), "the workflow's rules"),
    "isosurface": Entry("isosurface", "draw", ("patterns.h5",), "a crystal's surface, as a mesh", suffix=".json"),
}
