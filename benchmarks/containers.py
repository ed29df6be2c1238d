"""The same run in uv environments and in containers: are the datasets the same bytes, and the summary the same numbers?

A small run of every family, with a network trained and evaluated, is made twice into a temporary folder of the project.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from braggworks.config import load_config
from braggworks.files import sha256_of
from braggworks.images import read_record
from braggworks.preflight.environments import STAGES
from braggworks.records import Record
from braggworks.targets import missing_scans

PROFILES = {"local": "workflow/profiles/local", "apptainer": "workflow/profiles/apptainer"}
# Durations, rates and memory are of the moment, not of the result.
_COSTS = ("s", "patches/s")


def measure() -> Iterator[Record]:
    """Yield the share of equal files, the largest difference of numbers, and the images' sizes."""
    with tempfile.TemporaryDirectory(dir=".", prefix="containers-") as name:
        folder = Path(name)
        families = _write_runs(folder)
        for mode, profile in PROFILES.items():
            _run(folder / f"{mode}.yaml", profile)
        local, inside = (folder / mode for mode in PROFILES)
        shards = sorted(path.relative_to(local) for path in local.rglob("shards/*.h5"))
        equal = sum(sha256_of(local / shard) == sha256_of(inside / shard) for shard in shards)
        largest, compared = _largest_difference(local / "summary.json", inside / "summary.json")
        weights = "releases/patches/inpaint/weights.safetensors"
        same_weights = sha256_of(local / weights) == sha256_of(inside / weights)
    about = f"families {families}; shards made in uv environments and in containers"
    yield Record("containers.hashes_equal", equal / len(shards), "1", n=len(shards), source=about)
    yield Record("containers.weights_equal", float(same_weights), "1", n=1, source="trained weights, by SHA-256")
    yield Record("containers.summary_difference", largest, "1", n=compared, source="largest relative, without costs")
    for stage in (*STAGES, "pynx"):
        if size := read_record(stage).get("bytes"):
            yield Record(f"containers.size.{stage}", size / 1e6, "MB", n=1)


def _write_runs(folder: Path) -> str:
    """Write one configuration for each mode, and return the families that they cover."""
    (folder / "campaigns").symlink_to(Path("config/campaigns").absolute())
    values: dict[str, Any] = yaml.safe_load(Path("config/families.yaml").read_text(encoding="utf-8"))
    values["splits"] = {"validation": 0.1, "test": 0.2, "seed": 1}
    values["training"] = {"release": "patches", "network": {"width": 0.25}, "epochs": 1, "batch_size": 8}
    values["evaluation"] = {"must_beat": None}
    # The family scan needs a measured scan, which a machine may lack.
    if not missing_scans(load_config("config/scan-patches.yaml")):
        values["campaigns"].append("small-scan")
        values["releases"].append({"name": "scan", "campaigns": ["small-scan"]})
    for mode in PROFILES:
        text = yaml.safe_dump({**values, "results": str(folder / mode)})
        (folder / f"{mode}.yaml").write_text(text, encoding="utf-8")
    found = load_config(folder / "local.yaml")
    return ", ".join(sorted({campaign.family for campaign in found.campaigns}))


def _run(config: Path, profile: str) -> None:
    program = Path(os.environ.get("BRAGGWORKS_ENVS", ".envs")) / "workflow" / "bin" / "braggworks"
    subprocess.run([str(program), "run", str(config), "--profile", profile], check=True, stdout=subprocess.DEVNULL)


def _largest_difference(first: Path, second: Path) -> tuple[float, int]:
    """Return the largest relative difference of two summaries' numbers, and how many were compared."""
    one, two = (
        {record["name"]: record for record in json.loads(path.read_text(encoding="utf-8"))["records"]}
        for path in (first, second)
    )
    if one.keys() != two.keys():
        raise RuntimeError(f"only one of the summaries holds {sorted(one.keys() ^ two.keys())}")
    differences = []
    for name, record in one.items():
        if record["unit"] in _COSTS or name.startswith("cost.") or name.endswith(".speedup"):
            continue
        for field in ("value", "low", "high"):
            a, b = record[field], two[name][field]
            if (a is None) != (b is None):
                raise RuntimeError(f"only one of the summaries holds {field} of {name}")
            if a is not None:
                differences.append(abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0)
    return max(differences), len(differences)
