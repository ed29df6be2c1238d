"""What a little training on the scan itself adds, on gaps cut into its held-out part (M. Masto's thesis, 3.9).

The scan is aps34idc_au_scan54.cxi in the folder BRAGGWORKS_TEST_DATA. The weights are those that BRAGGWORKS_WEIGHTS
names, or those of the package.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from braggworks.inpainting.model import SHIPPED
from braggworks.records import Record

SCAN = "aps34idc_au_scan54.cxi"
WIDTHS, WINDOWS, EPOCHS = (3, 6, 12), 1600, 3
FOLDER = Path("results/benchmarks/finetune")


def measure() -> Iterator[Record]:
    """Yield the correlation by width: linear, before, and after."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    scan = Path(os.environ["BRAGGWORKS_TEST_DATA"]) / SCAN
    weights = os.environ.get("BRAGGWORKS_WEIGHTS", str(SHIPPED))
    command = [sys.executable, "-m", "braggworks", "finetune", str(scan), "--weights", weights]
    command += ["--widths", *map(str, WIDTHS), "--windows", str(WINDOWS), "--epochs", str(EPOCHS)]
    command += ["--out", str(FOLDER / "weights.safetensors"), "--scores", str(FOLDER / "scores.json")]
    subprocess.run([*command, "--threads", str(len(os.sched_getaffinity(0)))], check=True)
    found = json.loads((FOLDER / "scores.json").read_text())
    about = f"held-out part of the scan; {EPOCHS} epochs of {WINDOWS} slabs"
    for name, scores in found["pcc"].items():
        for width, score in scores.items():
            yield Record(f"inpaint.finetune.{name}.gap{width}", score, "1", n=found["windows"], source=about)
