"""Score a network against the gap's place, oversampling, feigned strain, pixels skipped, or the phase range.

What it is scored on comes with the kind of the sweep: a release's manifest (position), complex patterns (oversampling,
strain, consistency, masking), a prepared scan (skipped), or a shard of the task phase (phasing, shells, steps).
Interpolation is scored beside networks that fill gaps, but for skipped pixels; iterative phasing, for the phase range.
With --state, a long sweep goes on where it was stopped.

example:
    braggworks sweep manifest.json --recipe recipe.json --weights w.safetensors --output sweep.nc
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braggworks.commands._diffracted import first_patterns, read_diffracted
from braggworks.commands._recipes import add_recipe_arguments, read_recipe
from braggworks.commands._test_patches import test_patches
from braggworks.commands.scan import positive_int
from braggworks.config import (
    ConsistencySweep,
    MaskingSweep,
    OversamplingSweep,
    PhasingSweep,
    PositionSweep,
    ShellSweep,
    SkippedSweep,
    StepSweep,
    StrainSweep,
)
from braggworks.errors import ConfigError, FileError
from braggworks.recipes import SweepRecipe

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray
    from tqdm import tqdm

    from braggworks.inpainting.model import Inpainter
    from braggworks.inpainting.whole_scan import Fill
    from braggworks.phasing.schedule import Pattern, Phased

# Seed of the bootstrap, kept in the file.
SEED = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("data", metavar="FILE", help="manifest, patterns or scan, by the kind of the sweep")
    add_recipe_arguments(parser, campaign=False)
    parser.add_argument("--weights", required=True, metavar="SAFETENSORS", help="trained weights")
    parser.add_argument("--output", required=True, metavar="NC", help="scores to write, NetCDF")
    parser.add_argument("--state", metavar="JSON", help="file for what is done of a sweep over phase ranges")
    parser.add_argument(
        "--part",
        choices=("iterative", "network"),
        help="do no more than this of a sweep over phase ranges: the one on processors, say, the other on a GPU, with "
        "one --state; scores are written when both are done",
    )
    parser.add_argument("--threads", type=positive_int, default=1, metavar="N", help="processor threads (default: 1)")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where phases are found (default: cpu)"
    )


def run(args: argparse.Namespace) -> None:
    """Write the scores."""
    recipe = read_recipe(args, SweepRecipe)
    if args.part and not (args.state and isinstance(recipe.sweep, PhasingSweep)):
        raise ConfigError("--part needs --state, and a sweep of the kind phasing: leave it out, or add --state.")

    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device is cuda and torch sees no GPU: leave it out, or run where there is one.")

    from braggworks.files import atomic_path
    from braggworks.inpainting.model import load_inpainter

    torch.set_num_threads(args.threads)
    match recipe.sweep:
        case PositionSweep():
            data = _positions(recipe.sweep, args, load_inpainter(args.weights))
        case OversamplingSweep():
            data = _oversampling(recipe.sweep, args, load_inpainter(args.weights))
        case StrainSweep():
            data = _artefacts(recipe.sweep, args, load_inpainter(args.weights))
        case ConsistencySweep():
            data = _consistency(recipe.sweep, args, load_inpainter(args.weights))
        case MaskingSweep():
            data = _masking(recipe.sweep, args, load_inpainter(args.weights))
        case PhasingSweep():
            from braggworks.commands._phasing_sweep import compare

            found = compare(recipe.sweep, args)
            if found is None:
                print(f"{args.state}: this part is done; run again with the other --part, or without, for the scores.")
                return
            data = found
        case ShellSweep():
            from braggworks.commands._shell_sweep import score_stitched

            data = score_stitched(recipe.sweep, args)
        case StepSweep():
            from braggworks.commands._step_sweep import score_steps

            data = score_steps(recipe.sweep, args)
        case SkippedSweep():
            data = _skipped(recipe, recipe.sweep, args)
    with atomic_path(args.output) as temporary:
        data.to_netcdf(temporary, engine="h5netcdf")


def _fills(inpainter: Inpainter) -> dict[str, Fill]:
    from braggworks.evaluation.sweeps import interpolation

    return {"network": inpainter.fill, "linear": interpolation("linear")}


def _bar(total: int, unit: str) -> tqdm[Any]:
    from tqdm import tqdm

    return tqdm(total=total, desc="sweep", unit=unit, mininterval=0.1 if sys.stderr.isatty() else 5)


def _positions(sweep: PositionSweep, args: argparse.Namespace, inpainter: Inpainter) -> xr.Dataset:
    from braggworks.evaluation.positions import gap_starts, score_positions

    patches = test_patches(args.data)
    size = patches.counts.shape[-1]
    if inpainter.patch not in (None, size):
        raise FileError(
            f"{args.weights} fills patches of {inpainter.patch} px, and {args.data} holds patches of {size} px: use "
            "weights that were trained on this release."
        )
    with _bar(len(patches) * len(gap_starts(size, sweep.gap_px, sweep.step_px)), "patch") as bar:
        fills = _fills(inpainter)
        return score_positions(patches, fills, width=sweep.gap_px, step=sweep.step_px, seed=SEED, progress=bar.update)


def _oversampling(sweep: OversamplingSweep, args: argparse.Namespace, inpainter: Inpainter) -> xr.Dataset:
    from braggworks.evaluation.oversampling import score_oversampling
    from braggworks.inpainting.patch_inpainter import PatchInpainter

    fills = _fills(inpainter)
    if isinstance(inpainter, PatchInpainter):
        # It fills cubes, and a whole pattern is a scan to it.
        fills["network"] = partial(_fill_whole, inpainter)
    with _bar(0, "gap") as bar:
        return score_oversampling(
            _amplitudes(args.data, sweep.patterns), fills, sweep.ratios, sweep.gap_widths_px, bar.update
        )


def _fill_whole(inpainter: Inpainter, counts: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[Any]:
    found = inpainter.fill_scan(counts[0], mask[0]).counts[None]
    return found  # noqa: RET504 - the type of the array is the scan's


def _amplitudes(path: str, most: int) -> list[tuple[NDArray[Any], float]]:
    from braggworks.files import open_h5

    with open_h5(path, "patterns") as file:
        patterns = first_patterns(file, most)
        return [(group["amplitude"][k], float(group["oversampling"][k].min())) for group, k in patterns]


def _artefacts(sweep: StrainSweep, args: argparse.Namespace, inpainter: Inpainter) -> xr.Dataset:
    from braggworks.evaluation.gap_artefacts import score_artefacts, whole_fills

    particles = read_diffracted(args.data, sweep.patterns)
    fills = whole_fills(inpainter)
    with _bar(len(particles) * len(sweep.gap_widths_px), "gap") as bar:
        return score_artefacts(particles, fills, sweep.gap_widths_px, sweep.offset_px, bar.update)


def _consistency(sweep: ConsistencySweep, args: argparse.Namespace, inpainter: Inpainter) -> xr.Dataset:
    from braggworks.evaluation.consistency import score_consistency
    from braggworks.evaluation.gap_artefacts import whole_fills

    fill = whole_fills(inpainter)["network"]
    own = [ratio for _, ratio in _amplitudes(args.data, sweep.patterns)]
    particles = list(zip(read_diffracted(args.data, sweep.patterns), own, strict=True))
    with _bar(len(particles) * len(sweep.ratios) * len(sweep.gap_widths_px), "gap") as bar:
        return score_consistency(
            particles, fill, sweep.ratios, sweep.gap_widths_px, sweep.offset_px, progress=bar.update
        )


def _masking(sweep: MaskingSweep, args: argparse.Namespace, inpainter: Inpainter) -> xr.Dataset:
    from braggworks.evaluation.gap_artefacts import whole_fills
    from braggworks.evaluation.masking import score_masking
    from braggworks.phasing.iterative import phase
    from braggworks.phasing.schedule import SupportRule, standard
    from braggworks.phasing.selection import best
    from braggworks.phasing.starts import draw_start

    particles, fills = read_diffracted(args.data, sweep.patterns), whole_fills(inpainter)
    rule = SupportRule(sweep.support_threshold, period=sweep.support_period)
    schedule = standard(sweep.hio, sweep.raar, sweep.er, rule)
    total = len(particles) * (4 + len(fills)) * sweep.starts * schedule.cycles
    with _bar(total, "cycle") as bar:

        def phase_best(pattern: Pattern, seed: int) -> Phased:
            starts = [draw_start(pattern, schedule, seed, index) for index in range(sweep.starts)]
            return best(phase(pattern, schedule, starts, bar.update, threads=args.threads), 1)[0]

        scores = score_masking(particles, fills, phase_best, sweep.gap_px, sweep.offset_px)
    return scores.assign_attrs(starts=sweep.starts)


def _skipped(recipe: SweepRecipe, sweep: SkippedSweep, args: argparse.Namespace) -> xr.Dataset:
    from braggworks.evaluation.scan_scores import cut_cross
    from braggworks.evaluation.skipping import score_skipping
    from braggworks.inpainting.model import load_inpainter
    from braggworks.scans.prepare import find_peak
    from braggworks.scans.readers import read_scan

    assert recipe.scan is not None  # noqa: S101
    if load_inpainter(args.weights).unit != "window":
        raise ConfigError(
            f"{args.weights} fills whole slabs, and skips nothing: leave the sweep over skipped pixels out, or train "
            "patch_inpainter_3d."
        )
    scan = read_scan(Path(args.data))
    peak = find_peak(scan.counts, scan.mask).position
    gap, _ = cut_cross(scan.counts.shape, peak, recipe.scan.gap_px, recipe.scan.gap_offset_px)
    with _bar(len(sweep.skipped_px), "filling") as bar:
        return score_skipping(partial(load_inpainter, args.weights), scan.counts, gap, sweep.skipped_px, bar.update)
