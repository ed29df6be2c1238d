"""What an evaluation beside a network's weights says of its accuracy."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

SCORES = "gap_width.nc"


def known_accuracy(weights: str | Path, width: int) -> tuple[int, float] | None:
    """Return the evaluated gap width nearest to `width`, and the mean correlation there; None without an evaluation.

    Parameters
    ----------
    weights
        Weights in a folder in which `braggworks evaluate` wrote its scores, as a run does.
    width
        Width of a gap, in pixels.
    """
    file = Path(weights).with_name(SCORES)
    if not file.exists():
        return None
    try:
        with xr.open_dataset(file, engine="h5netcdf") as data:
            nearest = min(map(int, data["gap_width"].values), key=lambda each: abs(each - width))
            return nearest, float(data["mean"].sel({"method": "network", "gap_width": nearest}))
    except (OSError, KeyError, ValueError):
        return None
