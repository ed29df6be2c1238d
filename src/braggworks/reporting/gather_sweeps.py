"""From sweeps of networks that fill gaps to their records."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from braggworks.records import Record

if TYPE_CHECKING:
    import xarray as xr


def sweep_records(sweep: xr.Dataset) -> list[Record]:
    """Return what a sweep found, by its kind."""
    return _KINDS[str(sweep.attrs["kind"])](sweep, int(sweep.attrs.get("n", 1)))


def _skipped(sweep: xr.Dataset, n: int) -> list[Record]:
    del n
    records = []
    for skipped in map(int, sweep["skipped"].values):
        at = sweep.sel(skipped=skipped)
        records.append(Record(f"sweep.skipped.{skipped}px.seconds", float(at["seconds"]), "s"))
        records.append(Record(f"sweep.skipped.{skipped}px.pcc", float(at["pcc"]), "1"))
    return records


def _masking(sweep: xr.Dataset, n: int) -> list[Record]:
    records = []
    for strategy in map(str, sweep["strategy"].values[1:]):
        at = sweep.sel(strategy=strategy).mean("particle")
        for what in ("strain_rmse", "modulus_rmse", "free_llk"):
            records.append(Record(f"sweep.masking.{strategy}.{what}", float(at[what]), "1", n=n))
    return records


def _strain(sweep: xr.Dataset, n: int) -> list[Record]:
    records = []
    for width in map(int, sweep["gap_width"].values):
        rmse = sweep["rmse"].sel({"gap_width": width}).mean("particle")
        for method in map(str, sweep["method"].values):
            value = float(rmse.sel({"method": method}))
            records.append(Record(f"sweep.strain.{method}.{width}px.rmse", value, "1", n=n))
    return records


def _consistency(sweep: xr.Dataset, n: int) -> list[Record]:
    gains = sweep["rmse"].mean("particle") / sweep["rmse_after"].mean("particle")
    table = gains.rename("gain").to_dataframe().reset_index()
    return [
        Record(
            f"sweep.consistency.{row.gap_width:g}px.{row.ratio:g}.share{row.share:g}.weight{row.weight:g}",
            float(row.gain),
            "1",
            n=n,
        )
        for row in table.itertuples()
    ]


def _position(sweep: xr.Dataset, n: int) -> list[Record]:
    gap = int(sweep.attrs["gap_px"])
    means = {str(method): float(sweep["pcc"].sel({"method": method}).mean()) for method in sweep["method"].values}
    return [Record(f"sweep.position.{method}.{gap}px", mean, "1", n=n) for method, mean in means.items()]


def _oversampling(sweep: xr.Dataset, n: int) -> list[Record]:
    records = []
    for method in map(str, sweep["method"].values):
        scores = sweep["pcc"].sel({"method": method})
        for width in map(int, sweep["gap_width"].values):
            for ratio in sweep["ratio"].values:
                value = float(scores.sel(gap_width=width, ratio=ratio).mean())
                records.append(Record(f"sweep.oversampling.{method}.{width}px.{float(ratio):g}", value, "1", n=n))
    return records


_KINDS: dict[str, Callable[[xr.Dataset, int], list[Record]]] = {
    "skipped": _skipped,
    "masking": _masking,
    "strain": _strain,
    "consistency": _consistency,
    "position": _position,
    "oversampling": _oversampling,
}
