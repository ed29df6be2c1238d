"""Fail unless the network clears the bar that the configuration sets.

Compares the network with one interpolation at one gap width, patch by patch, on the scores that `braggworks evaluate`
wrote; a network for phases must have a lower loss than a phase of 0. Writes the margin with its 95 % interval over
particles; where the margin is not positive, writes nothing and ends with exit code 2.

example:
    braggworks gate --recipe recipe.json --evaluation gap_width.nc --output gate.json
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braggworks.commands._recipes import add_recipe_arguments, read_recipe
from braggworks.config import BarConfig
from braggworks.errors import FileError, UserError
from braggworks.recipes import EvaluateRecipe

if TYPE_CHECKING:
    import xarray as xr


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_recipe_arguments(parser, campaign=False)
    parser.add_argument("--evaluation", required=True, metavar="NC", help="scores that `braggworks evaluate` wrote")
    parser.add_argument("--output", required=True, metavar="JSON", help="result to write")


def run(args: argparse.Namespace) -> None:
    """Write the margin, or fail."""
    bar = read_recipe(args, EvaluateRecipe).evaluation.must_beat

    from braggworks.files import write_json

    if bar is None:
        write_json(args.output, {"must_beat": None})
        print("The configuration sets no bar.")
        return
    data = _read(args.evaluation)
    if data.attrs.get("kind") == "phases":
        write_json(args.output, _beats_flat_phase(data, args.evaluation))
        return
    result = _compare(data, bar, args.evaluation)
    if not (result["margin"] is not None and result["margin"] > 0):
        raise UserError(
            f"The network's mean correlation of {_text(result['network'])} in gaps of {bar.gap_px} px does not beat "
            f"the {_text(result['baseline'])} of {bar.baseline} interpolation ({args.evaluation}, n = {result['n']}): "
            "train longer or on more particles, or lower evaluation.must_beat."
        )
    write_json(args.output, result)
    print(
        f"network {result['network']:.4f}, {bar.baseline} {result['baseline']:.4f} at {bar.gap_px} px: "
        f"margin {result['margin']:+.4f} ({_text(result['low'])} to {_text(result['high'])}), n = {result['n']}"
    )


def _read(path: str) -> xr.Dataset:
    import xarray as xr

    if not Path(path).exists():
        raise FileError(f"{path} does not exist: check the path, or run `braggworks evaluate`.")
    try:
        with xr.open_dataset(path, engine="h5netcdf") as data:
            return data.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise FileError(f"{path} is no readable NetCDF file ({reason}): run `braggworks evaluate` again.") from None


def _compare(data: xr.Dataset, bar: BarConfig, path: str) -> dict[str, Any]:
    import numpy as np

    from braggworks.evaluation.metrics import cluster_bootstrap

    try:
        network, baseline = (
            data["pcc"].sel({"method": method, "gap_width": bar.gap_px}).values for method in ("network", bar.baseline)
        )
        cluster = np.array(
            [f"{c}/{p}" for c, p in zip(data["campaign"].values, data["particle"].values, strict=True)], dtype=np.str_
        )
        seed = int(data.attrs["seed"])
    except KeyError:
        raise FileError(
            f"{path} does not hold {bar.baseline} at {bar.gap_px} px: run `braggworks evaluate` with this recipe."
        ) from None
    defined = np.isfinite(network) & np.isfinite(baseline)
    margin = cluster_bootstrap(np.where(defined, network - baseline, np.nan), cluster, seed)
    return {
        "must_beat": bar.model_dump(mode="json"),
        "gap_px": bar.gap_px,
        "network": _number(network[defined].mean() if defined.any() else math.nan),
        "baseline": _number(baseline[defined].mean() if defined.any() else math.nan),
        "margin": _number(margin.mean),
        "low": _number(margin.low),
        "high": _number(margin.high),
        "n": margin.n,
        "particles": len(np.unique(cluster[defined])),
        "seed": seed,
    }


def _beats_flat_phase(data: xr.Dataset, path: str) -> dict[str, Any]:
    """Return by how much the network's loss is lower than that of a phase of 0. Raises `UserError` if it is not."""
    import numpy as np

    from braggworks.commands._phase_scores import FLAT, NETWORK
    from braggworks.evaluation.metrics import cluster_bootstrap

    network, flat = (data["wca"].sel({"method": method}).values for method in (NETWORK, FLAT))
    seed = int(data.attrs["seed"])
    margin = cluster_bootstrap(flat - network, data["cluster"].values.astype(np.str_), seed)
    if not margin.mean > 0:
        raise UserError(
            f"The network's mean loss of {network.mean():.4f} is not below the {flat.mean():.4f} of a phase of 0 "
            f"({path}, n = {margin.n}): train longer or on more particles, or set evaluation.must_beat to null."
        )
    print(f"network {network.mean():.4f}, phase of 0 {flat.mean():.4f}: margin {margin.mean:+.4f}, n = {margin.n}")
    return {
        "must_beat": FLAT,
        "network": float(network.mean()),
        "baseline": float(flat.mean()),
        "margin": float(margin.mean),
        "low": _number(margin.low),
        "high": _number(margin.high),
        "n": margin.n,
        "seed": seed,
    }


def _number(value: float) -> float | None:
    """Return what JSON can hold."""
    return float(value) if math.isfinite(value) else None


def _text(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
