"""Fill the gaps of a scan with a trained network.

Gaps are what the scan's own mask, or the one given, says was not measured; --mask auto finds full rows and columns
that counted nothing, and --mask eiger2m, or another detector's name, takes that detector's. With --cut-cross a
synthetic cross gap is cut into measured counts, filled, and compared with them. The output is a CXI file: the filled
counts, with no voxel masked, so that phasing uses them; and, in entry_1/braggworks, which voxels were filled (filled),
what went in (gapped), linear interpolation (linear), the standard deviation of log(1 + counts) over the predictions
of each voxel (uncertainty; their scatter, which is several times smaller than the error with its noise), their number
(predictions), and, for a synthetic gap, the measured counts (measured). The root attribute provenance says in JSON what
made it. Without --weights, the plane network that comes with the package is used.

examples:
    braggworks inpaint scan.cxi --mask auto --output filled.cxi --picture filled.png
    braggworks inpaint prepared.cxi --weights weights.safetensors --output out.cxi --cut-cross 6 --cut-offset 12 12
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from braggworks.commands._outputs import check_outputs, make_folders
from braggworks.commands._pictures import draw_with_figures
from braggworks.commands._provenance import command_provenance
from braggworks.commands._recipes import read_recipe
from braggworks.commands.scan import add_reading_arguments, positive_int, read_usable
from braggworks.errors import ScanError
from braggworks.recipes import ScanRecipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from braggworks.inpainting.model import Inpainter
    from braggworks.inpainting.whole_scan import Inpainted
    from braggworks.scans.scan import Scan

DEFAULT_OFFSET = (12, 12)


@dataclass(frozen=True)
class Work:
    """What is to be done: the synthetic gap's width, None for real gaps, its offset from the peak, and the stride."""

    cut_px: int | None
    offset_px: tuple[int, int]
    stride_px: int


@dataclass(frozen=True)
class Cut:
    """A synthetic gap: the measured voxels under it, its first pixel along y and x, and the peak."""

    mask: NDArray[np.bool_]
    start: tuple[int, int]
    peak: tuple[int, int, int]


@dataclass(frozen=True)
class Gap:
    """What is filled, and what of it is synthetic."""

    mask: NDArray[np.bool_]
    cut: Cut | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_reading_arguments(parser)
    parser.add_argument("--weights", metavar="SAFETENSORS", help="trained weights (those that come with the package)")
    parser.add_argument("--output", "--out", required=True, metavar="CXI", help="file to write")
    parser.add_argument("--recipe", metavar="JSON", help="synthetic gap and stride, as JSON text or a JSON file")
    parser.add_argument("--cut-cross", type=positive_int, metavar="PX", help="cut a synthetic cross gap of this width")
    parser.add_argument(
        "--cut-offset",
        type=int,
        nargs=2,
        metavar=("DY", "DX"),
        help="from the peak to the synthetic gap's first pixel (default: 12 12)",
    )
    parser.add_argument(
        "--stride", type=positive_int, metavar="PX", help="step between windows of the patch inpainter (default: 8)"
    )
    parser.add_argument(
        "--adapt",
        action="store_true",
        help="join the network with a linear predictor that is fitted to the scan: better where counts are few, slower",
    )
    parser.add_argument("--peak-in-gap", action="store_true", help="fill a gap although it covers the peak")
    parser.add_argument("--picture", metavar="PNG", help="picture of before and after to write")
    parser.add_argument("--scores", metavar="JSON", help="comparison with the measured counts to write")
    parser.add_argument("--threads", type=positive_int, default=1, metavar="N", help="processor threads (default: 1)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")


def run(args: argparse.Namespace) -> None:
    """Write the filled scan, and its scores."""
    work = _work(args)
    check_outputs(args.output, args.picture, args.scores)

    import torch

    from braggworks.files import write_json
    from braggworks.inpainting.adapted import AdaptedInpainter
    from braggworks.inpainting.model import SHIPPED, load_inpainter
    from braggworks.inpainting.slab_inpainter import SlabInpainter

    torch.set_num_threads(args.threads)
    args.weights = args.weights or str(SHIPPED)
    scan = read_usable(args)
    gap = _gap(scan, work)
    # A synthetic gap is where it was asked for.
    _check(scan, gap, covered=args.peak_in_gap or gap.cut is not None)
    inpainter = load_inpainter(args.weights, work.stride_px)
    if args.stride and isinstance(inpainter, SlabInpainter):
        print("note: --stride does nothing here: this network fills whole slabs, not windows")
    if args.adapt:
        inpainter = AdaptedInpainter(inpainter)
    _announce(scan, gap, inpainter, args.weights)
    if args.dry_run:
        return
    make_folders(args.output, args.picture, args.scores)
    began = time.perf_counter()
    found = _fill(scan, gap, inpainter)
    seconds = time.perf_counter() - began
    fillings = _interpolations(scan, gap)
    _write(args, scan, gap, found, fillings["linear"])
    if gap.cut:
        scores = _scores(scan, gap.cut, work, {"network": found.counts, **fillings})
        if args.scores:
            write_json(args.scores, {**scores, "seconds": seconds, "steps": found.steps})
        _print(scores)
    print(f"{args.output}: {int(gap.mask.sum())} voxels filled in {seconds:.1f} s")
    if args.picture:
        draw_with_figures(args.output, args.picture)


def _work(args: argparse.Namespace) -> Work:
    """Join options and recipe; options win."""
    from braggworks.inpainting.model import DEFAULT_STRIDE_PX

    cut, offset, stride = args.cut_cross, args.cut_offset, args.stride
    if args.recipe:
        scan = read_recipe(args, ScanRecipe).scan
        cut, offset, stride = cut or scan.gap_px, offset or scan.gap_offset_px, stride or scan.stride_px
    if args.scores and cut is None:
        raise ScanError("--scores compares with counts under a synthetic gap: give --cut-cross, too.")
    y, x = offset or DEFAULT_OFFSET
    return Work(cut, (y, x), stride or DEFAULT_STRIDE_PX)


def _gap(scan: Scan, work: Work) -> Gap:
    if work.cut_px is None:
        if not scan.gap.any():
            raise ScanError(
                f"{scan.source} has no gap: give a --mask of what was not measured, or --cut-cross for a synthetic gap."
            )
        return Gap(scan.gap)

    from braggworks.evaluation.scan_scores import cut_cross
    from braggworks.scans.prepare import find_peak

    peak = find_peak(scan.counts, scan.mask).position
    cross, start = cut_cross(scan.counts.shape, peak, work.cut_px, work.offset_px)
    return Gap(scan.gap | cross, Cut(cross & ~scan.gap, start, peak))


def _check(scan: Scan, gap: Gap, *, covered: bool) -> None:
    """Refuse what no network can fill."""
    from braggworks.inpainting.checks import check_peak, check_signal

    if not covered:
        check_peak(scan.counts, gap.mask, scan.source, "move the detector, or pass --peak-in-gap")
    check_signal(scan.counts, gap.mask, scan.source)


def _accuracy(weights: str, width: int) -> str:
    from braggworks.evaluation.known_accuracy import known_accuracy

    known = known_accuracy(weights, width)
    if known is None:
        return "its accuracy here is not known"
    nearest, pcc = known
    return (
        f"at {nearest} px, the nearest width that it was tested on, its mean correlation is {pcc:.3f} on bright "
        "simulated patterns; expect less here"
    )


def _announce(scan: Scan, gap: Gap, inpainter: Inpainter, weights: str) -> None:
    """Say what will be done; refuse what cannot be."""
    from braggworks.inpainting.checks import interpolated
    from braggworks.inpainting.slabs import SMALLEST, find_slabs

    steps = inpainter.steps(gap.mask)
    print(f"{scan.source}: {'x'.join(map(str, scan.counts.shape))}{', simulated' if scan.simulated else ''}")
    for slab in find_slabs(gap.mask):
        print(f"gap normal to {'zyx'[slab.axis]}: {slab.width} px from {slab.start}")
        low, high = inpainter.widths_px
        if not low <= slab.width <= high:
            print(f"warning: the network was trained on gaps of {low} to {high} px; {_accuracy(weights, slab.width)}")
    if scan.dark is not None or scan.white_field is not None:
        print("note: dark and white field are not applied, nor kept: `braggworks scan` corrects, best before filling")
    beyond, small = interpolated(gap.mask)
    if beyond:
        print(
            f"warning: {beyond} voxels lie in bands at the edge of the array, with nothing beyond them to fill from, "
            "and get the next measured value: leave them masked for phasing, or crop the scan"
        )
    if small:
        print(f"note: {small} voxels in groups of fewer than {SMALLEST} are interpolated linearly")
    print(f"{int(gap.mask.sum())} voxels to fill, in {steps} {inpainter.unit}{'s' if steps != 1 else ''}")


def _fill(scan: Scan, gap: Gap, inpainter: Inpainter) -> Inpainted:
    from tqdm import tqdm

    interval = 0.1 if sys.stderr.isatty() else 5
    with tqdm(total=inpainter.steps(gap.mask), desc="inpaint", unit=inpainter.unit, mininterval=interval) as bar:
        return inpainter.fill_scan(scan.counts, gap.mask, bar.update)


def _interpolations(scan: Scan, gap: Gap) -> dict[str, NDArray[Any]]:
    import numpy as np

    from braggworks.inpainting.interpolation import METHODS, interpolate

    logs = np.log1p(np.where(gap.mask, 0, scan.counts).astype(np.float64))
    found: dict[str, NDArray[Any]] = {}
    for method in METHODS if gap.cut else ("linear",):
        filled = np.expm1(np.maximum(interpolate(logs, gap.mask, method), 0))
        found[method] = np.where(gap.mask, filled, scan.counts)
    return found


def _write(args: argparse.Namespace, scan: Scan, gap: Gap, found: Inpainted, linear: NDArray[Any]) -> None:
    import numpy as np

    from braggworks.scans.prepare import brightest
    from braggworks.scans.writers import write_scan

    extra: dict[str, NDArray[Any]] = {
        "filled": gap.mask.astype(np.uint8),
        "gapped": np.where(gap.mask, scan.counts.dtype.type(0), scan.counts),
        "linear": linear.astype(found.counts.dtype),
        "uncertainty": found.uncertainty,
        "predictions": found.predictions,
    }
    attributes: dict[str, Any] = {
        "provenance": command_provenance(args.scan, args.weights, args.mask),
        "peak": np.array(gap.cut.peak if gap.cut else brightest(scan.counts, gap.mask)),
    }
    if gap.cut:
        extra["measured"] = scan.counts
    write_scan(args.output, replace(scan, counts=found.counts, mask=None), extra, **attributes)


def _scores(scan: Scan, cut: Cut, work: Work, fillings: dict[str, NDArray[Any]]) -> dict[str, Any]:
    from braggworks.evaluation.scan_scores import score_fillings, share_filled

    overall, strata = score_fillings(scan.counts, cut.mask, fillings)
    return {
        "simulated": scan.simulated,
        "title": scan.title,
        "shape": list(scan.counts.shape),
        "peak": list(cut.peak),
        "gap": {
            "kind": "cross",
            "width_px": work.cut_px,
            "offset_px": list(work.offset_px),
            "start": list(cut.start),
        },
        "stride_px": work.stride_px,
        "voxels": int(cut.mask.sum()),
        "pcc": overall,
        "filled_share": {name: share_filled(scan.counts, cut.mask, filled) for name, filled in fillings.items()},
        "strata": strata,
    }


def _print(scores: dict[str, Any]) -> None:
    """Print the coefficients, overall and by stratum."""
    rows = [("all", scores["voxels"], scores["pcc"])]
    rows += [(f"{part['mean_counts']:.3g}", part["voxels"], part["pcc"]) for part in scores["strata"]]
    print("correlation of log(1 + counts) in the gap, overall and by mean counts per voxel:")
    print(f"{'counts':>10}{'voxels':>10}" + "".join(f"{method:>10}" for method in scores["pcc"]))
    for counts, voxels, found in rows:
        cells = "".join(f"{'-':>10}" if value is None else f"{value:10.4f}" for value in found.values())
        print(f"{counts:>10}{voxels:>10}{cells}")
    shares = "".join(f"{'-' if share is None else f'{share:.3f}':>10}" for share in scores["filled_share"].values())
    print(f"{'filled/measured':>20}{shares}")
