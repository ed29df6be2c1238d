"""Small synthetic input for every figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
from dataset_inputs import write_shard, write_steps
from phasing_inputs import diffract, faceted, write_object

from braggworks.config import NetworkConfig
from braggworks.evaluation.consistency import score_consistency
from braggworks.evaluation.gap_artefacts import Diffracted, score_artefacts
from braggworks.evaluation.masking import score_masking
from braggworks.evaluation.oversampling import score_oversampling
from braggworks.evaluation.phases import Patterns, score_phases, with_summary
from braggworks.evaluation.phasing_methods import METHODS, Score, methods_dataset
from braggworks.evaluation.positions import score_positions
from braggworks.evaluation.shells import score_shells
from braggworks.evaluation.skipping import score_skipping
from braggworks.evaluation.sweeps import Patches, interpolation
from braggworks.files import create_h5, write_json
from braggworks.inpainting.interpolation import interpolate
from braggworks.inpainting.patch_inpainter import PatchInpainter
from braggworks.networks import PatchPhaseNetwork, build
from braggworks.networks.patch_inpainter_3d import PatchInpainter3D
from braggworks.phasing.objects import phase_of
from braggworks.phasing.schedule import Pattern, Phased

N = 32
DQ = 0.01


def sphere(radius_voxels: float = 8.0, phase: Callable[..., np.ndarray] | None = None) -> np.ndarray:
    """Amplitude of a sphere with smooth edges, peak at the centre."""
    axis = np.arange(N) - N // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    modulus = 1 / (1 + np.exp(3 * (np.sqrt(z**2 + y**2 + x**2) - radius_voxels)))
    turned = modulus * np.exp(1j * phase(z, y, x)) if phase else modulus
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(turned))).astype(np.complex64)


def write_patterns(path: Path, engine: str, error: float = 0.0) -> None:
    with create_h5(path, "patterns", campaign="test", batch=0, particles=2, engine=engine) as file:
        for index, atoms in enumerate((100, 200)):
            group = file.create_group(f"{index:07d}")
            group["amplitude"] = np.stack([sphere(8 + index), sphere(6 + index)]) * (1 + error)
            group["oversampling"], group["ratio"] = [[4.0, 4.2, 4.4], [3.1, 3.2, 3.3]], [4.0, 3.1]
            group["dq"], group["reflection"] = [DQ, DQ], [[1, 1, 1], [2, 0, 0]]
            group.attrs.update(shape="wulff", material="Au", atoms=atoms, lattice_constant=4.08)


def write_relaxed(path: Path, shape: str, protocol: str, atoms: int = 200) -> None:
    rng = np.random.default_rng(len(protocol))
    with create_h5(path, "relaxed", campaign="test", batch=0, particles=1) as file:
        group = file.create_group("0000000")
        group["positions"] = rng.uniform(-20, 20, (atoms, 3))
        group["displacement"] = 0.05 * rng.normal(size=(atoms, 3))
        group.attrs.update(shape=shape, material="Au", lattice_constant=4.08, orientation=np.eye(3))
        group.attrs["strain_asked"] = json.dumps({"protocol": protocol})


def write_examples(path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = rng.poisson(np.array([0.5, 30, 3, 300])[:, None, None, None], (4, 16, 16, 16)).astype(np.float32)
    mask = np.zeros(truth.shape, np.uint8)
    mask[..., 5:11] = 1
    mask[1, :, 2:8] = 1
    with create_h5(path, "examples") as file:
        file["truth"], file["mask"] = truth, mask
        file["linear"], file["network"] = truth * 0.9, truth * 1.1
        file["gap_width"] = [6, 6, 6, 3]
        file["pcc_linear"], file["pcc_network"] = [0.5, 0.6, 0.7, 0.8], [0.6, 0.7, 0.8, 0.9]


def write_gap_width(path: Path) -> None:
    methods, widths, patches = ["network", "linear", "cubic"], [3, 6], 24
    rng = np.random.default_rng(0)
    score = rng.uniform(0.5, 0.9, (3, 2, patches))
    score[0, 0, 0] = np.nan
    summary = ("method", "gap_width")
    data = xr.Dataset(
        {
            "pcc": (("method", "gap_width", "patch"), score),
            "mean": (summary, np.nanmean(score, axis=2)),
            "low": (summary, np.nanmean(score, axis=2) - 0.02),
            "high": (summary, np.full((3, 2), np.nan)),
        },
        coords={
            "method": methods,
            "gap_width": widths,
            "particle": ("patch", np.arange(patches) // 4),
            "campaign": ("patch", np.array(["test"] * patches, dtype=object)),
            "mean_counts": ("patch", rng.uniform(0.1, 40, patches)),
            "patch_stratum": ("patch", np.arange(patches) % 2),
            "stratum": [0, 1],
            "stratum_mean_counts": ("stratum", [0.2, 40.0]),
        },
        attrs={"seed": 0, "n": patches, "particles": 6},
    )
    data.to_netcdf(path, engine="h5netcdf")


def write_filled_scan(path: Path, scores: Path) -> None:
    counts = np.random.default_rng(0).poisson(3, (24, 40, 50)).astype(np.float32)
    counts[12, 20, 25] = 1000
    mask = np.zeros(counts.shape, np.uint8)
    mask[:, :, 30:34] = mask[:, 26:30] = 1
    with create_h5(path, "scan", simulated=1, peak=np.array([12, 20, 25])) as file:
        file["entry_1/title"] = "a scan"
        file["entry_1/instrument_1/detector_1/data"] = counts
        file["entry_1/braggworks/filled"] = mask
        file["entry_1/braggworks/measured"] = counts
        file["entry_1/braggworks/linear"] = counts + 1
    write_json(scores, {"pcc": {"network": 0.9, "linear": None}})


def write_finetuned(path: Path) -> None:
    rng = np.random.default_rng(2)
    with create_h5(path, "examples") as file:
        for name in ("truth", "linear", "before", "after"):
            file[name] = rng.poisson(9, (3, 20, 24))
            if name != "truth":
                file[f"pcc_{name}"] = rng.uniform(0.5, 1, 3)


def write_sweeps(folder: Path) -> None:
    """Write one file of each kind of sweep, in which cubic interpolation stands in for a network."""
    rng = np.random.default_rng(1)
    fills = {"network": interpolation("cubic"), "linear": interpolation("linear")}
    counts = rng.poisson(20 * (1 + np.sin(np.arange(24) / 2)), (12, 1, 24, 24))
    patches = Patches(counts, np.arange(12) // 2, np.array(["a"] * 12), rng.uniform(2, 6, 12))
    score_positions(patches, fills, width=5, step=4, seed=0).to_netcdf(folder / "position.nc", engine="h5netcdf")
    amplitude = np.fft.fftshift(np.fft.fftn(np.pad(np.ones((6, 6, 6)), 9)))
    found = score_oversampling([(amplitude, 4.0)], fills, [2, 3, 4], [3, 5])
    found.to_netcdf(folder / "oversampling.nc", engine="h5netcdf")
    inpainter = PatchInpainter(PatchInpainter3D(0.05), 32, (3, 6))
    scan = rng.poisson(9.0, (32, 40, 40))
    gap = np.zeros(scan.shape, bool)
    gap[..., 20:24] = True
    found = score_skipping(lambda stride: replace_stride(inpainter, stride), scan, gap, [3, 7])
    found.to_netcdf(folder / "skipped.nc", engine="h5netcdf")
    fills = {"linear": whole, "network": lambda counts, mask: whole(counts, mask) + 1}
    particles = [Diffracted(sphere(radius), 0.4, 2.0) for radius in (5, 6)]
    score_artefacts(particles, fills, [3, 4], 4).to_netcdf(folder / "strain.nc", engine="h5netcdf")
    own = N / 12
    found = score_consistency([(each, own) for each in particles], whole, [2.0, 2.5], [2, 3], 3)
    found.to_netcdf(folder / "consistency.nc", engine="h5netcdf")

    def phase(pattern: Pattern, seed: int) -> Phased:
        found = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(np.sqrt(pattern.counts) + 0j)))
        return Phased(found.astype(np.complex64), np.abs(found) > 1, 1.0, 1.0)

    found = score_masking(particles, fills, phase, 3, 4)
    found.to_netcdf(folder / "masking.nc", engine="h5netcdf")


def write_phases(folder: Path) -> None:
    """Write what the evaluation of two networks for phases would, and their comparison with iterative phasing."""
    rng = np.random.default_rng(2)
    objects = [faceted(24, seed=k, phase_range=k + 1.0) for k in range(6)]
    counts = np.stack([rng.poisson(1e3 * diffract(each)) for each in objects])
    truths = np.stack([phase_of(each) for each in objects])
    values = {"campaign": np.array(["a", "b"] * 3), "particle": np.arange(6), "phase_range": np.arange(6) + 1.0}
    for variant, error in (("one", 0.3), ("two", 1.0)):
        found = (truths + rng.normal(0, error, truths.shape)).astype(np.float32)
        answers = iter(found)
        methods = {"network": lambda _, answers=answers: next(answers)[None], "flat phase": np.zeros_like}
        scores = with_summary(score_phases(Patterns(counts, truths, values), methods), seed=0)
        scores.to_netcdf(folder / variant / "phases.nc", engine="h5netcdf")
        network = scores.sel({"method": "network"})
        with create_h5(folder / variant / "examples.h5", "examples") as file:
            file["counts"], file["phase"], file["network"] = counts, truths, found
            file["phase_range"] = values["phase_range"]
            file["wca"], file["accuracy"] = network["wca"].values, network["accuracy"].values
    many = len(METHODS)
    drawn = [Score(*(tuple(rng.uniform(*span, many)) for span in ((40, 99), (0.5, 1), (1, 9)))) for _ in range(12)]
    found = methods_dataset(drawn, np.arange(12.0), np.arange(12), groups=4, seed=0)
    found.assign_attrs(campaign="a", starts=5, cycles=1700).to_netcdf(folder / "phasing.nc", engine="h5netcdf")
    seen = counts
    objects = [faceted(40, seed=k, phase_range=2.0) for k in range(2)]
    counts = np.stack([rng.poisson(1e3 * diffract(each)) for each in objects])
    patterns = Patterns(counts, np.stack([phase_of(each) for each in objects]), {k: v[:2] for k, v in values.items()})
    steps = xr.Dataset({name: (("particle", "step"), rng.uniform(1, 9, (3, 6))) for name in ("wca", "accuracy")})
    steps["phase_range"] = (("particle", "step"), np.tile(np.arange(6) + 1.0, (3, 1)))
    for name, array in {"counts": seen, "phase": truths, "network": truths + 0.1}.items():
        steps[name] = (("step", "z", "y", "x"), array)
    steps.assign_attrs(campaign="a").to_netcdf(folder / "steps.nc", engine="h5netcdf")
    network = build(NetworkConfig(name="rsp_patches_3d", width=0.1)).eval()
    assert isinstance(network, PatchPhaseNetwork)
    score_shells(network, patterns, 0).assign_attrs(campaign="a").to_netcdf(folder / "shells.nc", engine="h5netcdf")


def whole(counts: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.expm1(np.maximum(interpolate(np.log1p(counts), mask), 0))


def replace_stride(inpainter: PatchInpainter, stride: int) -> PatchInpainter:
    inpainter.stride = stride
    return inpainter


def write_engines(path: Path) -> None:
    rows = [{"particle": "0000000", "pattern": k, "error": 10.0 ** -(6 + k)} for k in range(2)]
    record = {"reference": "nufft", "other": "pynx", "worst": rows[0], "rows": rows}
    write_json(path, {**record, "seconds_reference": 0.5, "seconds_other": 50.0})


DOT = """digraph snakemake_dag {
    graph[bgcolor=white, margin=0];
    node[shape=box, style=rounded, fontname=sans, fontsize=10, penwidth=2];
    edge[penwidth=2, color=grey];
    0[label = "all", color = "0.3 0.6 0.85", style="rounded"];
    1[label = "draw_figure", color = "0.1 0.6 0.85", style="rounded"];
    2[label = "relax_batch", color = "0.2 0.6 0.85", style="rounded"];
    3[label = "cut_crystals", color = "0.4 0.6 0.85", style="rounded"];
    4[label = "mesh_crystal", color = "0.4 0.6 0.85", style="rounded"];
    1 -> 0
    4 -> 0
    2 -> 1
    3 -> 1
    3 -> 2
    3 -> 4
}
"""


def write_all(folder: Path) -> dict[str, list[str]]:
    """Write the input of every figure; return the paths by figure, in order."""
    write_patterns(folder / "nufft.h5", "nufft")
    write_patterns(folder / "pynx.h5", "pynx", error=1e-6)
    write_relaxed(folder / "free.h5", "cube", "free", atoms=300)
    write_relaxed(folder / "clamped.h5", "winterbottom", "clamped")
    corners = np.tile([[0, 0, 0], [16, 0, 4], [3, 5, 7]], (4, 1))
    write_shard(folder / "cut.h5", "atoms", family="atomistic", particles=2, per_pattern=3, corners=corners)
    write_shard(folder / "inpaint.h5", particles=8)
    write_shard(folder / "phase.h5", "other", task="phase", family="polygon2d", ndim=2)
    write_steps(folder / "steps.h5")
    write_examples(folder / "examples.h5")
    write_gap_width(folder / "gap_width.nc")
    write_sweeps(folder)
    write_finetuned(folder / "finetuned.h5")
    for variant in ("one", "two"):
        (folder / variant).mkdir()
        write_gap_width(folder / variant / "gap_width.nc")
    write_phases(folder)
    write_engines(folder / "engines.json")
    write_object(folder / "object.cxi")
    write_filled_scan(folder / "inpainted.cxi", folder / "scores.json")
    (folder / "rulegraph.dot").write_text(DOT)
    (folder / "history.csv").write_text(
        "epoch,step,train_loss,validation_loss,learning_rate\n1,10,0.5,0.6,0.002\n2,20,0.3,,0.002\n3,30,0.2,0.4,0.001\n"
    )
    files = {
        "crystal": ["free.h5", "clamped.h5"],
        "displacement": ["free.h5", "clamped.h5"],
        "steps": ["steps.h5"],
        "patches": ["nufft.h5", "cut.h5", "examples.h5"],
        "gallery": ["inpaint.h5"],
        "distributions": ["inpaint.h5", "phase.h5", "cut.h5"],
        "diffraction": ["nufft.h5"],
        "patch": ["examples.h5"],
        "gap-width": ["gap_width.nc"],
        "intensity": ["gap_width.nc"],
        "sweep-position": ["position.nc"],
        "sweep-oversampling": ["oversampling.nc"],
        "sweep-skipped": ["skipped.nc"],
        "sweep-strain": ["strain.nc"],
        "sweep-masking": ["masking.nc"],
        "sweep-consistency": ["consistency.nc"],
        "phases": ["one/examples.h5"],
        "phase-range": ["one/phases.nc"],
        "phase-study": [f"{each}/{name}" for each in ("one", "two") for name in ("phases.nc", "examples.h5")],
        "sweep-phasing": ["phasing.nc"],
        "sweep-shells": ["shells.nc"],
        "sweep-steps": ["steps.nc"],
        "study": ["one/gap_width.nc", "two/gap_width.nc"],
        "engines": ["nufft.h5", "pynx.h5", "engines.json"],
        "scan": ["inpainted.cxi", "scores.json"],
        "baselines": ["inpainted.cxi"],
        "object": ["object.cxi"],
        "finetune": ["finetuned.h5"],
        "training": ["history.csv"],
        "rulegraph": ["rulegraph.dot"],
        "isosurface": ["nufft.h5"],
    }
    return {name: [str(folder / file) for file in names] for name, names in files.items()}
