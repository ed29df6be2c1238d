"""Phase a scan: find the object that its counts are the diffraction of.

The scan is corrected, cropped around its Bragg peak, and binned as far as its oversampling allows. Iterative phase
retrieval then begins from several random starts, or refines the object of a network's reciprocal-space phase. The best
by free log-likelihood are moved onto each other and combined, and how far they differ is the uncertainty. The output
is a CXI file as PyNX writes of one run: the object and its support on the axes of the detector, and in
entry_1/braggworks the phase and its standard deviation, the phase retrieval transfer function, what every run reached,
and, where the file holds energy, distance, pixels and angles, modulus, phase, displacement and strain along G on cubes
in the laboratory's frame. Its root attribute provenance says in JSON what made it.

examples:
    braggworks phase scan.cxi --method iterative --out object.cxi --picture object.png
    braggworks phase scan.cxi --method rsp+er --out object.cxi
    braggworks phase filled.cxi --method pynx --starts 10 --bin 1 1 1 --out object.cxi --dry-run
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from braggworks.commands._outputs import check_outputs, make_folders
from braggworks.commands._phased_object import FOR_RANDOM_STARTS, write_object
from braggworks.commands._pictures import draw_with_figures
from braggworks.commands._recipes import read_recipe, thread_count
from braggworks.commands.scan import add_reading_arguments, read_usable
from braggworks.config import PhasingConfig
from braggworks.errors import ConfigError
from braggworks.mistakes import mistake_sentence
from braggworks.recipes import PhaseRecipe

if TYPE_CHECKING:
    from braggworks.phasing.grids import Grid
    from braggworks.phasing.schedule import Pattern, Phased, Schedule, Start
    from braggworks.scans.geometry import Geometry
    from braggworks.scans.scan import Scan


_TIMED = 25  # cycles, one of which refines the kernel of partial coherence, as in a run


@dataclass(frozen=True)
class Work:
    """What is phased, and how: starts take the schedules in turn."""

    scan: Scan
    grid: Grid
    pattern: Pattern
    geometry: Geometry | None
    schedules: tuple[Schedule, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_reading_arguments(parser)
    parser.add_argument("--output", "--out", required=True, metavar="CXI", help="object to write")
    parser.add_argument("--picture", metavar="PNG", help="picture of the object to write")
    parser.add_argument("--recipe", metavar="JSON", help="what follows, as JSON text or a JSON file; options win")
    parser.add_argument(
        "--method",
        choices=("rsp+er", "iterative", "pynx"),
        help="a network's object, refined by ER; our own iterative one, in torch; or PyNX's (default: iterative)",
    )
    parser.add_argument("--weights", metavar="SAFETENSORS", help="network of rsp+er (the one of the package)")
    grid = parser.add_argument_group("the grid")
    _whole(grid, "--crop", "crop_px", "N", "voxels per axis at most (128)")
    grid.add_argument(
        "--bin", dest="bins", type=int, nargs=3, metavar=("Z", "Y", "X"), help="voxels to sum (as oversampling allows)"
    )
    runs = parser.add_argument_group("the runs")
    _whole(runs, "--starts", "starts", "N", "random starts, or views that the network sees (10)")
    _whole(runs, "--best", "best", "N", "runs that are combined (3)")
    runs.add_argument("--by", choices=("free_llk", "mean_to_max"), help="what makes a run good (free_llk)")
    _whole(runs, "--seed", "seed", "N", "of the starts (0)")
    for name, cycles in (("hio", 400), ("raar", 1000), ("er", 300)):
        _whole(runs, f"--{name}", name, "N", f"cycles of {name} ({cycles})")
    runs.add_argument(
        "--refine-hio",
        type=int,
        nargs="+",
        metavar="N",
        help="cycles of hio between the network and er, in rsp+er; views take several numbers in turn (0)",
    )
    _whole(runs, "--detwin", "detwin", "N", "cycles in half the support (20)")
    support = parser.add_argument_group("the support")
    _pair(support, "--support-threshold", "support_threshold", ("LOW", "HIGH"), "shares of the rms modulus (0.3 0.4)")
    _pair(support, "--support-smooth", "support_smooth_px", ("FIRST", "LAST"), "smoothing, in px (2.0 1.0)")
    _whole(support, "--support-period", "support_period", "N", "cycles between updates (25)")
    _whole(support, "--support-border", "support_border_px", "PX", "change only so near to the border (0: all)")
    support.add_argument(
        "--support-expand", dest="support_expand_px", type=int, nargs="*", metavar="PX", help="growth after each update"
    )
    support.add_argument("--full-coherence", action="store_true", help="fit no partial coherence")
    where = parser.add_argument_group("where; no result depends on it, beyond rounding")
    where.add_argument("--threads", type=thread_count, default=1, metavar="N", help="processor threads (1)")
    where.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(auto)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")


def _whole(group: argparse._ArgumentGroup, option: str, name: str, unit: str, text: str) -> None:
    group.add_argument(option, dest=name, type=int, metavar=unit, help=text)


def _pair(group: argparse._ArgumentGroup, option: str, name: str, units: tuple[str, str], text: str) -> None:
    group.add_argument(option, dest=name, type=float, nargs=2, metavar=units, help=text)


def run(args: argparse.Namespace) -> None:
    """Write the object."""
    config = _config(args)
    _check_machine(args)
    _check_weights(args, config)
    work = _work(args, config)
    _announce(config, work)
    if args.dry_run:
        _say_time(args, config, work)
        return
    make_folders(args.output, args.picture)
    runs = _runs(args, config, work)
    write_object(args, config, work, runs)
    if args.picture:
        draw_with_figures(args.output, args.picture)


def _check_machine(args: argparse.Namespace) -> None:
    """Refuse, before anything is computed, a file that cannot be written or a device that is missing."""
    check_outputs(args.output, args.picture)
    if args.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ConfigError("--device is cuda and torch sees no GPU: leave it out, or run where there is one.")


def _check_weights(args: argparse.Namespace, config: PhasingConfig) -> None:
    """Refuse weights that nobody would read, or that cannot be."""
    if config.method != "rsp+er":
        if args.weights:
            raise ConfigError(f"--weights is for the method rsp+er, and this one is {config.method}: leave it out.")
        return
    from braggworks.phasing.rsp import SHIPPED, load_phaser

    args.weights = args.weights or str(SHIPPED)
    load_phaser(args.weights)


def _config(args: argparse.Namespace) -> PhasingConfig:
    """Join options and recipe; options win."""
    given: dict[str, Any] = {}
    if args.recipe:
        recipe = read_recipe(args, PhaseRecipe).phasing
        given = {name: getattr(recipe, name) for name in recipe.model_fields_set}
    given |= {name: value for name in PhasingConfig.model_fields if (value := getattr(args, name, None)) is not None}
    if args.full_coherence:
        given["coherence"] = False
    if given.get("starts", 0) > 0 and "best" not in given:
        given["best"] = min(PhasingConfig.model_fields["best"].default, given["starts"])
    try:
        config = PhasingConfig.model_validate(given)
    except ValidationError as error:
        sentence = mistake_sentence(error, "", PhasingConfig)
        name = sentence.partition(":")[0]
        given_here = getattr(args, name, None) is not None
        raise ConfigError(_option(name) + sentence.removeprefix(name) if given_here else sentence) from None
    unused = [_option(name) for name in FOR_RANDOM_STARTS if given.get(name)]
    if config.method == "rsp+er" and unused:
        print(f"{'note':<13}left out in rsp+er, because for random starts: {', '.join(unused)}")
    return _as_done(config, args)


def _option(name: str) -> str:
    """Return the option that sets a key."""
    return "--bin" if name == "bins" else "--" + name.removesuffix("_px").replace("_", "-")


_UNKNOWN_TO_PYNX = {
    "coherence": "partial coherence",
    "support_border_px": "--support-border",
    "support_expand_px": "--support-expand",
}


def _as_done(config: PhasingConfig, args: argparse.Namespace) -> PhasingConfig:
    """Leave out what PyNX cannot do, and say so."""
    if config.method != "pynx":
        return config
    missing: dict[str, Any] = {"coherence": False}
    if args.device != "cuda":
        missing |= {"support_border_px": 0, "support_expand_px": ()}
    left = [_UNKNOWN_TO_PYNX[name] for name, without in missing.items() if getattr(config, name) != without]
    if left:
        print(f"{'note':<13}PyNX knows here, and is given, no {' and no '.join(left)}")
    return config.model_copy(update=missing)


# --- what is to be done ---


def _work(args: argparse.Namespace, config: PhasingConfig) -> Work:
    import numpy as np

    from braggworks.inpainting.checks import check_peak
    from braggworks.memory import free_memory
    from braggworks.phasing.grids import check_memory, check_one_peak, choose_grid
    from braggworks.phasing.likelihood import free_voxels
    from braggworks.phasing.recipes import schedules_of
    from braggworks.phasing.schedule import Pattern
    from braggworks.scans.geometry import binned, geometry_of
    from braggworks.scans.prepare import correct, find_peak
    from braggworks.seeds import generator

    raw = read_usable(args)
    scan, notes = correct(raw, tuple(args.roi_origin))
    peak = find_peak(scan.counts, scan.mask).position
    check_peak(scan.counts, scan.gap, scan.source, "check --mask" if args.mask else "move the detector")
    check_one_peak(scan.counts, scan.gap, peak)
    grid = choose_grid(scan.counts, scan.gap, peak, config.crop_px, config.bins)
    check_memory(grid.shape, config.starts, free_memory())
    for note in notes:
        print(f"{'correction':<13}{note}")
    mask = grid.take(scan.gap) > 0
    counts = np.where(mask, 0, grid.take(scan.counts)).astype(np.float32)
    pattern = Pattern(counts, mask, free_voxels(counts.shape, mask, generator("free voxels", config.seed)))
    geometry = geometry_of(raw, peak)
    schedules = schedules_of(config, gpu=args.device == "cuda")
    return Work(scan, grid, pattern, geometry and binned(geometry, grid.bins), schedules)


def _announce(config: PhasingConfig, work: Work) -> None:
    from braggworks.phasing.grids import oversampling
    from braggworks.scans.prepare import spikes

    grid, pattern = work.grid, work.pattern
    sampling = oversampling(pattern.counts, pattern.mask)
    ratios = ", ".join(f"{low:.1f} to {high:.1f}" for low, high in zip(*sampling, strict=True))
    shape, extent, bins = ("x".join(map(str, each)) for each in (grid.shape, grid.extent, grid.bins))
    print(f"{'grid':<13}{shape}: {extent} voxels from {grid.start}, binned {bins}")
    print(f"{'oversampling':<13}{ratios} along z, y, x")
    masked, kept_out = pattern.mask.mean(), pattern.free.mean()
    print(f"{'counts':<13}{pattern.counts.sum():.4g}, {masked:.2%} masked, {kept_out:.2%} kept out")
    ways = [" + ".join(f"{step.cycles} {step.algorithm}" for step in way.steps) for way in work.schedules]
    begins = "views of the network," if config.method == "rsp+er" else "starts of"
    steps = " and, in turn, ".join(ways)
    print(f"{'runs':<13}{config.starts} {begins} {steps} by {config.method}, the best {config.best} by {config.by}")
    for axis, (room, given) in enumerate(zip(grid.extent, work.scan.counts.shape, strict=True)):
        if 2 * room < min(config.crop_px, given):
            print(
                f"warning: the peak lies so near to the edge of axis {'zyx'[axis]} that only {room} voxels are phased"
            )
    print(f"{'geometry':<13}{_where(work)}")
    bright = spikes(pattern.counts)
    if len(bright):
        first = tuple(int(n * b + at) for n, b, at in zip(bright[0], grid.bins, grid.start, strict=True))
        print(
            f"warning: {len(bright)} voxels are a hundred times brighter than those around, which no diffraction "
            f"explains, the first near (z, y, x) = {first}: mask them"
        )


def _say_time(args: argparse.Namespace, config: PhasingConfig, work: Work) -> None:
    """Say how long the cycles will take on the processor, from a few of them."""
    if _device(args, config) != "cpu" or config.method == "pynx":
        return
    from dataclasses import replace

    import torch

    from braggworks.phasing import iterative
    from braggworks.phasing.schedule import Step
    from braggworks.phasing.starts import draw_start

    way = work.schedules[0]
    coherence = way.coherence and replace(way.coherence, begin=-1)
    few = replace(way, steps=(Step("RAAR", _TIMED),), coherence=coherence)
    start = draw_start(work.pattern, few, config.seed, 0)
    # Several starts have a thread each, and one alone has all.
    torch.set_num_threads(args.threads if config.starts == 1 else 1)
    begun = time.monotonic()
    iterative.phase(work.pattern, few, [start])
    each = (time.monotonic() - begun) / _TIMED
    starts = -(-config.starts // args.threads)
    cycles = starts * sum(way.cycles for way in work.schedules) / len(work.schedules)
    print(f"{'time':<13}about {max(1, round(cycles * each / 60))} min with --threads {args.threads}")


def _where(work: Work) -> str:
    """Return what is known of the geometry, in words."""
    if not work.geometry:
        from braggworks.scans.geometry import what_is_missing

        return f"unknown ({what_is_missing(work.scan)}), so that neither strain nor lengths are"

    import numpy as np

    q, edges = np.linalg.norm(work.geometry.q), work.geometry.axes(work.grid.shape)
    voxel = abs(np.linalg.det(edges)) ** (1 / 3) / 10
    known = f"planes {1 / q:.4f} A apart (1/d {q:.4f} 1/A); voxels of {voxel:.3g} nm"
    return f"{work.geometry.diffractometer}, {known}"


# --- the runs ---


def _runs(args: argparse.Namespace, config: PhasingConfig, work: Work) -> list[Phased]:
    from tqdm import tqdm

    device = _device(args, config)
    starts = _starts(args, config, work, device)
    interval = 0.1 if sys.stderr.isatty() else 5
    turns = len(work.schedules)
    total = sum(way.cycles * len(starts[turn::turns]) for turn, way in enumerate(work.schedules))
    runs = list[Any](starts)
    with tqdm(total=total, desc="phase", unit="cycle", mininterval=interval) as bar:
        for turn, way in enumerate(work.schedules):
            if config.method == "pynx":
                from braggworks.phasing import pynx_process

                found = pynx_process.phase(work.pattern, way, starts[turn::turns], bar.update, device)
            else:
                from braggworks.phasing import iterative

                how = {"device": device, "threads": args.threads}
                found = iterative.phase(work.pattern, way, starts[turn::turns], bar.update, **how)
            runs[turn::turns] = found
    return runs


def _device(args: argparse.Namespace, config: PhasingConfig) -> str:
    """Return where to compute, and set torch's threads where that is the processor."""
    if config.method == "pynx":
        return "cuda" if args.device == "cuda" else "cpu"

    import torch

    if args.device == "cuda" or (args.device == "auto" and torch.cuda.is_available()):
        return "cuda"
    torch.set_num_threads(args.threads)
    return "cpu"


def _starts(args: argparse.Namespace, config: PhasingConfig, work: Work, device: str) -> list[Start]:
    """Return random objects, or those of the network, found on a device."""
    if config.method != "rsp+er":
        from braggworks.phasing.starts import draw_start

        return [draw_start(work.pattern, work.schedules[0], config.seed, index) for index in range(config.starts)]

    from braggworks.phasing.grids import oversampling
    from braggworks.phasing.resampling import choose_network_grid
    from braggworks.phasing.rsp import draw_rsp_start, filled, load_phaser

    phaser = load_phaser(args.weights, device)
    ratios = oversampling(work.pattern.counts, work.pattern.mask).likely
    grid = choose_network_grid(filled(work.pattern), ratios, phaser.size)
    threshold = work.schedules[0].support.threshold[0]
    return [draw_rsp_start(work.pattern, phaser, grid, view, threshold) for view in range(config.starts)]
