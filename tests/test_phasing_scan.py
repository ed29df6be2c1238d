"""The measured scan of gold, phased: the best of several random starts find the same crystal."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from scan_inputs import measured_scan

from braggworks.cli import main


@pytest.mark.slow
@pytest.mark.needs_scan
def test_the_best_three_of_ten_starts_agree_on_the_measured_crystal(tmp_path: Path) -> None:
    scan = measured_scan()
    cycles = ["--hio", "100", "--raar", "300", "--er", "50", "--bin", "2", "2", "1", "--crop", "96"]
    assert main(["phase", str(scan), "--out", str(tmp_path / "object.cxi"), "--starts", "10", *cycles]) == 0
    with h5py.File(tmp_path / "object.cxi") as file:
        extra = file["entry_1/braggworks"]
        assert extra["pairwise_correlation"][()].min() > 0.95
        assert extra["pairwise_correlation_inside"][()].min() > 0.9
        assert extra["free_llk"][()].min() < 8
        strain = extra["laboratory/strain"][()]
    # A gold nanocrystal: some ten-thousandths of strain, in most of its volume.
    assert 1e-5 < float(np.nanmedian(np.abs(strain))) < 1e-3
