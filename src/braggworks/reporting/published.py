"""Numbers from the literature that a run's own are shown beside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Anchor:
    """A published number, where it was published, and what differs from the run that it stands beside."""

    value: float | str
    source: str
    caution: str = ""


MASTO_2024 = "Masto et al., J. Appl. Cryst. 2024, 10.1107/S1600576724004163"

# Mean PCC in the gap, log scale, by gap width in pixels.
INPAINTING_PCC = {
    width: Anchor(
        value,
        MASTO_2024,
        "published: random patches of one noise-free 128^3 pattern scaled to 1e5, of unstated oversampling, mean over "
        "20 bins of intensity, one network per width",
    )
    for width, value in ((3, 0.9886), (6, 0.9767), (9, 0.9549), (12, 0.9463))
}

# Parameters of the 3-D patch inpainter, as printed.
INPAINTER_PARAMETERS = Anchor(2_770_000, MASTO_2024, "printed as about 2.77 million")

# Training samples.
INPAINTING_PATCHES = Anchor(30_000, MASTO_2024, "half of them experimental")

MASTO_2026 = "Masto et al., npj Comput. Mater. 2026, 10.1038/s41524-026-02017-w"

# Parameters of the 3-D network for reciprocal-space phases.
RSP_PARAMETERS = Anchor(143_759_937, MASTO_2026, "printed as about 145 million")

# Loss WCA on strongly strained particles.
RSP_WCA = Anchor(
    0.470,
    f"an independent retraining of a network after {MASTO_2026}",
    "39 million parameters, 2 524 particles, phases of 2π to 5π only, its weighting of voxels not stated",
)
