"""What a last step of consistency with the autocorrelation adds to a filled gap: the sweep `consistency`.

The patterns are those of config/inpainting-test.yaml at an oversampling of 7, made coarser, noise-free; gaps as in
`inpainting_strain`. A record is the ratio of the strain's RMSE without the step over that with it; above 1 it helps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks._sweeps import swept
from benchmarks.inpainting import RESULTS, simulated_amplitudes
from braggworks.config import ConsistencySweep
from braggworks.inpainting.model import SHIPPED
from braggworks.records import Record
from braggworks.reporting.gather_sweeps import sweep_records

FINEST, RATIOS = 7, [3.0, 6.0]
FOLDER = Path("results/benchmarks")


def measure() -> Iterator[Record]:
    """Yield what the step adds, by oversampling, width, share and weight."""
    simulated_amplitudes(FINEST)
    campaign = f"gaps-oversampling-{FINEST}"
    patterns = min((RESULTS / f"campaigns/{campaign}/patterns-nufft").glob("*.h5"))
    FOLDER.mkdir(parents=True, exist_ok=True)
    weights = Path(os.environ.get("BRAGGWORKS_WEIGHTS", SHIPPED))
    sweep = ConsistencySweep(kind="consistency", campaign=campaign, ratios=RATIOS)
    for record in sweep_records(swept(sweep, patterns, weights, FOLDER / "consistency.nc")):
        yield replace(record, name=record.name.replace("sweep.", "inpaint."), source="noise-free, ratio of means")
