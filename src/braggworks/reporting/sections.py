"""The report's sections: which picture, and what a reader should know beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from braggworks.config import Config

GALLERY = "gallery-"
STUDY = "study-"
PHASE = "phase-"
#: Figure of the section that starts what the report says of the data; sheets of samples follow it.
DATA = "distributions"


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

    @property
    def is_part(self) -> bool:
        """Whether it stands below another section rather than beside it."""
        return self.figure.startswith(GALLERY)


@dataclass(frozen=True)
class Findings:
    """What the words of some sections depend on.

    Parameters
    ----------
    config
        The run.
    scores
        Scores of the scan; None without one.
    engines
        Differences between the engines; None where PyNX did not take part.
    """

    config: Config
    scores: dict[str, Any] | None = None
    engines: dict[str, Any] | None = None


_FIXED: dict[str, tuple[str, str]] = {
    "rulegraph": (
        "Workflow",
        "The rules of this run, from the first inputs on the left to the report on the right; a colour is an "
        "environment.",
    ),
    "crystal": (
        "Crystals",
        "Relaxed particles, cut open, coloured by displacement. LAMMPS minimised their energy with an embedded-atom "
        "potential; the title names the strain protocol.",
    ),
    "displacement": (
        "Displacement field",
        "One particle by height, its displacement, and the plane of atoms through its centre; an arrow is the mean "
        "displacement of a small cell. Displacement counts from the perfect lattice. After Masto's thesis, Fig. 3.8.",
    ),
    "diffraction": (
        "Diffraction",
        "Three central slices of one pattern around its reflection, and the object that the inverse Fourier transform "
        "of the complex amplitude gives. Phases below π/2 are on a diverging scale, larger ones on a cyclic one.",
    ),
    "steps": (
        "Steps of a 2-D pattern",
        "From a random polygon to counts behind a gap. White pixels counted nothing, grey ones were not measured. "
        "After Masto's thesis, Fig. 3.3.",
    ),
    "patches": (
        "Patches and gaps",
        "Where samples are cut from a pattern, their gaps, and, after training, what the network fills in. After "
        "Masto's thesis, Fig. 3.9.",
    ),
    DATA: (
        "Data",
        "What the patterns of each campaign span. Oversampling is measured on the final grid along every axis, after "
        "the rotation, and the largest extent is the grid over the smallest of them. Strain is the heterogeneous "
        "strain along the reflection.",
    ),
    "training": ("Training", "Loss by epoch. The weights of the epoch with the lowest validation loss are kept."),
    "gap-width": (
        "Accuracy against gap width",
        "Mean correlation inside the gap on held-out particles, with 95 % bootstrap intervals over particles. Held-out "
        "cubes and octahedra differ from those trained on in size, lattice origin and orientation only. Grey marks "
        "are the published values, from another protocol (one noise-free pattern, one network per width).",
    ),
    "phases": (
        "Phases of held-out patterns",
        "Central slices of patterns that training never saw, with the true reciprocal-space phase (RSP), that of the "
        "network, and the objects that both give. The network's object is moved onto the true one, or its twin is, "
        "because no intensity tells them apart. After Masto's thesis, Fig. 4.31 and 4.32.",
    ),
    "phase-range": (
        "Loss and accuracy against phase range",
        "Held-out patterns by how far the phase of their object spans, and by campaign. WCA is the loss of the "
        "reciprocal-space phase weighted by the root of the counts; accuracy is that of the thesis, equation 4.5: the "
        "mean of the correlation of the moduli and the coherence of the phases. On the right, how far surfaces of "
        "equal phase are spheres around the peak: above the line, the network makes them rounder than they are. After "
        "Masto's thesis, Fig. 4.46, 4.50 and 4.51.",
    ),
    "intensity": (
        "Accuracy against intensity",
        "The network's mean correlation in the gap, for held-out patches of rising intensity. Counting noise, which no "
        "method can predict, decides where there are few counts. After Masto's thesis, Fig. 3.16.",
    ),
    "object": (
        "The object",
        "What the filled scan is the diffraction of, by iterative phase retrieval from random starts: the first mode "
        "of the best runs by free log-likelihood. Strain is along the scattering vector, on cubes in the laboratory's "
        "frame; without the scan's geometry, axes are those of the detector, and there is none. The last row is the "
        "standard deviation of the phase over the runs that were combined, the curve the phase retrieval transfer "
        "function; the dotted line is how far phases agree by chance.",
    ),
    "baselines": (
        "The gap, filled by every method",
        "Above, the plane in the middle of the gap, in which nothing was measured; below, the detector image at the "
        "peak. After Masto's thesis, Fig. 3.15.",
    ),
    "sweep-position": (
        "Accuracy against the gap's place",
        "One gap moved across held-out patterns, and, on the right, each pattern's mean over all places by its "
        "oversampling ratio. After Masto's thesis, Fig. 3.6 and 3.7.",
    ),
    "sweep-oversampling": (
        "Accuracy against oversampling",
        "The same particles on finer and finer grids over the same range of q. Every plane of a pattern is predicted "
        "behind a gap, and the whole prediction is compared with the pattern. After Masto's thesis, Fig. 3.17.",
    ),
    "sweep-strain": (
        "Strain that gaps feign",
        "The particles' moduli with their phase set to zero: all strain is an artefact of the gap. The pattern keeps "
        "the phase that it had. After Masto's thesis, Fig. 3.21 to 3.23, and Carnis et al. (2019).",
    ),
    "sweep-consistency": (
        "A last step of consistency with the autocorrelation",
        "The autocorrelation of the filled pattern is asked to end where it falls below a share of its maximum, and "
        "the gap changed accordingly, the less the larger the weight. Above 1, the strain that the filled gap feigns "
        "in objects of zero phase is smaller with the step, in noise-free patterns, where it has most to say. The "
        "network of the package knows the band limit already, so that the step is no option of its command.",
    ),
    "sweep-masking": (
        "Phasing around a gap, and through a filled one",
        "Noisy patterns with a cross gap, phased from the same random starts with the gap's amplitudes left free, free "
        "on the streaks only, taken for zeros, or filled; beside it the object itself, and what is phased without a "
        "gap. Pictures of the first particle, the calculated pattern above; the errors, differences from the object, "
        "are means over all. After Masto's thesis, Fig. 3.24 and 3.25.",
    ),
    "sweep-skipped": (
        "Time and error against skipped pixels",
        "The scan's gap, filled with windows ever farther apart; below, a plane in the middle of its arm normal to x. "
        "After Masto's thesis, Fig. 3.13 and 3.14.",
    ),
}


#: Sweeps of networks for phases, of which a run may have one for each campaign.
_PHASE_SWEEPS = {
    "sweep-phasing-": (
        "Phasing of {}",
        "The network alone, its object refined by ER, and iterative phasing from random starts, on patterns that "
        "training never saw. The best view and the best start are those of the lowest free log-likelihood, which is "
        "all that is known of a measured scan. Accuracy is the thesis's, equation 4.5, of the better twin; an object "
        "is found where its overlap with the truth exceeds 0.9. After Masto's thesis, Fig. 4.47 to 4.49.",
    ),
    "sweep-steps-": (
        "Phases of {} that grow in steps",
        "Held-out particles, each in one view, whose phase grows evenly from pattern to pattern; below, the first one. "
        "Accuracy is the thesis's, equation 4.5, of the better twin. After Masto's thesis, Fig. 4.43 to 4.46.",
    ),
    "sweep-shells-": (
        "Phases of {}, patch by patch",
        "Patches around the peak, and then on shells around it, each given what is known of its phase from the shells "
        "within. The loss of each shell counts the voxels that it says first, with the sign and the constant that suit "
        "the whole pattern. Where patches are given the truth, which fixes sign and constant, nothing is handed on, so "
        "that the difference is what errors within do to the shells outside. Objects are those of patches at the peak "
        "alone, of a lower resolution. After Masto's thesis, Fig. 4.19 to 4.29.",
    ),
}


def sections(names: Sequence[str], findings: Findings) -> list[Section]:
    """Return the sections of a report, one per figure.

    Parameters
    ----------
    names
        Figures, in order; see `braggworks.targets.figure_names`.
    findings
        What their words depend on.

    Raises
    ------
    KeyError
        If a figure has no section.
    """
    return [_section(name, findings) for name in names]


def _section(name: str, findings: Findings) -> Section:
    if name in _FIXED:
        return Section(name, *_FIXED[name])
    if name.startswith(GALLERY):
        return _gallery(name, findings)
    for prefix, (title, caption) in _PHASE_SWEEPS.items():
        if name.startswith(prefix):
            return Section(name, title.format(name.removeprefix(prefix)), caption)
    if name.removeprefix(PHASE).startswith(STUDY):
        return _study(name, findings)
    return _WRITERS[name](findings)


def _study(name: str, findings: Findings) -> Section:
    study = next(each for each in findings.config.studies if each.name == name.removeprefix(PHASE).removeprefix(STUDY))
    changes = "; ".join(f"{variant}: {changed or 'as training'}" for variant, changed in study.variants.items())
    caption = f"{study.about} " if study.about else ""
    caption += "All variants were trained alike but for what the study names, and scored on the same held-out patches."
    return Section(name, f"Study: {study.name.replace('-', ' ')}", caption, changes.replace("'", ""))


def _gallery(name: str, findings: Findings) -> Section:
    campaign = findings.config.campaign(name.removeprefix(GALLERY))
    caption = "Samples in central slices, each on its own scale. White pixels counted nothing, "
    if campaign.task == "inpaint":
        caption += "grey ones are the gap, under which the counts are known."
    else:
        caption += (
            "grey ones were not measured. RSP is the reciprocal-space phase, the label; the object is the inverse "
            "Fourier transform of the square root of the counts with that phase."
        )
    return Section(name, f"Samples of {campaign.name}", caption)


def _patch(findings: Findings) -> Section:
    evaluation = findings.config.evaluation
    width = evaluation.must_beat.gap_px if evaluation.must_beat else evaluation.gap_widths_px[0]
    return Section(
        "patch",
        "Inpainted patches",
        f"Patches of particles that training never saw, with a gap of {width} px. The number in a corner is the "
        "Pearson correlation of log(1 + counts) with the truth inside the gap.",
    )


def _engines(findings: Findings) -> Section:
    engines = findings.engines
    assert engines is not None  # noqa: S101
    return Section(
        "engines",
        "PyNX against NUFFT",
        f"{engines['patterns']} patterns of one batch, computed by both engines from the same atoms. Largest "
        f"difference {engines['max_error']:.1e} of the peak; the NUFFT took {engines['seconds_reference']:.2f} s and "
        f"PyNX {engines['seconds_other']:.0f} s, each on {engines['threads_other']} CPU thread; PyNX sums in single "
        "precision, from phases that were reduced in double precision, and is usually run on a GPU.",
    )


def _scan(findings: Findings) -> Section:
    assert findings.scores is not None  # noqa: S101
    simulated = bool(findings.scores["simulated"])
    return Section(
        "scan",
        "Simulated scan, before and after" if simulated else "Measured scan, before and after",
        "A cross gap was cut into the scan and filled again, by linear interpolation and by the network; the counts "
        "under the gap are known, so that both can be scored. Most of the correlation is the pattern's envelope: the "
        "table gives it by stratum of intensity, too.",
        "This scan is simulated: no measured scan was found in the folder of the setting BRAGGWORKS_TEST_DATA."
        if simulated
        else "",
    )


_WRITERS: dict[str, Callable[[Findings], Section]] = {"patch": _patch, "engines": _engines, "scan": _scan}
