"""Say what a scan holds, correct it, and crop it around its Bragg peak.

Reads CXI, HDF5, npz, npy and tif (one file of many pages, or a folder of files). Dark field and white field are
applied where the file holds them, pixels that cannot be trusted are masked, and the peak is found. With --output the
corrected counts around the peak are written as CXI.

example:
    braggworks scan scan.cxi --output prepared.cxi --crop 128
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from braggworks.campaigns import MAX_GRID
from braggworks.commands._recipes import read_recipe
from braggworks.errors import FileError, ScanError
from braggworks.recipes import ScanRecipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from braggworks.scans.prepare import Prepared
    from braggworks.scans.scan import Scan

DEFAULT_CROP = 128


def positive_int(text: str) -> int:
    """Return a positive whole number, for argparse."""
    value = _whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def _not_negative(text: str) -> int:
    value = _whole(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says how a scan is read."""
    parser.add_argument("scan", metavar="SCAN", help="CXI, HDF5, npz, npy or tif file, or a folder of tif files")
    parser.add_argument("--dataset", metavar="NAME", help="array in the file (default: CXI's place, or the largest)")
    parser.add_argument(
        "--mask",
        metavar="auto|FILE|DETECTOR",
        help="further mask: full rows and columns without counts (auto); a file of the scan's or a frame's shape, "
        "where 0 is measured; or the gaps of a detector, such as maxipix or eiger2m",
    )
    parser.add_argument(
        "--roi-origin",
        type=_not_negative,
        nargs=2,
        default=(0, 0),
        metavar=("Y", "X"),
        help="first pixel of the scan's frames on the detector and in larger fields (default: 0 0)",
    )
    parser.add_argument("--bad-to-mask", action="store_true", help="mask NaN, infinite and negative counts")


def read_usable(args: argparse.Namespace) -> Scan:
    """Read and check the scan that the arguments of `add_reading_arguments` name."""
    from pathlib import Path

    from braggworks.datasets.layouts import LAYOUTS
    from braggworks.scans.masks import is_known, with_known_mask
    from braggworks.scans.readers import read_scan, usable

    named = args.mask.lower() if args.mask else None
    known = named if named and is_known(named) and not Path(args.mask).exists() else None
    if args.mask and not known and not Path(args.mask).exists() and not Path(args.mask).suffix:
        raise FileError(
            f"--mask {args.mask} is neither a file nor a detector: give auto, a file, or one of {', '.join(LAYOUTS)}."
        )
    scan = read_scan(args.scan, args.dataset, None if known else args.mask)
    if known:
        own = scan.gap
        scan = with_known_mask(scan, known, tuple(args.roi_origin))
        _warn_of_mask(scan, own, known, tuple(args.roi_origin))
    if known in LAYOUTS and scan.middle_px is None:
        rows, columns = (n / 2 - first for n, first in zip(LAYOUTS[known].shape, args.roi_origin, strict=True))
        scan = replace(scan, middle_px=(rows, columns))
    # Fields are not kept, so what they tell of the frames' place is.
    return replace(usable(scan, bad_to_mask=args.bad_to_mask), middle_px=scan.middle(tuple(args.roi_origin)))


def _warn_of_mask(scan: Scan, own: NDArray[np.bool_], name: str, origin: tuple[int, ...]) -> None:
    """Say what may be wrong with a mask that was found or is a detector's, beside that of the file."""
    import numpy as np

    from braggworks.datasets.layouts import LAYOUTS

    if name not in LAYOUTS:
        if (scan.gap == own).all():
            print(f"note: {scan.source} has no dead band beyond its own mask, which is used")
        return
    detector = LAYOUTS[name]
    if not any(origin) and tuple(detector.shape) != scan.counts.shape[1:]:
        print(
            f"warning: the frames are smaller than the {detector.name} of {detector.shape[0]} x {detector.shape[1]} px "
            "and taken for its first corner: give their first pixel with --roi-origin Y X",
            file=sys.stderr,
        )
    most = np.iinfo(scan.counts.dtype).max if np.issubdtype(scan.counts.dtype, np.integer) else np.inf
    counted = int((scan.gap & ~own & (scan.counts > 0) & (scan.counts < most)).sum())
    if counted:
        print(
            f"warning: {counted} voxels in the gaps of the {detector.name} hold counts, which are not used: check "
            "--roi-origin",
            file=sys.stderr,
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_reading_arguments(parser)
    parser.add_argument("--output", metavar="CXI", help="corrected and cropped scan to write")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--crop", type=positive_int, metavar="N", help="voxels per axis, even (default: 128)")
    size.add_argument("--recipe", metavar="JSON", help="the crop, as JSON text or a JSON file")
    for name, what in (("dark", "dark field"), ("white-field", "white field")):
        group = parser.add_mutually_exclusive_group()
        group.add_argument(f"--{name}", metavar="FILE", help=f"{what} to use (default: the file's own)")
        group.add_argument(f"--no-{name}", action="store_true", help=f"apply no {what}")
    parser.add_argument("--keep-hot-pixels", action="store_true", help="do not mask hot pixels")


def run(args: argparse.Namespace) -> None:
    """Print what the scan holds; write it corrected and cropped."""
    size = read_recipe(args, ScanRecipe).scan.crop if args.recipe else args.crop or DEFAULT_CROP
    if size % 2 or not 2 <= size <= MAX_GRID:
        raise ScanError(f"--crop {size} cannot be used: give an even number of voxels from 2 to {MAX_GRID}.")

    from braggworks.scans.prepare import prepare
    from braggworks.scans.writers import write_scan

    scan = _with_fields(args, read_usable(args))
    _print_scan(scan)
    prepared = prepare(scan, size, tuple(args.roi_origin), hot_pixels=not args.keep_hot_pixels)
    _print_prepared(prepared)
    if args.output:
        write_scan(args.output, prepared.scan, source=scan.source, window=list(prepared.window))
        print(f"written to {args.output}")


def _with_fields(args: argparse.Namespace, scan: Scan) -> Scan:
    from braggworks.scans.readers import read_field

    dark = None if args.no_dark else read_field(args.dark) if args.dark else scan.dark
    white = None if args.no_white_field else read_field(args.white_field) if args.white_field else scan.white_field
    return replace(scan, dark=dark, white_field=white)


def _print_scan(scan: Scan) -> None:
    counts = scan.counts
    known = {
        "title": scan.title,
        "format": f"{scan.format} ({scan.source}){', simulated' if scan.simulated else ''}",
        "shape": f"{'x'.join(map(str, counts.shape))} ({', '.join(scan.axes)}), {counts.dtype}",
        "counts": f"{counts.sum(dtype='f8'):.6g} in all, at most {counts.max():.6g}",
        "mask": "none" if scan.mask is None else f"{scan.mask.mean():.3%} not measured",
        "dark field": "none" if scan.dark is None else "x".join(map(str, scan.dark.shape)),
        "white field": "none" if scan.white_field is None else "x".join(map(str, scan.white_field.shape)),
        "energy": "unknown" if scan.energy_ev is None else f"{scan.energy_ev / 1e3:.4f} keV",
        "distance": "unknown" if scan.distance_m is None else f"{scan.distance_m:g} m",
        "pixel": "unknown" if scan.pixel_m is None else " x ".join(f"{size * 1e6:g} um" for size in scan.pixel_m),
        "angles": ", ".join(
            f"{name} {value.min():g} to {value.max():g} deg" if value.size > 1 else f"{name} {value.item():g} deg"
            for name, value in scan.angles.items()
        )
        or "unknown",
    }
    for name, text in known.items():
        if text:
            print(f"{name:<13}{text}")


def _print_prepared(prepared: Prepared) -> None:
    peak, scan = prepared.peak, prepared.scan
    centre = ", ".join(f"{value:.2f}" for value in peak.centre)
    print(f"{'corrections':<13}{'; '.join(prepared.notes) or 'none'}")
    print(f"{'peak':<13}maximum {peak.maximum:.6g} at (z, y, x) = {peak.position}, centre of mass ({centre})")
    first = ", ".join(map(str, prepared.window))
    print(f"{'crop':<13}{'x'.join(map(str, scan.counts.shape))} from ({first}), {scan.gap.mean():.3%} masked")
