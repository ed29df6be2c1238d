"""From a run's files to its records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from braggworks.campaigns import AtomisticCampaign, SamplingConfig, Shape3dCampaign
from braggworks.config import Config
from braggworks.records import Record
from braggworks.reporting.benchmarks import RuleCost
from braggworks.reporting.published import (
    INPAINTER_PARAMETERS,
    INPAINTING_PATCHES,
    INPAINTING_PCC,
    RSP_PARAMETERS,
    Anchor,
)

if TYPE_CHECKING:
    import xarray as xr

# Without other methods, noise, or oversampling ratios that nothing published stands beside.
_SHIPPED = re.compile(
    r"inpaint\.(pcc\.gap\d+|error_removed\.gap\d+\.oversampling\d+|aps\.gap\d+\.from\d+|aps\.cells_above_best_baseline"
    r"|strain_ratio(\.oversampling\d+)?\.gap\d+|scan\.\w+)"
    r"|phase\.(wca\.high_strain(\.\w+)?|(gain|range)(_either)?\.\w+|speedup\.network_er(\.equal_accuracy)?"
    r"|cycles_ratio\.\d|aps\.(consensus|(pynx|rsp\.\w+)\.(consensus|modulus|likeness)|gap\.\w+\.likeness))"
)


@dataclass(frozen=True)
class CampaignRow:
    """What a run has of one campaign, for the report's table.

    Parameters
    ----------
    name, family, task
        Which one.
    particles, patterns, samples
        How many there are.
    rejected
        Draws that were rejected because their pattern would have been undersampled, and drawn again.
    shape
        Voxels of a sample, as text.
    bytes_per_sample
        Mean over the release that holds it.
    """

    name: str
    family: str
    task: str
    particles: int
    patterns: int
    samples: int
    rejected: int
    shape: str
    bytes_per_sample: float


def campaign_rows(config: Config, manifests: Mapping[str, dict[str, Any]]) -> list[CampaignRow]:
    """Return one row per campaign of the run, in the order of the configuration.

    Parameters
    ----------
    config
        The run.
    manifests
        Manifests by release.

    Raises
    ------
    KeyError
        If a manifest lacks a value, or holds a campaign that the run does not have.
    """
    known = {campaign.name: campaign for campaign in config.campaigns}
    rows: dict[str, CampaignRow] = {}
    for manifest in manifests.values():
        for entry in manifest["campaigns"]:
            campaign = known[entry["name"]]
            rows[campaign.name] = CampaignRow(
                name=campaign.name,
                family=campaign.family,
                task=campaign.task,
                particles=entry["particles"],
                patterns=entry["samples"] // campaign.patches.per_pattern,
                samples=entry["samples"],
                rejected=entry["rejected"],
                shape=" × ".join(map(str, manifest["shape"])),
                bytes_per_sample=manifest["bytes"] / manifest["samples"],
            )
    return [rows[campaign.name] for campaign in config.campaigns if campaign.name in rows]


def dataset_records(config: Config, manifests: Mapping[str, dict[str, Any]]) -> list[Record]:
    """Return the size of the data: of all campaigns, by split of the release that is trained on, by release.

    Parameters
    ----------
    config
        The run.
    manifests
        Manifests by release.
    """
    rows = campaign_rows(config, manifests)
    trained = manifests[config.training.release] if config.training else None
    total = trained["samples"] if trained else sum(row.samples for row in rows)
    beside = beside_of(INPAINTING_PATCHES) if trained and config.task == "inpaint" else {}
    records = [Record("dataset.samples", total, "samples", **beside)]
    if trained:
        records += [
            Record(f"dataset.{what}.{split}", counts[what], what, seed=config.splits.seed)
            for split, counts in sorted(trained["splits"].items())
            for what in ("particles", "samples")
        ]
    for release, manifest in manifests.items():
        size = manifest["bytes"] / manifest["samples"]
        records.append(Record(f"dataset.bytes_per_sample.{release}", size, "bytes/sample", n=manifest["samples"]))
    for row in rows:
        tried = row.patterns + row.rejected
        records.append(Record(f"dataset.rejected.{row.name}", row.rejected, "patterns", n=tried))
    return records


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
    assert config.training is not None  # noqa: S101
    seed, task = config.training.seed, config.task
    anchor = INPAINTER_PARAMETERS if task == "inpaint" else RSP_PARAMETERS
    return [
        Record(
            f"{task}.parameters",
            card["parameters"],
            "parameters",
            **beside_of(anchor, f"here: {config.training.network.name} of width {config.training.network.width:g}"),
        ),
        Record(f"{task}.training.seconds", card["seconds"], "s", seed=seed),
        Record(f"{task}.training.patches_per_second", card["patches_per_second"], "patches/s", seed=seed),
        Record(f"{task}.training.best_validation_loss", card["losses"]["best_validation"], "1", seed=seed),
    ]


def evaluation_records(config: Config, evaluation: xr.Dataset, gate: dict[str, Any]) -> list[Record]:
    """Return the mean correlation in the gap by method, width and stratum, and the margin over the bar's method."""
    seed = int(evaluation.attrs["seed"])
    records = [Record("inpaint.evaluation.particles", int(evaluation.attrs["particles"]), "particles")]
    for method in map(str, evaluation["method"].values):
        for width in map(int, evaluation["gap_width"].values):
            at = {"method": method, "gap_width": width}
            anchor = INPAINTING_PCC.get(width) if method == "network" else None
            beside = beside_of(anchor, _protocol(config)) if anchor else {}
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


def study_records(study: str, evaluations: Mapping[str, xr.Dataset]) -> list[Record]:
    """Return the mean correlation in the gap by variant and width."""
    return [
        _mean_record(
            f"study.{study}.{variant}.{width}px",
            evaluation,
            {"method": "network", "gap_width": width},
            "",
            int(evaluation.attrs["seed"]),
        )
        for variant, evaluation in evaluations.items()
        for width in map(int, evaluation["gap_width"].values)
    ]


def shipped_records(records: Iterable[Record]) -> list[Record]:
    """Return what a reader wants of the benchmarks of the networks that come with the package."""
    return [record for record in records if _SHIPPED.fullmatch(record.name)]


def _mean_record(
    name: str, evaluation: xr.Dataset, at: dict[str, Any], prefix: str, seed: int, **beside: Any
) -> Record:
    mean, low, high = (float(evaluation[prefix + part].sel(at)) for part in ("mean", "low", "high"))
    n = int(evaluation[f"{prefix}scored"].sel({key: value for key, value in at.items() if key != "method"}))
    return Record(name, mean, "1", low=low, high=high, n=n, seed=seed, **beside)


def _protocol(config: Config) -> str:
    """Say how this run's held-out patches differ from the published ones."""
    assert config.training is not None  # noqa: S101
    campaigns = [config.campaign(name) for name in config.release(config.training.release).campaigns]
    sampled: list[SamplingConfig] = [c.diffraction for c in campaigns if isinstance(c, AtomisticCampaign)]
    sampled += [c.sampling for c in campaigns if isinstance(c, Shape3dCampaign)]
    parts = []
    if sampled:
        low, high = min(part.oversampling[0] for part in sampled), max(part.oversampling[1] for part in sampled)
        grid = max(part.grid for part in sampled)
        parts.append(f"patches of {grid}^3 patterns with Poisson noise, oversampling {low:g} to {high:g}")
    if any(campaign.family == "scan" for campaign in campaigns):
        parts.append("patches of measured scans")
    start = ", starting from linear interpolation" if config.training.network.residual else ""
    return (
        f"here: {' and '.join(parts) or 'other patches'}, one network of "
        f"width {config.training.network.width:g} for all widths of gap{start}"
    )


def object_records(phased: dict[str, Any]) -> list[Record]:
    """Return what the scan was phased to: the likelihood of the best run, and how far the best runs agree."""
    stem, runs = f"scan.{'simulated' if phased['simulated'] else 'measured'}.object", len(phased["free_llk"])
    best = min(phased["free_llk"][run] for run in phased["kept"])
    kept = len(phased["kept"])
    return [
        Record(f"{stem}.free_llk", best, "1", n=runs),
        Record(f"{stem}.pairwise_correlation", min(phased["pairwise_correlation"]), "1", n=kept),
        Record(f"{stem}.pairwise_correlation.inside", min(phased["pairwise_correlation_inside"]), "1", n=kept),
        Record(f"{stem}.first_mode", phased["mode_weights"][0], "1", n=kept),
        Record(f"{stem}.volume", phased["voxels"], "voxels"),
    ]


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


def beside_of(anchor: Anchor, here: str = "") -> dict[str, Any]:
    """Return a published number and its source as what a record says beside its own."""
    source = "; ".join(part for part in (anchor.source, anchor.caution, here) if part)
    return {"published": anchor.value, "source": source}
