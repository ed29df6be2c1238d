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
        Record(
            "inpaint.parameters",
            card["parameters"],
            "parameters",
            **_beside(INPAINTER_PARAMETERS, f"here: width {config.training.network.width:g}"),
        ),
        Record("inpaint.training.seconds", card["seconds"], "s", seed=seed),
        Record("inpaint.training.patches_per_second", card["patches_per_second"], "patches/s", seed=seed),
        Record("inpaint.training.best_validation_loss", card["losses"]["best_validation"], "1", seed=seed),
    ]


def evaluation_records(config: Config, evaluation: xr.Dataset, gate: dict[str, Any]) -> list[Record]:
    """Return the mean correlation in the gap by method, width and stratum, and the margin over the bar's method."""
    seed = int(evaluation.attrs["seed"])
    records = [Record("inpaint.evaluation.particles", int(evaluation.attrs["particles"]), "particles")]
    for method in map(str, evaluation["method"].values):
        for width in map(int, evaluation["gap_width"].values):
            at = {"method": method, "gap_width": width}
            anchor = INPAINTING_PCC.get(width) if method == "network" else None
            beside = _beside(anchor, _protocol(config)) if anchor else {}
            name = f"inpaint.pcc.{method}.{width}px"
            records.append(_mean_record(name, evaluation, at, "", seed, **beside))
            records += [
                _mean_record(f"{name}.stratum{number + 1}", evaluation, {**at, "stratum": number}, "stratum_", seed)
                for number in range(evaluation.sizes["stratum"])
            ]
    records += [
        Record(f"inpaint.stratum{number + 1}.mean_counts", float(counts), "counts per voxel")
        for number, counts in enumerate(evaluation["stratum_mean_counts"].values)
    ]
    if gate.get("margin") is not None:
        bar = gate["must_beat"]
        interval = {key: gate[key] for key in ("low", "high", "n", "seed")}
        records.append(Record(f"inpaint.margin.{bar['baseline']}.{bar['gap_px']}px", gate["margin"], "1", **interval))
    return records


def _mean_record(
    name: str, evaluation: xr.Dataset, at: dict[str, Any], prefix: str, seed: int, **beside: Any
) -> Record:
    mean, low, high = (float(evaluation[prefix + part].sel(at)) for part in ("mean", "low", "high"))
    n = int(evaluation[f"{prefix}scored"].sel({key: value for key, value in at.items() if key != "method"}))
    return Record(name, mean, "1", low=low, high=high, n=n, seed=seed, **beside)


def _protocol(config: Config) -> str:
    """Say how this run's held-out patches differ from the published ones."""
    campaigns = [config.campaign(name) for name in config.release(config.training.release).campaigns]
    low = min(campaign.diffraction.oversampling[0] for campaign in campaigns)
    high = max(campaign.diffraction.oversampling[1] for campaign in campaigns)
    grid = max(campaign.diffraction.grid for campaign in campaigns)
    start = ", starting from linear interpolation" if config.training.network.residual else ""
    return (
        f"here: patches of {grid}^3 patterns with Poisson noise, oversampling {low:g} to {high:g}, one network of "
        f"width {config.training.network.width:g} for all widths of gap{start}"
    )


def scan_records(scores: dict[str, Any]) -> list[Record]:
    """Return the correlation in the scan's synthetic gap by method, overall and by stratum, and the time it took."""
    kind = "simulated" if scores["simulated"] else "measured"
    width = scores["gap"]["width_px"]
    records = []
    for method, value in scores["pcc"].items():
        name = f"scan.{kind}.pcc.{method}.{width}px"
        records.append(Record(name, value, "1", n=scores["voxels"]))
        records += [
            Record(f"{name}.stratum{number}", stratum["pcc"][method], "1", n=stratum["voxels"])
            for number, stratum in enumerate(scores["strata"], 1)
        ]
    records += [
        Record(f"scan.{kind}.stratum{number}.mean_counts", stratum["mean_counts"], "counts per voxel")
        for number, stratum in enumerate(scores["strata"], 1)
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


def _beside(anchor: Anchor, here: str = "") -> dict[str, Any]:
    source = "; ".join(part for part in (anchor.source, anchor.caution, here) if part)
    return {"published": anchor.value, "source": source}
