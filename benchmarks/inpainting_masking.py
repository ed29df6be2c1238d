"""What phasing makes of a gap that is left free, taken for zeros, or filled: the sweep `masking` on held-out particles.

The patterns are those of config/inpainting-test.yaml at an oversampling of 6, with Poisson noise at a maximum of 1e5
counts, cut by a cross of 6 px; after M. Masto's thesis, Fig. 3.24 and 3.25, for several particles and starts. The
weights are those that BRAGGWORKS_WEIGHTS names, or those of the package.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks._sweeps import swept
from benchmarks.inpainting import RESULTS, simulated_amplitudes
from braggworks.config import MaskingSweep
from braggworks.inpainting.model import SHIPPED
from braggworks.records import Record

OVERSAMPLING, PARTICLES = 6, 3
FOLDER = Path("results/benchmarks")


def measure() -> Iterator[Record]:
    """Yield the errors of strain and modulus by strategy."""
    simulated_amplitudes(OVERSAMPLING)
    campaign = f"gaps-oversampling-{OVERSAMPLING}"
    patterns = min((RESULTS / f"campaigns/{campaign}/patterns-nufft").glob("*.h5"))
    sweep = MaskingSweep(kind="masking", campaign=campaign, patterns=PARTICLES, hio=100, raar=200, er=100)
    FOLDER.mkdir(parents=True, exist_ok=True)
    weights = Path(os.environ.get("BRAGGWORKS_WEIGHTS", SHIPPED))
    found = swept(sweep, patterns, weights, FOLDER / "masking.nc")
    about = f"mean of {PARTICLES} particles, best of {sweep.starts} starts, oversampling {OVERSAMPLING}"
    for strategy in map(str, found["strategy"].values[1:]):
        for what in ("strain", "modulus"):
            errors = found[f"{what}_rmse"].sel({"strategy": strategy}).values
            yield Record(
                f"inpaint.masking.{strategy}.{what}_rmse",
                float(errors.mean()),
                "1",
                n=len(errors),
                source=f"{about}; by particle {', '.join(f'{each:.3g}' for each in errors)}",
            )
