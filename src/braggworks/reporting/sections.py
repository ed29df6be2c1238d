"""The report's sections: which picture, and what a reader should know beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Section:
    """One picture of the report with its words."""

    figure: str
    title: str
    caption: str
    note: str = ""

    @property
    def anchor(self) -> str:
        """Name that links point to."""
        return self.figure


def sections(scores: dict[str, Any], engines: dict[str, Any] | None, gap_px: int) -> list[Section]:
    """Return the sections of a report, in order.

    Parameters
    ----------
    scores
        Scores of the scan.
    engines
        Differences between the engines; None where PyNX did not take part.
    gap_px
        Gap width of the example patches.
    """
    simulated = bool(scores["simulated"])
    result = [
        Section(
            "rulegraph",
            "Workflow",
            "The rules of this run, from crystals on the left to the report on the right; a colour is an environment.",
        ),
        Section(
            "crystal",
            "Crystals",
            "Relaxed particles, cut open, coloured by displacement. LAMMPS minimised their energy with an "
            "embedded-atom potential; the layer at the interface of a clamped particle was held.",
        ),
        Section(
            "diffraction",
            "Diffraction",
            "Three central slices of one pattern around its reflection, and the object that the inverse Fourier "
            "transform of the complex amplitude gives. Phases below π/2 are on a diverging scale, larger ones on a "
            "cyclic one.",
        ),
        Section(
            "training",
            "Training",
            "Loss by epoch. The weights of the epoch with the lowest validation loss are kept.",
        ),
        Section(
            "patch",
            "Inpainted patches",
            f"Patches of particles that training never saw, with a gap of {gap_px} px. The number in a corner is the "
            "Pearson correlation of log(1 + counts) with the truth inside the gap.",
        ),
        Section(
            "gap-width",
            "Accuracy against gap width",
            "Mean correlation inside the gap on held-out particles, with 95 % bootstrap intervals over particles. "
            "Held-out cubes and octahedra differ from those trained on in size, lattice origin and orientation only. "
            "Grey marks are the published values, from another protocol (one noise-free pattern, one network per "
            "width).",
        ),
    ]
    if engines is not None:
        result.append(
            Section(
                "engines",
                "PyNX against NUFFT",
                f"{engines['patterns']} patterns of one batch, computed by both engines from the same atoms. "
                f"Largest difference {engines['max_error']:.1e} of the peak; the NUFFT took "
                f"{engines['seconds_reference']:.2f} s and PyNX {engines['seconds_other']:.0f} s, each on "
                f"{engines['threads_other']} CPU thread; PyNX sums in single precision, from phases that were reduced "
                "in double precision, and is usually run on a GPU.",
            )
        )
    title = "Simulated scan, before and after" if simulated else "Measured scan, before and after"
    note = (
        "This scan is simulated: no measured scan was found in the folder of the setting BRAGGWORKS_TEST_DATA."
        if simulated
        else ""
    )
    caption = (
        "A cross gap was cut into the scan and filled again, by linear interpolation and by the network; the counts "
        "under the gap are known, so that both can be scored. Most of the correlation is the pattern's envelope: the "
        "table gives it by stratum of intensity, too."
    )
    result.append(Section("scan", title, caption, note))
    return result
