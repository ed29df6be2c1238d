"""Score a network on particles that training never saw.

Puts a vertical gap of each width into the centre of every test patch, fills it with each method, and writes the
Pearson correlation of log(1 + counts) in the gap to a NetCDF file, by patch, and summarised by gap width and by
stratum of intensity. A network for phases is scored by the losses of its phases and by the objects that they give,
beside a phase of 0. The intervals are bootstraps over particles.

example:
    braggworks evaluate --recipe recipe.json --manifest manifest.json --weights w.safetensors --output gap_width.nc
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from braggworks.commands._recipes import add_recipe_arguments, read_recipe
from braggworks.commands._test_patches import test_patches
from braggworks.commands.scan import positive_int
from braggworks.config import EvaluationConfig
from braggworks.errors import FileError
from braggworks.recipes import EvaluateRecipe

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from braggworks.evaluation.sweeps import Patches
    from braggworks.inpainting.whole_scan import Fill

NETWORK = "network"
# Seed of the bootstrap, kept in the file.
SEED = 0
# Patches kept for the figure.
EXAMPLES = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_recipe_arguments(parser, campaign=False)
    parser.add_argument("--manifest", required=True, metavar="JSON", help="the release's dataset")
    parser.add_argument("--weights", required=True, metavar="SAFETENSORS", help="trained weights")
    parser.add_argument("--output", required=True, metavar="NC", help="scores to write, NetCDF")
    parser.add_argument("--examples", metavar="H5", help="some patches and their fillings to write, for the figure")
    parser.add_argument("--threads", type=positive_int, default=1, metavar="N", help="processor threads (default: 1)")


def run(args: argparse.Namespace) -> None:
    """Write the scores."""
    config = read_recipe(args, EvaluateRecipe).evaluation

    import torch
    from tqdm import tqdm

    from braggworks.datasets.manifests import read_manifest

    if read_manifest(args.manifest).task == "phase":
        from braggworks.commands._phase_scores import evaluate_phases

        torch.set_num_threads(args.threads)
        evaluate_phases(args.manifest, args.weights, args.output, args.examples)
        return

    from braggworks.evaluation.sweeps import centre_gap, gap_width_dataset, interpolation, score_gap_widths
    from braggworks.files import atomic_path
    from braggworks.inpainting.model import load_inpainter

    torch.set_num_threads(args.threads)
    patches = test_patches(args.manifest)
    for width in config.gap_widths_px:
        centre_gap(patches.counts.shape[1:], width)
    inpainter = load_inpainter(args.weights)
    if inpainter.patch not in (None, patches.counts.shape[-1]):
        raise FileError(
            f"{args.weights} fills patches of {inpainter.patch} px, and {args.manifest} holds patches of "
            f"{patches.counts.shape[-1]} px: use weights that were trained on this release."
        )
    fills: dict[str, Fill] = {NETWORK: inpainter.fill}
    fills |= {method: interpolation(method) for method in config.interpolations}
    total = len(patches) * len(config.gap_widths_px)
    interval = 0.1 if sys.stderr.isatty() else 5
    with tqdm(total=total, desc="evaluate", unit="patch", mininterval=interval) as bar:
        scores = score_gap_widths(patches.counts, fills, config.gap_widths_px, bar.update)
    data = gap_width_dataset(patches, scores, config.intensity_strata, SEED)
    with atomic_path(args.output) as temporary:
        data.to_netcdf(temporary, engine="h5netcdf")
    if args.examples:
        _write_examples(args.examples, patches, fills, config)
    _print(data)


def _write_examples(path: str, patches: Patches, fills: Mapping[str, Fill], config: EvaluationConfig) -> None:
    """Write patches that span the range of intensities, at the gap width of the bar if there is one."""
    import numpy as np

    from braggworks.evaluation.metrics import pcc
    from braggworks.evaluation.sweeps import centre_gap, fill_gap, interpolation
    from braggworks.files import create_h5

    widths = config.gap_widths_px
    width = config.must_beat.gap_px if config.must_beat else widths[len(widths) // 2]
    order = np.argsort(patches.mean_counts, kind="stable")
    chosen = np.sort(order[np.unique(np.linspace(0, len(order) - 1, EXAMPLES).round().astype(int))])
    truth = patches.counts[chosen].astype(np.float32)
    gap = centre_gap(truth.shape[1:], width)
    mask = np.broadcast_to(gap, truth.shape)
    with create_h5(path, "examples") as file:
        file["truth"], file["mask"] = truth, mask.astype(np.uint8)
        file["gap_width"] = np.full(len(chosen), width)
        for name, fill in (("linear", interpolation("linear")), (NETWORK, fills[NETWORK])):
            filled = np.maximum(fill_gap(truth, gap, fill), 0)
            file[name] = np.where(mask, filled, truth)
            file[f"pcc_{name}"] = pcc(np.log1p(truth), np.log1p(filled), mask)


def _print(data: xr.Dataset) -> None:
    print(f"{data.attrs['n']} patches of {data.attrs['particles']} particles; mean correlation in the gap:")
    print("gap width (px)  " + "".join(f"{width:>8d}" for width in data.gap_width.values))
    for method in data.method.values:
        print(f"{method:<16}" + "".join(f"{value:8.4f}" for value in data["mean"].sel({"method": method}).values))
