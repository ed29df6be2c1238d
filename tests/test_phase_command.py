"""`braggworks phase`: the grid, the geometry, the object on it, the file, the picture, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import matplotlib.image
import numpy as np
import pytest
from phasing_inputs import ANGLES, faceted, scan_of
from scipy.ndimage import binary_erosion, zoom

from braggworks.cli import main
from braggworks.errors import PhasingError
from braggworks.inpainting.model import SHIPPED as INPAINTER
from braggworks.phasing.alignment import align, likeness
from braggworks.phasing.grids import check_memory
from braggworks.phasing.objects import centred, strain_along, without_piston, without_ramp
from braggworks.phasing.rsp import SHIPPED as PHASER
from braggworks.scans.geometry import geometry_of, orthogonal
from braggworks.scans.readers import read_scan
from braggworks.scans.scan import Scan
from braggworks.scans.writers import write_scan

FEW = ["--starts", "4", "--hio", "80", "--raar", "120", "--er", "60", "--full-coherence", "--support-period", "20"]


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("phase") / "scan.cxi"
    about = {"energy_ev": 9000.0, "distance_m": 0.5, "pixel_m": (55e-6, 55e-6), "angles": ANGLES}
    write_scan(path, scan_of(faceted(48, phase_range=1.0), **about))
    return path


@pytest.fixture(scope="module")
def phased(scan: Path) -> Path:
    output = scan.with_name("object.cxi")
    assert main(["phase", str(scan), "--out", str(output), "--bin", "1", "1", "1", *FEW]) == 0
    return output


# --- the command ---


def test_the_object_is_found_with_its_uncertainty(phased: Path) -> None:
    truth = faceted(48, phase_range=1.0)
    with h5py.File(phased) as file:
        found, support = file["entry_1/image_1/data"][()], file["entry_1/image_1/support"][()]
        assert file["entry_1/data_1/data"] == file["entry_1/image_1/data"]
        extra = file["entry_1/braggworks"]
        assert extra["free_llk"].shape == (4,)
        assert sorted(extra["free_llk"][()][extra["kept"][()]]) == sorted(extra["free_llk"][()])[:3]
        assert extra["mode_weights"][()].sum() == pytest.approx(1)
        assert 0.8 < extra["mode_weights"][0] <= 1
        assert extra["pairwise_correlation"].shape == (3,)
        assert (extra["pairwise_correlation_inside"][()] < extra["pairwise_correlation"][()]).all()
        phase, spread = extra["phase"][()], extra["phase_uncertainty"][()]
        provenance = json.loads(file.attrs["provenance"])
    assert likeness(align(found, truth, ramp=True), truth) > 0.96
    inside = support > 0
    assert (np.abs(found[inside]) ** 2).sum() > 0.9 * (np.abs(found) ** 2).sum()
    np.testing.assert_array_equal(np.isfinite(phase), inside)
    np.testing.assert_array_equal(np.isfinite(spread), inside)
    np.testing.assert_allclose(np.angle(np.exp(1j * (phase - np.angle(found))))[inside], 0, atol=1e-4)
    assert 0 < np.median(spread[inside]) < 1
    assert provenance["scan"] == "scan.cxi"
    assert provenance["phasing"]["method"] == "iterative"


def test_strain_is_on_cubes_in_the_laboratory(phased: Path) -> None:
    with h5py.File(phased) as file:
        held = {name: item[()] for name, item in file["entry_1/braggworks/laboratory"].items()}
        units = file["entry_1/braggworks/laboratory/displacement"].attrs["units"]
    assert units == "angstrom"
    inside = held["support"] > 0
    g = np.linalg.norm(held["q"])
    assert g == pytest.approx(
        2 * np.sin(0.5 * np.arccos(np.cos(np.deg2rad(32)) * np.cos(np.deg2rad(12)))) / 1.3776, 1e-3
    )
    assert abs(np.linalg.det(held["axes"])) ** (1 / 3) == pytest.approx(float(held["voxel"]))
    np.testing.assert_allclose(held["displacement"], -held["phase"] / (2 * np.pi * g), rtol=1e-5)
    assert np.isfinite(held["strain"]).sum() < inside.sum()
    assert np.nanmax(np.abs(held["strain"])) < 0.05
    # The volume of the object does not depend on the axes.
    with h5py.File(phased) as file:
        voxels = int(file["entry_1/image_1/mask"][()].sum())
    assert inside.sum() == pytest.approx(voxels, rel=0.15)


def test_the_strain_is_that_of_the_crystal(scan: Path, phased: Path) -> None:
    with h5py.File(phased) as file:
        held = {name: item[()] for name, item in file["entry_1/braggworks/laboratory"].items()}
    truth, support = centred(faceted(48, phase_range=1.0), faceted(48) != 0)
    geometry = geometry_of(read_scan(scan), (24, 24, 24))
    assert geometry is not None
    cubes, inside, voxel = orthogonal(without_piston(without_ramp(truth), support), support, geometry)
    g = float(np.linalg.norm(geometry.q))
    true = strain_along(cubes, inside, geometry.q / g, g, voxel)
    # Both grids have their centre at n // 2; the twin is turned through it.
    size = min(*true.shape, *held["strain"].shape) // 2 - 1
    parts = [
        each[tuple(slice(n // 2 - size, n // 2 + size + 1) for n in each.shape)]
        for each in (true, held["strain"], binary_erosion(inside, iterations=3))
    ]
    fits = []
    for wanted, deep in ((parts[0], parts[2]), (parts[0][::-1, ::-1, ::-1], parts[2][::-1, ::-1, ::-1])):
        both = deep & np.isfinite(wanted) & np.isfinite(parts[1])
        slope, _ = np.polyfit(wanted[both], parts[1][both], 1)
        fits.append((float(np.corrcoef(wanted[both], parts[1][both])[0, 1]), float(slope)))
    correlation, slope = max(fits)
    assert correlation > 0.9
    assert slope == pytest.approx(1, abs=0.15)


def test_the_same_seed_gives_the_same_object(scan: Path, phased: Path, tmp_path: Path) -> None:
    command = ["phase", str(scan), "--out", str(tmp_path / "again.cxi"), "--bin", "1", "1", "1", *FEW, "--threads", "2"]
    assert main(command) == 0
    with h5py.File(phased) as one, h5py.File(tmp_path / "again.cxi") as other:
        np.testing.assert_allclose(
            one["entry_1/braggworks/free_llk"][()], other["entry_1/braggworks/free_llk"][()], rtol=1e-3
        )


def test_a_dry_run_says_what_it_would_do(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phase", str(scan), "--out", str(tmp_path / "object.cxi"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "10 starts of 100 HIO + 20 DETWIN + 300 HIO + 1000 RAAR + 300 ER by iterative" in said
    assert "48x48x48 voxels from (0, 0, 0)" in said
    assert "34-ID-C" in said
    assert not list(tmp_path.iterdir())


def test_the_picture_shows_the_object(phased: Path, tmp_path: Path) -> None:
    assert main(["picture", str(phased), "--out", str(tmp_path / "object.png")]) == 0
    picture = matplotlib.image.imread(tmp_path / "object.png")
    assert picture.shape[1] > 900
    assert picture.std() > 0.1


@pytest.mark.needs_pynx
def test_pynx_opens_the_object(phased: Path) -> None:
    import subprocess

    from workflow_project import pynx_programs

    program = pynx_programs() / "python"
    # How PyNX's runner reads the object of an earlier run.
    script = (
        "import sys, h5py, numpy as np\n"
        "from pynx.cdi.selection import match2\n"
        "found = h5py.File(sys.argv[1])['/entry_last/image_1/data'][()]\n"
        "a, b, r = match2(found, found.copy())[:3]\n"
        "print(found.shape, float(np.abs(a - b).max()))\n"
    )
    done = subprocess.run(
        [str(program), "-c", script, str(phased)], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert "(48, 48, 48)" in done.stdout


def test_what_cdiutils_reads_is_there(phased: Path) -> None:
    with h5py.File(phased) as file:
        # Its load_cxi("image_1") takes groups of this class alone, and PhasingResultAnalyser these arrays.
        assert file["entry_1/image_1"].attrs["NX_class"] == "NXdata"
        found, support = file["entry_1/data_1/data"][()], file["entry_1/image_1/support"][()]
        assert np.abs(found)[support > 0].mean() > 10 * np.abs(found)[support == 0].mean()
        results = file["entry_1/image_1/process_1/results"]
        best = file["entry_1/braggworks/kept"][0]
        for name in ("llk", "free_llk"):
            assert results[f"{name}_poisson"][()] == pytest.approx(file[f"entry_1/braggworks/{name}"][best])


# --- what is refused ---


def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], scan: Scan, *options: str) -> str:
    write_scan(tmp_path / "bad.cxi", scan)
    assert main(["phase", str(tmp_path / "bad.cxi"), "--out", str(tmp_path / "object.cxi"), *options]) == 2
    assert not (tmp_path / "object.cxi").exists()
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("options", [["--out", "{tmp}"], ["--out", "{tmp}/taken/x.cxi"], ["--picture", "{tmp}"]])
def test_what_cannot_be_written_is_refused_before_anything_is_computed(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    (tmp_path / "taken").write_text("a file")
    given = [option.format(tmp=tmp_path) for option in options]
    given += [] if "--out" in given else ["--out", str(tmp_path / "object.cxi")]
    assert main(["phase", str(scan), "--dry-run", *given]) == 2
    assert "cannot be written: give the path of a file" in capsys.readouterr().err


def test_a_missing_gpu_is_told_at_once(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["phase", str(scan), "--out", str(tmp_path / "o.cxi"), "--device", "cuda", "--dry-run"]) == 2
    assert "torch sees no GPU" in capsys.readouterr().err


def test_one_run_has_no_uncertainty(scan: Path, tmp_path: Path) -> None:
    few = ["--starts", "1", "--best", "1", "--hio", "20", "--raar", "0", "--er", "20", "--bin", "1", "1", "1"]
    assert main(["phase", str(scan), "--out", str(tmp_path / "object.cxi"), *few]) == 0
    with h5py.File(tmp_path / "object.cxi") as file:
        assert np.isnan(file["entry_1/braggworks/phase_uncertainty"][()]).all()
        assert np.isnan(file["entry_1/braggworks/pairwise_correlation"][()]).all()


def test_a_peak_at_the_edge_is_no_second_peak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edge = Scan(scan_of(faceted(48)).counts[:, 23:])
    assert "is 1 voxels from the edge of axis y" in refused(tmp_path, capsys, edge)


def test_a_scan_without_a_peak_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat = np.random.default_rng(0).poisson(2.0, (48,) * 3).astype(np.uint32)
    assert "has no peak" in refused(tmp_path, capsys, Scan(flat))
    assert "has no peak" in refused(tmp_path, capsys, Scan(np.zeros((48,) * 3, np.uint32)))


def test_two_peaks_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = scan_of(faceted(48))
    both = np.roll(scan.counts, (0, 5, -8), (0, 1, 2)) + np.roll(scan.counts // 2, (0, -14, 10), (0, 1, 2))
    assert "has two peaks, at (z, y, x) = (24, 29, 16) and (24, 10, 34)" in refused(tmp_path, capsys, Scan(both))


def test_a_single_bright_voxel_is_no_second_peak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = scan_of(faceted(48))
    scan.counts[40, 6, 7] = 5_000_000
    write_scan(tmp_path / "scan.cxi", scan)
    assert main(["phase", str(tmp_path / "scan.cxi"), "--out", str(tmp_path / "x.cxi"), "--dry-run"]) == 0
    assert "1 voxels are a hundred times brighter than those around" in capsys.readouterr().out


def test_too_coarse_a_pattern_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide = zoom(np.abs(faceted(32)), (1, 1, 2.2), order=1)[:, :, 19:51]
    said = refused(tmp_path, capsys, scan_of(wide + 0j))
    assert "Axis x is oversampled about 1." in said
    assert "less than the 2 that phase retrieval needs" in said
    said = refused(tmp_path, capsys, scan_of(faceted(48)), "--bin", "1", "2", "1")
    assert "Axis y is after binning oversampled" in said


def test_a_mask_over_the_peak_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = scan_of(faceted(48))
    mask = np.zeros(scan.counts.shape, bool)
    mask[:, 22:27] = True
    said = refused(tmp_path, capsys, Scan(np.where(mask, 0, scan.counts), mask=mask))
    assert "covers the Bragg peak" in said
    ball = sum((np.arange(48) - 24).reshape(shape) ** 2 for shape in ((-1, 1, 1), (1, -1, 1), (1, 1, -1))) <= 4
    said = refused(tmp_path, capsys, Scan(np.where(ball, 0, scan.counts), mask=ball))
    assert "covers the Bragg peak" in said


def test_a_dead_pixel_beside_the_peak_hides_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = scan_of(faceted(48))
    mask = np.zeros(scan.counts.shape, bool)
    mask[:, 24, 25] = True
    write_scan(tmp_path / "scan.cxi", Scan(np.where(mask, 0, scan.counts), mask=mask))
    assert main(["phase", str(tmp_path / "scan.cxi"), "--out", str(tmp_path / "x.cxi"), "--dry-run"]) == 0


def test_negative_counts_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = scan_of(faceted(48)).counts.astype(np.float32)
    counts[3, 4, 5] = -1
    assert "unusable counts (1 negative), the first at (z, y, x) = (3, 4, 5)" in refused(tmp_path, capsys, Scan(counts))


def test_an_array_larger_than_memory_is_refused_with_the_size_that_fits() -> None:
    with pytest.raises(
        PhasingError, match=r"512x512x512 voxels and 10 starts need 27.5 GiB, and 4.0 GiB are free: .*256"
    ):
        check_memory((512,) * 3, 10, 4 << 30)
    check_memory((128,) * 3, 10, 4 << 30)


def test_a_scan_larger_than_memory_is_refused_before_it_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("data", (4000,) * 3, "u2", chunks=(1, 500, 500))
    assert main(["phase", str(tmp_path / "scan.h5"), "--out", str(tmp_path / "object.cxi")]) == 2
    found = re.search(r"holds 4000x4000x4000 voxels, .*free: crop it to about (\d+)x", capsys.readouterr().err)
    assert found
    assert 100 < int(found[1]) < 1600
    assert not (tmp_path / "object.cxi").exists()


def test_runs_that_all_diverge_are_refused(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--bin", "1", "1", "1", *FEW, "--support-expand", "-9"]
    assert main(["phase", str(scan), "--out", str(tmp_path / "object.cxi"), *options]) == 2
    assert "All 4 runs diverged, the first because its support became empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_runs_that_diverge_are_counted(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--hio", "40", "--raar", "40", "--er", "20", "--support-period", "10", "--full-coherence"]
    tight = ["--support-threshold", "0.4", "0.99", "--support-expand", "-1", "--starts", "6", "--best", "6"]
    options = ["--bin", "1", "1", "1", *few, *tight, "--out", str(tmp_path / "object.cxi")]
    assert main(["phase", str(scan), *options]) == 0
    with h5py.File(tmp_path / "object.cxi") as file:
        lost = int(np.isinf(file["entry_1/braggworks/free_llk"][()]).sum())
    assert 0 < lost < 6
    said = capsys.readouterr().out
    assert f"{lost} of 6 runs diverged, the first because its support became empty" in said
    assert f"so that {6 - lost} instead of 6 are combined" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--best", "5", "--starts", "4"], "best 5 is more than starts 4"),
        (["--hio", "0", "--raar", "0", "--er", "0", "--detwin", "0"], "are all 0"),
        (["--support-threshold", "0.5", "0.3"], "so swap the two"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(["phase", str(scan), "--out", str(tmp_path / "object.cxi"), "--bin", "1", "1", "1", *options]) == 2
    assert said in capsys.readouterr().err


def test_a_mask_that_is_nothing_is_told_with_what_it_could_be(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["phase", str(scan), "--mask", "eiger3m", "--out", str(tmp_path / "x.cxi")]) == 2
    said = capsys.readouterr().err
    assert "--mask eiger3m is neither a file nor a detector: give auto, a file, or one of" in said
    assert "eiger2m" in said


def test_the_network_refines_a_scan(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, asked = tmp_path / "object.cxi", ["--starts", "2", "--er", "10", "--full-coherence"]
    command = ["phase", str(scan), "--method", "rsp+er", "--weights", str(PHASER), "--out", str(output), *asked]
    assert main(command) == 0
    assert "2 views of the network, 10 ER by rsp+er, the best 2" in capsys.readouterr().out
    with h5py.File(output) as file:
        assert file["entry_1/braggworks/free_llk"].shape == (2,)
        provenance = json.loads(file.attrs["provenance"])
    assert provenance["phasing"]["method"] == "rsp+er"
    assert "hio" not in provenance["phasing"]
    assert provenance["schedules"][0]["steps"] == [["ER", 10]]
    assert provenance["schedules"][0]["support"]["border_px"] == 1
    assert len(provenance["weights_sha256"]) == 64


def test_views_take_their_refinement_in_turn(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["phase", str(scan), "--method", "rsp+er", "--weights", str(PHASER), "--er", "10", "--full-coherence"]
    found = []
    for name, asked in (("both", "0 8"), ("er", "0"), ("hio", "8")):
        output = tmp_path / f"{name}.cxi"
        assert main([*command, "--starts", "3", "--refine-hio", *asked.split(), "--out", str(output)]) == 0
        with h5py.File(output) as file:
            found.append(file["entry_1/braggworks/free_llk"][()])
    both, er, hio = found
    assert both == pytest.approx([er[0], hio[1], er[2]], rel=1e-4)
    assert not np.allclose(er, hio, rtol=1e-2)
    assert "3 views of the network, 10 ER and, in turn, 8 HIO + 10 ER by rsp+er" in capsys.readouterr().out
    output = tmp_path / "none.cxi"
    assert main([*command, "--starts", "1", "--refine-hio", "0", "8", "--out", str(output)]) == 2
    assert "refine_hio has 2 numbers for 1 views: give fewer, or raise starts" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_refused_before_phasing(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    command = ["phase", str(scan), *FEW, "--out", f"{tmp_path}/none/object.cxi"]
    monkeypatch.setattr(Path, "mkdir", gone)
    assert main([*command, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "is missing and will be made" in said
    assert re.search(r"time +about 1 min with --threads 1", said)
    assert main(command) == 2
    assert re.fullmatch(r"braggworks phase: .*none cannot be made .*\n", capsys.readouterr().err)


def test_weights_that_fill_gaps_phase_nothing(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "object.cxi"
    command = ["phase", str(scan), "--method", "rsp+er", "--weights", str(INPAINTER), "--out", str(output)]
    assert main(command) == 2
    assert "holds weights for the task inpaint, and the task phase is wanted" in capsys.readouterr().err
    assert not output.exists()
