"""The page of a gallery: a sheet per campaign beside what its sidecars say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from braggworks.records import format_number
from braggworks.reporting.page import png_address, render_page

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>braggworks: samples of {{ results }}</title>
<style>
  body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; color: #1c2430; background: #fff;
    font: 16px/1.55 system-ui, "DejaVu Sans", sans-serif; }
  h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; border-top: 1px solid #dde2e8; padding-top: 1.2rem; }
  nav a { margin-right: .9rem; color: #2f5f8f; text-decoration: none; }
  figure { margin: 1rem 0; } img { max-width: 100%; height: auto; display: block; }
  figcaption { color: #5b6675; font-size: .9rem; max-width: 46rem; }
  table { border-collapse: collapse; font-size: .85rem; } .scroll { overflow-x: auto; }
  th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #dde2e8; vertical-align: top; }
  td { font-variant-numeric: tabular-nums; }
</style>
</head>
<body>
<h1>Samples of {{ results }}</h1>
<nav><a href="#spans">All campaigns</a>
{% for entry in entries %}<a href="#{{ entry.facts.campaign }}">{{ entry.facts.campaign }}</a>
{% endfor %}</nav>
<h2 id="spans">All campaigns</h2>
<div class="scroll"><table><thead><tr><th>campaign</th><th>family</th><th>task</th><th>batches</th><th>samples</th>
<th>shape</th><th>rejected patterns</th><th>bytes per sample</th></tr></thead><tbody>
{% for entry in entries %}<tr><td>{{ entry.facts.campaign }}</td><td>{{ entry.facts.family }}</td>
<td>{{ entry.facts.task }}</td><td>{{ entry.facts.batches }}</td><td>{{ number(entry.facts.samples) }}</td>
<td>{{ entry.facts.shape }}</td><td>{{ number(entry.facts.rejected) }}</td>
<td>{{ number(entry.facts.bytes_per_sample) }}</td></tr>
{% endfor %}</tbody></table></div>
<figure><img src="{{ spans }}" alt="what the campaigns' patterns span">
<figcaption>What the patterns of each campaign span. Oversampling is measured on the final grid along every axis; the
largest extent is the grid over the smallest oversampling.</figcaption></figure>
{% for entry in entries %}
<h2 id="{{ entry.facts.campaign }}">{{ entry.facts.campaign }}</h2>
<figure><img src="{{ address(entry.png) }}" alt="samples of {{ entry.facts.campaign }}">
<figcaption>{{ entry.caption }}</figcaption></figure>
<div class="scroll"><table><thead><tr><th>stage</th><th>version</th><th>tools</th></tr></thead><tbody>
{% for stage in entry.facts.stages %}<tr><td>{{ stage.name }}</td><td>{{ stage.version }}</td>
<td>{{ stage.tools }}</td></tr>
{% endfor %}</tbody></table></div>
{% endfor %}
</body>
</html>
"""
_CAPTIONS = {
    "inpaint": "Central slices, each on its own scale; white: no count, grey: the gap, under which counts are known.",
    "phase": "Central slices. RSP: reciprocal-space phase, the label. White: no count; grey: not measured. The object "
    "is the inverse Fourier transform of the square root of the counts with the label's phase, inside its outline.",
}


@dataclass(frozen=True)
class Stage:
    """One stage of a shard's history."""

    name: str
    version: str
    tools: str


@dataclass(frozen=True)
class Facts:
    """What the sidecars of a campaign say together."""

    campaign: str
    family: str
    task: str
    batches: int
    samples: int
    shape: str
    rejected: int
    bytes_per_sample: float
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Entry:
    """A campaign on the page: its facts, and its sheet as PNG."""

    facts: Facts
    png: bytes

    @property
    def caption(self) -> str:
        """What the sheet shows."""
        return _CAPTIONS.get(self.facts.task, "")


def facts_of(sidecars: Sequence[dict[str, Any]]) -> Facts:
    """Join the sidecars of one campaign.

    Parameters
    ----------
    sidecars
        One per batch; family, task and shape are those of the first.

    Raises
    ------
    KeyError, TypeError, ValueError
        If one lacks a value.
    """
    first = sidecars[0]
    if any(sidecar["campaign"] != first["campaign"] for sidecar in sidecars):
        raise ValueError("sidecars of different campaigns")
    samples = sum(int(sidecar["samples"]) for sidecar in sidecars)
    return Facts(
        campaign=str(first["campaign"]),
        family=str(first["family"]),
        task=str(first["task"]),
        batches=len(sidecars),
        samples=samples,
        shape=" × ".join(str(int(size)) for size in first["shape"]),
        rejected=sum(int(sidecar["rejected"]) for sidecar in sidecars),
        bytes_per_sample=round(sum(int(sidecar["bytes"]) for sidecar in sidecars) / samples),
        stages=tuple(_stage(entry) for entry in first["provenance"]),
    )


def _stage(entry: dict[str, Any]) -> Stage:
    tools = ", ".join(f"{name} {_short(str(version))}" for name, version in entry["tools"].items())
    return Stage(str(entry["stage"]), str(entry["recipe"]["version"]), tools)


def _short(version: str) -> str:
    """Return a version, or the first characters of a hash."""
    return version if len(version) < 40 else f"{version[:12]}…"


def render_gallery(results: str, entries: Sequence[Entry], spans: bytes) -> str:
    """Return the page.

    Parameters
    ----------
    results
        Name of the folder.
    entries
        The campaigns in order.
    spans
        PNG of what the campaigns' patterns span.
    """
    return render_page(
        _TEMPLATE, results=results, entries=entries, spans=png_address(spans), address=png_address, number=format_number
    )
