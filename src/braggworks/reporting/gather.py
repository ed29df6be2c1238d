"""From a run's files to its records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from braggworks.config import Config
from braggworks.records import Record
from braggworks.reporting.benchmarks import RuleCost
from braggworks.reporting.published import INPAINTER_PARAMETERS, INPAINTING_PATCHES, INPAINTING_PCC, Anchor

if TYPE_CHECKING:
    import xarray as xr


def dataset_records(config: Config, manifest: dict[str, Any]) -> list[Record]:
    """Return the size of the dataset: particles and samples by split."""
    seed = config.splits.seed
    records = [
        Record(f"dataset.{what}.{split}", counts[what], what, seed=seed)
        for split, counts in sorted(manifest["splits"].items())
        for what in ("particles", "samples")
    ]
    total = sum(counts["samples"] for counts in manifest["splits"].values())
    return [Record("dataset.samples", total, "samples", **_beside(INPAINTING_PATCHES)), *records]


def engine_records(engines: dict[str, Any]) -> list[Record]:
    """Return how far PyNX lies from the NUFFT, and how much longer it takes."""
    n = engines["patterns"]
    return [
        Record("scatter.engines.max_error", engines["max_error"], "fraction of the peak", n=n),
        Record("scatter.engines.median_error", engines["median_error"], "fraction of the peak", n=n),
        Record("scatter.engines.min_correlation", engines["min_correlation"], "1", n=n),
        Record("scatter.engines.seconds.nufft", engines["seconds_reference"], "s", n=n),
        Record("scatter.engines.seconds.pynx", engines["seconds_other"], "s", n=n),
        Record("scatter.engines.speedup", engines["speedup"], "1", n=n),
    ]


def training_records(config: Config, card: dict[str, Any]) -> list[Record]:
    """Return the network's size, and what its training took and reached."""
    seed = config.training.seed
    return [
        Record("inpaint.parameters", card["parameters"], "parameters", **_beside(INPAINTER_PARAMETERS)),
        Record("inpaint.training.seconds", card["seconds"], "s", seed=seed),
        Record("inpaint.training.patches_per_second", card["patches_per_second"], "patches/s", seed=seed),
        Record("inpaint.training.best_validation_loss", card["losses"]["best_validation"], "1", seed=seed),
    ]


def evaluation_records(evaluation: xr.Dataset, gate: dict[str, Any]) -> list[Record]:
    """Return the mean correlation in the gap by method and width, and the margin over the bar's interpolation."""
    seed = int(evaluation.attrs["seed"])
    records = []
    for method in map(str, evaluation["method"].values):
        for width in map(int, evaluation["gap_width"].values):
            at = {"method": method, "gap_width": width}
            mean, low, high = (float(evaluation[name].sel(at)) for name in ("mean", "low", "high"))
            n = int(evaluation["scored"].sel(gap_width=width))
            beside = _beside(INPAINTING_PCC[width]) if method == "network" and width in INPAINTING_PCC else {}
            records.append(
                Record(f"inpaint.pcc.{method}.{width}px", mean, "1", low=low, high=high, n=n, seed=seed, **beside)
            )
    if gate.get("margin") is not None:
        bar = gate["must_beat"]
        records.append(
            Record(
                f"inpaint.margin.{bar['baseline']}.{bar['gap_px']}px",
                gate["margin"],
                "1",
                low=gate["low"],
                high=gate["high"],
                n=gate["n"],
                seed=gate["seed"],
            )
        )
    return records


def scan_records(scores: dict[str, Any]) -> list[Record]:
    """Return the correlation in the scan's synthetic gap by method, and the time that filling took."""
    kind = "simulated" if scores["simulated"] else "measured"
    n = scores["voxels"]
    width = scores["gap"]["width_px"]
    records = [
        Record(f"scan.{kind}.pcc.{method}.{width}px", value, "1", n=n) for method, value in scores["pcc"].items()
    ]
    return [*records, Record(f"scan.{kind}.inpaint_seconds", scores["seconds"], "s")]


def cost_records(costs: Iterable[RuleCost]) -> list[Record]:
    """Return wall time and peak memory by rule."""
    records = []
    for cost in costs:
        records.append(Record(f"cost.{cost.rule}.wall_seconds", round(cost.wall_seconds, 2), "s", n=cost.jobs))
        if cost.memory_mb is not None:
            records.append(Record(f"cost.{cost.rule}.peak_memory", cost.memory_mb, "MB", n=cost.jobs))
    return records


def _beside(anchor: Anchor) -> dict[str, Any]:
    source = f"{anchor.source}; {anchor.caution}" if anchor.caution else anchor.source
    return {"published": anchor.value, "source": source}
