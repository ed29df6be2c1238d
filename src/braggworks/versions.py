"""One integer per stage: raise it when the stage's results change, and the workflow makes them again."""

from __future__ import annotations

STAGE_VERSIONS: dict[str, int] = {
    "crystals": 2,
    "relax": 2,
    "scatter": 2,
    "shard": 3,
    "simulate": 2,
    "shard-scan": 2,
    "manifest": 2,
    "train": 7,
    "evaluate": 2,
    "sweep": 7,
    "compare": 1,
    "scan": 2,
    "inpaint": 2,
    "phase": 3,
    "figure": 3,
    "report": 3,
}
