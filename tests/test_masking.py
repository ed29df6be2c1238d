"""Phasing around a gap: what PyNX is given, how its objects are compared with the truth, and PyNX itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from workflow_project import pynx_programs

from braggworks.cli import main
from braggworks.config import MaskingSweep
from braggworks.evaluation.gap_artefacts import Diffracted
from braggworks.evaluation.masking import mask_strategies, score_strategies
from braggworks.evaluation.oversampling import MOST
from braggworks.files import create_h5
from braggworks.inpainting.model import SHIPPED
from braggworks.recipes import SweepRecipe
from braggworks.scans.scan import Scan
from braggworks.scans.writers import write_scan

SIZE = 48


@pytest.fixture(scope="module")
def particle() -> Diffracted:
    """A cut box with a gentle phase."""
    z, y, x = (grid - SIZE // 2 for grid in np.indices((SIZE,) * 3))
    inside = (abs(z) <= 5) & (abs(y) <= 6) & (abs(x) <= 4) & (x + y + z < 9)
    field = inside * np.exp(0.3j * np.sin(y / 3) * np.cos(x / 4))
    return Diffracted(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(field))), 0.4, 5.0)


def object_of(particle: Diffracted) -> np.ndarray:
    return np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(particle.amplitude)))


def test_strategies_differ_in_the_gap_alone(particle: Diffracted) -> None:
    fills = {"network": lambda counts, mask: np.where(mask, 7, counts)}
    found, gap = mask_strategies(np.abs(particle.amplitude) ** 2, fills, 4, 3, seed=1)
    assert list(found) == ["complete", "free", "streaks", "zeros", "network"]
    complete = found["complete"].counts
    assert complete.max() == pytest.approx(MOST, rel=0.02)
    assert gap.sum() == SIZE * (SIZE * 4 * 2 - 16)
    for name, strategy in found.items():
        np.testing.assert_array_equal(strategy.counts[~gap], complete[~gap])
        assert not strategy.mask[~gap].any()
        if name not in {"complete", "network"}:
            assert not strategy.counts[gap].any()
    assert found["free"].mask[gap].all()
    assert not found["zeros"].mask.any()
    assert 0 < found["streaks"].mask.sum() < gap.sum()
    # Streaks are where something would have been counted.
    streaks = found["streaks"].mask
    assert complete[streaks].mean() > 10 * complete[gap & ~streaks].mean()
    assert (found["network"].counts[gap] == 7).all()


def test_the_truth_has_no_error_and_a_wrong_phase_has(particle: Diffracted) -> None:
    truth = object_of(particle)
    gap = np.zeros(truth.shape, bool)
    y = np.indices(truth.shape)[1]
    found = score_strategies({"same": 3j * truth, "other": truth * np.exp(0.1j * y)}, particle, gap)
    assert found["strain_rmse"].sel(strategy="same") < 1e-9
    # A slope of 0.1 rad per voxel of 5 angstrom along G.
    wanted = 0.1 / (2 * np.pi * 0.4 * 5)
    assert float(found["strain_rmse"].sel(strategy="other")) == pytest.approx(wanted, rel=1e-6)
    assert (found["modulus_rmse"] < 1e-9).all()
    assert found["projection"].sel(strategy="truth").shape == (SIZE, SIZE)


def test_phasing_leaves_most_error_where_the_gap_was_taken_for_zeros(particle: Diffracted, tmp_path: Path) -> None:
    write_patterns(tmp_path / "patterns.h5", particle)
    sweep = MaskingSweep(
        kind="masking", campaign="none", offset_px=3, starts=3, hio=100, raar=150, er=60, support_period=20
    )
    recipe = SweepRecipe(version=1, sweep=sweep).to_json()
    arguments = ["sweep", str(tmp_path / "patterns.h5"), "--recipe", recipe, "--weights", str(SHIPPED)]
    assert main([*arguments, "--output", str(tmp_path / "masking.nc"), "--threads", "2"]) == 0
    scores = xr.load_dataset(tmp_path / "masking.nc", engine="h5netcdf")
    names = ["truth", "complete", "free", "streaks", "zeros", "linear", "network"]
    assert scores["strategy"].values.tolist() == names
    assert scores.attrs["starts"] == 3
    modulus, strain = (scores[name].mean("particle").to_series() for name in ("modulus_rmse", "strain_rmse"))
    assert modulus["complete"] < 0.2
    assert modulus["zeros"] > 1.5 * modulus["complete"]
    assert strain["zeros"] > 1.2 * strain["complete"]
    assert np.isfinite(scores["free_llk"].values[1:]).all()


def write_patterns(path: Path, particle: Diffracted) -> None:
    """Write what `braggworks scatter` would."""
    with create_h5(path, "patterns") as file:
        group = file.create_group("particle-000000")
        group["amplitude"] = particle.amplitude[None]
        group["reflection"] = np.array([[1.0, 0, 0]])
        group["dq"] = np.array([1 / (SIZE * particle.voxel_angstrom)])
        group.attrs["lattice_constant"] = 1 / particle.g_per_angstrom


# --- PyNX, through its own environment ---


@pytest.fixture(scope="module")
def pynx() -> Path:
    """Folder of the programs of PyNX's environment."""
    return pynx_programs()


@pytest.mark.needs_pynx
def test_pynx_phases_a_scan_that_was_filled_and_sees_no_mask(particle: Diffracted, pynx: Path, tmp_path: Path) -> None:
    intensity = np.abs(particle.amplitude) ** 2
    counts = np.random.default_rng(0).poisson(intensity * (MOST / intensity.max())).astype(np.uint32)
    counts[:, :, 30:34] = 0
    write_scan(tmp_path / "scan.cxi", Scan(counts, title="a test"))
    arguments = ["inpaint", str(tmp_path / "scan.cxi"), "--mask", "auto", "--output", str(tmp_path / "filled.cxi")]
    assert main(arguments) == 0
    with h5py.File(tmp_path / "filled.cxi") as file:
        filled = file["entry_1/instrument_1/detector_1/data"][()]
        provenance = json.loads(file.attrs["provenance"])
    assert filled[..., 30:34].sum() > 0
    assert provenance["scan"] == "scan.cxi"
    assert len(provenance["weights_sha256"]) == 64
    script = "import sys; from pynx.cdi.scripts.pynx_id01cdi import main; sys.argv[0] = 'pynx-cdi-id01'; main()"
    options = ["--nb_run", "1", "--nb_hio", "20", "--nb_raar", "20", "--nb_er", "10", "--support_threshold", "0.3"]
    done = subprocess.run(
        [pynx / "python", "-c", script, "--data", "filled.cxi", *options, "--output_format", "cxi"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYNX_PU": "cpu", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "with 0 pixels masked" in done.stdout
    (result,) = (path for path in tmp_path.glob("*LLK*.cxi"))
    with h5py.File(result) as file:
        assert np.iscomplexobj(file["entry_1/image_1/data"][0])
