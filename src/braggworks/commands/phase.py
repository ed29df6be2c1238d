"""Phase a scan: find the object that its counts are the diffraction of.

The scan is corrected, cropped around its Bragg peak, and binned as far as its oversampling allows. Iterative phase
retrieval then begins from several random starts, or refines the object of a network's reciprocal-space phase. The best
by free log-likelihood are moved onto each other and combined, and how far they differ is the uncertainty. The output
is a CXI file that PyNX and cdiutils read: the object and its support on the axes of the detector, and in
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
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from braggworks.commands._outputs import check_outputs
from braggworks.commands._pictures import draw_with_figures
from braggworks.commands._provenance import command_provenance
from braggworks.commands._recipes import read_recipe, thread_count
from braggworks.commands.scan import add_reading_arguments, read_usable
from braggworks.config import PhasingConfig
from braggworks.errors import ConfigError
from braggworks.mistakes import mistake_sentence
from braggworks.recipes import PhaseRecipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from braggworks.phasing.grids import Grid
    from braggworks.phasing.schedule import Pattern, Phased, Schedule, Start
    from braggworks.scans.geometry import Geometry
    from braggworks.scans.scan import Scan

_AGREED = 0.9  # correlation of moduli inside the support, below which runs found different objects


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
    parser.add_argument("--picture", metavar="PNG", help="picture of the object to write")
    parser.add_argument("--recipe", metavar="JSON", help="what follows, as JSON text or a JSON file; options win")
    parser.add_argument(
        "--method",
        choices=("rsp+er", "iterative", "pynx"),
        help="a network's object, refined by ER; our own iterative one, in torch; or PyNX's (iterative)",
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
    _whole(runs, "--refine-hio", "refine_hio", "N", "cycles of hio between the network and er, in rsp+er (0)")
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
    work = _work(args, config)
    _announce(config, work)
    if args.dry_run:
        return
    runs = _runs(args, config, work)
    _write(args, config, work, runs)
    if args.picture:
        draw_with_figures(args.output, args.picture)


def _check_machine(args: argparse.Namespace) -> None:
    """Refuse, before anything is computed, a file that cannot be written or a device that is missing."""
    check_outputs(args.output, args.picture)
    if args.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ConfigError("--device is cuda and torch sees no GPU: leave it out, or run where there is one.")


def _config(args: argparse.Namespace) -> PhasingConfig:
    """Join options and recipe; options win."""
    given: dict[str, Any] = {}
    if args.recipe:
        recipe = read_recipe(args, PhaseRecipe).phasing
        given = {name: getattr(recipe, name) for name in recipe.model_fields_set}
    given |= {name: value for name in PhasingConfig.model_fields if (value := getattr(args, name, None)) is not None}
    if args.full_coherence:
        given["coherence"] = False
    try:
        return PhasingConfig.model_validate(given)
    except ValidationError as error:
        raise ConfigError(mistake_sentence(error, "", PhasingConfig)) from None


# --- what is to be done ---


def _work(args: argparse.Namespace, config: PhasingConfig) -> Work:
    import numpy as np

    from braggworks.inpainting.checks import check_peak
    from braggworks.phasing.grids import check_memory, check_one_peak, choose_grid
    from braggworks.phasing.likelihood import free_voxels
    from braggworks.phasing.recipes import schedule_of
    from braggworks.phasing.schedule import Pattern
    from braggworks.scans.geometry import binned, geometry_of
    from braggworks.scans.prepare import correct, find_peak
    from braggworks.seeds import generator

    raw = read_usable(args)
    scan, notes = correct(raw, tuple(args.roi_origin))
    peak = find_peak(scan.counts, scan.mask).position
    check_peak(scan.counts, scan.gap, scan.source)
    check_one_peak(scan.counts, scan.gap, peak)
    grid = choose_grid(scan.counts, scan.gap, peak, config.crop_px, config.bins)
    check_memory(grid.shape, config.starts, _free_memory())
    for note in notes:
        print(f"{'correction':<13}{note}")
    mask = grid.take(scan.gap) > 0
    counts = np.where(mask, 0, grid.take(scan.counts)).astype(np.float32)
    pattern = Pattern(counts, mask, free_voxels(counts.shape, mask, generator("free voxels", config.seed)))
    geometry = geometry_of(raw, peak, tuple(args.roi_origin))
    return Work(
        scan, grid, pattern, geometry and binned(geometry, grid.bins), schedule_of(config, gpu=args.device == "cuda")
    )


def _free_memory() -> int:

    return int(os.sysconf("SC_AVPHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))


def _announce(config: PhasingConfig, work: Work) -> None:
    from braggworks.phasing.grids import oversampling

    grid, pattern = work.grid, work.pattern
    ratios = ", ".join(f"{ratio:.1f}" for ratio in oversampling(pattern.counts, pattern.mask))
    shape, extent, bins = ("x".join(map(str, each)) for each in (grid.shape, grid.extent, grid.bins))
    print(f"{'grid':<13}{shape}: {extent} voxels from {grid.start}, binned {bins}")
    print(f"{'oversampling':<13}{ratios} along z, y, x, or a little less")
    masked, kept_out = pattern.mask.mean(), pattern.free.mean()
    print(f"{'counts':<13}{pattern.counts.sum():.4g}, {masked:.2%} masked, {kept_out:.2%} kept out")
    steps = " + ".join(f"{step.cycles} {step.algorithm}" for step in work.schedule.steps)
    begins = "views of the network," if config.method == "rsp+er" else "starts of"
    print(f"{'runs':<13}{config.starts} {begins} {steps} by {config.method}, the best {config.best} by {config.by}")
    for axis, (room, given) in enumerate(zip(grid.extent, work.scan.counts.shape, strict=True)):
        if 2 * room < min(config.crop_px, given):
            print(
                f"warning: the peak lies so near to the edge of axis {'zyx'[axis]} that only {room} voxels are phased"
            )
    if config.method == "pynx" and (config.support_border_px or config.support_expand_px or config.coherence):
        print("note         PyNX leaves out partial coherence, and border and expansion of the support, on a processor")
    where = f"{work.geometry.diffractometer}" if work.geometry else "unknown, so that neither strain nor lengths are"
    print(f"{'geometry':<13}{where}")


# --- the runs ---


def _runs(args: argparse.Namespace, config: PhasingConfig, work: Work) -> list[Phased]:
    from tqdm import tqdm

    starts = _starts(args, config, work)
    interval = 0.1 if sys.stderr.isatty() else 5
    total = config.starts * work.schedule.cycles
    with tqdm(total=total, desc="phase", unit="cycle", mininterval=interval) as bar:
        if config.method == "pynx":
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


def _starts(args: argparse.Namespace, config: PhasingConfig, work: Work) -> list[Start]:
    """Return random objects, or those of the network."""
    if config.method != "rsp+er":
        from braggworks.phasing.starts import draw_start

        return [draw_start(work.pattern, work.schedule, config.seed, index) for index in range(config.starts)]

    from braggworks.phasing.grids import oversampling
    from braggworks.phasing.resampling import choose_network_grid
    from braggworks.phasing.rsp import SHIPPED, draw_rsp_start, filled, load_phaser

    args.weights = args.weights or str(SHIPPED)
    phaser = load_phaser(args.weights)
    ratios = oversampling(work.pattern.counts, work.pattern.mask)
    grid = choose_network_grid(filled(work.pattern), ratios, phaser.size)
    threshold = work.schedule.support.threshold[0]
    return [draw_rsp_start(work.pattern, phaser, grid, view, threshold) for view in range(config.starts)]


# --- what is written ---


def _write(args: argparse.Namespace, config: PhasingConfig, work: Work, runs: list[Phased]) -> None:
    import numpy as np

    from braggworks.phasing.objects import centred, unwrapped, without_piston, without_ramp
    from braggworks.phasing.selection import aligned, best, modes, prtf
    from braggworks.scans.phased import write_phased

    kept = best(runs, config.best, config.by)
    first, support = centred(kept[0].found, kept[0].support)
    objects = aligned([first, *(each.found for each in kept[1:])])
    found, weights = modes(objects)
    flat = without_piston(without_ramp(found[0]), support)
    q, transfer = prtf(objects, work.pattern)
    agreement = _agreement(objects, np.ones_like(support))
    inside = _agreement(objects, support)
    extra: dict[str, tuple[NDArray[Any], str]] = {
        "phase": (unwrapped(flat, support).astype(np.float32), "rad"),
        "phase_uncertainty": (_phase_spread(objects, found[0], support).astype(np.float32), "rad"),
        "prtf": (transfer, "1"),
        "prtf_q": (q, "1"),
        "mode_weights": (weights, "1"),
        "pairwise_correlation": (agreement, "1"),
        "pairwise_correlation_inside": (inside, "1"),
        "free_llk": (np.array([each.free_llk for each in runs]), "1"),
        "llk": (np.array([each.llk for each in runs]), "1"),
        "kept": (np.array([next(k for k, each in enumerate(runs) if each is run) for run in kept]), "1"),
    }
    if work.geometry:
        extra |= _laboratory(flat, support, extra["phase_uncertainty"][0], work.geometry)
    provenance = command_provenance(args.scan, args.weights, args.mask, phasing=config.model_dump_json())
    attributes = {"window": list(work.grid.start), "bins": list(work.grid.bins), "provenance": provenance}
    write_phased(args.output, flat, support, work.scan, extra, **attributes)
    print(f"{'result':<13}free LLK {', '.join(f'{each.free_llk:.2f}' for each in kept)}")
    if len(kept) > 1:
        whole, part = agreement.min(), inside.min()
        print(f"{'agreement':<13}pairwise modulus correlation {whole:.3f}, inside the support {part:.3f}")
    if inside.min() < _AGREED:
        print(
            f"warning: the best runs agree to less than {_AGREED} inside the support: ask for more starts, then cycles"
        )
    print(f"{args.output}: an object of {int(support.sum())} voxels")


def _agreement(objects: list[NDArray[Any]], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the correlations of the moduli of all pairs; NaN for a single object, which agrees with nothing."""
    import numpy as np

    from braggworks.phasing.alignment import correlation

    pairs = [(np.abs(a[where]), np.abs(b[where])) for k, a in enumerate(objects) for b in objects[:k]]
    return np.array([correlation(*pair) for pair in pairs] or [np.nan])


def _phase_spread(objects: list[NDArray[Any]], mean: NDArray[Any], support: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the standard deviation of the phase over the objects that were combined, NaN outside the support."""
    import numpy as np

    if len(objects) < 2:
        return np.full(support.shape, np.nan)
    turns = np.stack([np.angle(each * np.conj(mean)) for each in objects])
    return np.where(support, np.sqrt((turns**2).sum(axis=0) / (len(objects) - 1)), np.nan)


def _laboratory(
    found: NDArray[Any], support: NDArray[np.bool_], spread: NDArray[Any], geometry: Geometry
) -> dict[str, tuple[NDArray[Any], str]]:
    """Return what is known of the crystal on cubes in the laboratory's frame."""
    import numpy as np

    from braggworks.phasing.objects import displacement, strain_along, unwrapped
    from braggworks.scans.geometry import orthogonal

    cubes, inside, voxel = orthogonal(found, support, geometry)
    g = float(np.linalg.norm(geometry.q))
    phase = unwrapped(cubes, inside)
    strain = strain_along(cubes, inside, geometry.q / g, g, voxel)
    spread = orthogonal(np.nan_to_num(spread).astype(np.complex64), support, geometry)[0].real
    volumes = {
        "phase_uncertainty": (np.where(inside & (spread > 0), spread, np.nan), "rad"),
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
