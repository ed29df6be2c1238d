"""Phase a scan: find the object that its counts are the diffraction of.

The scan is corrected, cropped around its Bragg peak, and binned as far as its oversampling allows. Iterative phase
retrieval then begins from several random starts; the best by free log-likelihood are moved onto each other and
combined, and how far they differ is the uncertainty. The output is a CXI file that PyNX and cdiutils read: the object
and its support on the axes of the detector, and in entry_1/braggworks the phase and its standard deviation, the phase
retrieval transfer function, what every run reached, and, where the file holds energy, distance, pixels and angles,
modulus, phase, displacement and strain along G on cubes in the laboratory's frame. Its root attribute provenance says
in JSON what made it.

examples:
    braggworks phase scan.cxi --method iterative --out object.cxi --picture object.png
    braggworks phase filled.cxi --method pynx --starts 10 --bin 1 1 1 --out object.cxi --dry-run
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from braggworks.commands._pictures import draw_with_figures
from braggworks.commands._provenance import command_provenance
from braggworks.commands._recipes import thread_count
from braggworks.commands.scan import add_reading_arguments, positive_int, read_usable
from braggworks.errors import PhasingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from braggworks.phasing.grids import Grid
    from braggworks.phasing.schedule import Pattern, Phased, Schedule
    from braggworks.scans.geometry import Geometry
    from braggworks.scans.scan import Scan

METHODS = ("iterative", "pynx")


@dataclass(frozen=True)
class Work:
    """What is phased, and how."""

    scan: Scan
    grid: Grid
    pattern: Pattern
    geometry: Geometry | None
    schedule: Schedule


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_reading_arguments(parser)
    parser.add_argument("--output", "--out", required=True, metavar="CXI", help="object to write")
    parser.add_argument("--method", choices=METHODS, default="iterative", help="our own, in torch, or PyNX's")
    parser.add_argument("--picture", metavar="PNG", help="picture of the object to write")
    grid = parser.add_argument_group("the grid")
    grid.add_argument("--crop", type=positive_int, default=128, metavar="N", help="voxels per axis at most (128)")
    grid.add_argument(
        "--bin", type=positive_int, nargs=3, metavar=("Z", "Y", "X"), help="voxels to sum (as oversampling allows)"
    )
    runs = parser.add_argument_group("the runs")
    runs.add_argument("--starts", type=positive_int, default=10, metavar="N", help="random starts (10)")
    runs.add_argument("--best", type=positive_int, default=3, metavar="N", help="runs that are combined (3)")
    runs.add_argument("--by", choices=("free_llk", "mean_to_max"), default="free_llk", help="what makes a run good")
    runs.add_argument("--seed", type=int, default=0, metavar="N", help="of the starts (0)")
    for name, cycles in (("hio", 400), ("raar", 1000), ("er", 300)):
        runs.add_argument(f"--{name}", type=_cycles, default=cycles, metavar="N", help=f"cycles of {name} ({cycles})")
    runs.add_argument("--detwin", type=_cycles, default=20, metavar="N", help="cycles in half the support (20)")
    support = parser.add_argument_group("the support")
    support.add_argument(
        "--support-threshold", type=_share, nargs=2, default=(0.3, 0.4), metavar=("LOW", "HIGH"), help="(0.3 0.4)"
    )
    support.add_argument("--support-period", type=positive_int, default=25, metavar="N", help="cycles (25)")
    support.add_argument(
        "--support-smooth", type=float, nargs=2, default=(2.0, 1.0), metavar=("FIRST", "LAST"), help="px (2.0 1.0)"
    )
    support.add_argument("--support-border", type=_cycles, default=0, metavar="PX", help="change only the border (0)")
    support.add_argument("--support-expand", type=int, nargs="*", default=(), metavar="PX", help="after each update")
    support.add_argument("--full-coherence", action="store_true", help="fit no partial coherence")
    where = parser.add_argument_group("where; no result depends on it, beyond rounding")
    where.add_argument("--threads", type=thread_count, default=1, metavar="N", help="processor threads (1)")
    where.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(auto)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")


def _cycles(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 1 000 000")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 1")
    return value


def run(args: argparse.Namespace) -> None:
    """Write the object."""
    if args.best > args.starts:
        raise PhasingError(f"--best {args.best} is more than --starts {args.starts}: ask for fewer, or start more.")
    work = _work(args)
    _announce(args, work)
    if args.dry_run:
        return
    runs = _runs(args, work)
    _write(args, work, runs)
    if args.picture:
        draw_with_figures(args.output, args.picture)


# --- what is to be done ---


def _work(args: argparse.Namespace) -> Work:
    import numpy as np

    from braggworks.inpainting.checks import check_peak
    from braggworks.phasing.grids import check_memory, check_one_peak, choose_grid
    from braggworks.phasing.likelihood import free_voxels
    from braggworks.phasing.schedule import Pattern
    from braggworks.scans.geometry import binned, geometry_of
    from braggworks.scans.prepare import correct, find_peak
    from braggworks.seeds import generator

    raw = read_usable(args)
    scan, notes = correct(raw, tuple(args.roi_origin))
    peak = find_peak(scan.counts, scan.mask).position
    check_peak(scan.counts, scan.gap, scan.source)
    check_one_peak(scan.counts, scan.gap, peak)
    grid = choose_grid(scan.counts, scan.gap, peak, args.crop, tuple(args.bin) if args.bin else None)
    check_memory(grid.shape, args.starts, _free_memory())
    for note in notes:
        print(f"{'correction':<13}{note}")
    mask = grid.take(scan.gap) > 0
    counts = np.where(mask, 0, grid.take(scan.counts)).astype(np.float32)
    pattern = Pattern(counts, mask, free_voxels(counts.shape, mask, generator("free voxels", args.seed)))
    geometry = geometry_of(raw, peak, tuple(args.roi_origin))
    return Work(scan, grid, pattern, geometry and binned(geometry, grid.bins), _schedule(args))


def _schedule(args: argparse.Namespace) -> Schedule:
    from dataclasses import replace

    from braggworks.phasing.schedule import Coherence, SupportRule, standard

    first, last = args.support_smooth
    low, high = args.support_threshold
    if low > high or min(first, last) <= 0:
        raise PhasingError("--support-threshold and --support-smooth need LOW below HIGH and widths above 0.")
    rule = SupportRule(
        threshold=(low, high),
        smooth_px=(first, last, 600),
        period=args.support_period,
        border_px=args.support_border,
        expand_px=tuple(args.support_expand),
    )
    schedule = standard(args.hio, args.raar, args.er, rule, detwin=args.detwin)
    if not schedule.cycles:
        raise PhasingError("--hio, --raar and --er are all 0: ask for some cycles.")
    # PyNX's CPU backend knows no partial coherence.
    coherent = args.full_coherence or (args.method == "pynx" and args.device != "cuda")
    return replace(schedule, coherence=None if coherent else Coherence(period=args.support_period, begin=args.hio))


def _free_memory() -> int:
    import os

    return int(os.sysconf("SC_AVPHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))


def _announce(args: argparse.Namespace, work: Work) -> None:
    from braggworks.phasing.grids import oversampling

    grid, pattern = work.grid, work.pattern
    ratios = ", ".join(f"{ratio:.1f}" for ratio in oversampling(pattern.counts, pattern.mask))
    shape, extent, bins = ("x".join(map(str, each)) for each in (grid.shape, grid.extent, grid.bins))
    print(f"{'grid':<13}{shape}: {extent} voxels from {grid.start}, binned {bins}")
    print(f"{'oversampling':<13}{ratios} along z, y, x, or a little less")
    masked, kept_out = pattern.mask.mean(), pattern.free.mean()
    print(f"{'counts':<13}{pattern.counts.sum():.4g}, {masked:.2%} masked, {kept_out:.2%} kept out")
    steps = " + ".join(f"{step.cycles} {step.algorithm}" for step in work.schedule.steps)
    print(f"{'runs':<13}{args.starts} starts of {steps} by {args.method}, the best {args.best} by {args.by}")
    where = f"{work.geometry.diffractometer}" if work.geometry else "unknown, so that neither strain nor lengths are"
    print(f"{'geometry':<13}{where}")


# --- the runs ---


def _runs(args: argparse.Namespace, work: Work) -> list[Phased]:
    from tqdm import tqdm

    from braggworks.phasing.starts import draw_start

    starts = [draw_start(work.pattern, work.schedule, args.seed, index) for index in range(args.starts)]
    interval = 0.1 if sys.stderr.isatty() else 5
    total = args.starts * work.schedule.cycles
    with tqdm(total=total, desc="phase", unit="cycle", mininterval=interval) as bar:
        if args.method == "pynx":
            from braggworks.phasing import pynx_process

            device = "cuda" if args.device == "cuda" else "cpu"
            return pynx_process.phase(work.pattern, work.schedule, starts, bar.update, device)

        import torch

        from braggworks.phasing import iterative

        gpu = args.device == "cuda" or (args.device == "auto" and torch.cuda.is_available())
        if not gpu:
            torch.set_num_threads(args.threads)
        device = "cuda" if gpu else "cpu"
        return iterative.phase(work.pattern, work.schedule, starts, bar.update, device=device, threads=args.threads)


# --- what is written ---


def _write(args: argparse.Namespace, work: Work, runs: list[Phased]) -> None:
    import numpy as np

    from braggworks.phasing.objects import centred, unwrapped, without_piston, without_ramp
    from braggworks.phasing.selection import aligned, best, modes, prtf
    from braggworks.scans.phased import write_phased

    kept = best(runs, args.best, args.by)
    first, support = centred(kept[0].found, kept[0].support)
    objects = aligned([first, *(each.found for each in kept[1:])])
    found, weights = modes(objects)
    flat = without_piston(without_ramp(found[0]), support)
    q, transfer = prtf(objects, work.pattern)
    agreement = _agreement(objects)
    extra: dict[str, tuple[NDArray[Any], str]] = {
        "phase": (unwrapped(flat, support).astype(np.float32), "rad"),
        "phase_uncertainty": (_phase_spread(objects, found[0], support).astype(np.float32), "rad"),
        "prtf": (transfer, "1"),
        "prtf_q": (q, "1"),
        "mode_weights": (weights, "1"),
        "pairwise_correlation": (agreement, "1"),
        "free_llk": (np.array([each.free_llk for each in runs]), "1"),
        "llk": (np.array([each.llk for each in runs]), "1"),
        "kept": (np.array([next(k for k, each in enumerate(runs) if each is run) for run in kept]), "1"),
    }
    if work.geometry:
        extra |= _laboratory(flat, support, work.geometry)
    provenance = command_provenance(args.scan, method=args.method, seed=args.seed)
    attributes = {"window": list(work.grid.start), "bins": list(work.grid.bins), "provenance": provenance}
    write_phased(args.output, flat, support, work.scan, extra, **attributes)
    worst = f", pairwise modulus correlation {agreement.min():.3f} or more" if len(kept) > 1 else ""
    print(f"{'result':<13}free LLK {', '.join(f'{each.free_llk:.2f}' for each in kept)}{worst}")
    print(f"{args.output}: an object of {int(support.sum())} voxels")


def _agreement(objects: list[NDArray[Any]]) -> NDArray[np.float64]:
    import numpy as np

    from braggworks.phasing.alignment import correlation

    pairs = [(a, b) for k, a in enumerate(objects) for b in objects[:k]]
    return np.array([correlation(np.abs(a), np.abs(b)) for a, b in pairs] or [1.0])


def _phase_spread(objects: list[NDArray[Any]], mean: NDArray[Any], support: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the standard deviation of the phase over the objects that were combined, NaN outside the support."""
    import numpy as np

    turns = np.stack([np.angle(each * np.conj(mean)) for each in objects])
    return np.where(support, np.sqrt((turns**2).mean(axis=0)), np.nan)


def _laboratory(
    found: NDArray[Any], support: NDArray[np.bool_], geometry: Geometry
) -> dict[str, tuple[NDArray[Any], str]]:
    """Return what is known of the crystal on cubes in the laboratory's frame."""
    import numpy as np

    from braggworks.phasing.objects import displacement, strain_along, unwrapped
    from braggworks.scans.geometry import orthogonal

    cubes, inside, voxel = orthogonal(found, support, geometry)
    g = float(np.linalg.norm(geometry.q))
    phase = unwrapped(cubes, inside)
    strain = strain_along(cubes, inside, geometry.q / g, g, voxel)
    volumes = {
        "modulus": (np.abs(cubes), "1"),
        "support": (inside.astype(np.int8), "1"),
        "phase": (phase, "rad"),
        "displacement": (displacement(phase, g), "angstrom"),
        "strain": (strain, "1"),
        "voxel": (np.array(voxel), "angstrom"),
        "q": (geometry.q, "1/angstrom"),
    }
    return {f"laboratory/{name}": (_short(values), units) for name, (values, units) in volumes.items()}


def _short(values: NDArray[Any]) -> NDArray[Any]:
    """Return volumes in single precision."""
    return values.astype("f4") if values.ndim == 3 and values.dtype.kind == "f" else values
