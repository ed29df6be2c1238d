"""The HTML page: pictures and scripts inside it, so that it opens without a network."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import plotly.graph_objects as go
import plotly.io


def image_source(path: str | Path) -> str:
    """Return a PNG as a data address for an ``img`` element."""
    return png_address(Path(path).read_bytes())


def png_address(png: bytes) -> str:
    """Return the bytes of a PNG as a data address."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def surface_html(mesh: dict[str, Any]) -> str:
    """Return the HTML of one crystal's surface, coloured by phase, that the mouse turns.

    Parameters
    ----------
    mesh
        ``vertices`` (V, 3) as z, y, x in nanometres, ``faces`` (F, 3), and ``phase`` (V,) in radians.
    """
    z, y, x = (list(axis) for axis in zip(*mesh["vertices"], strict=True))
    i, j, k = (list(corner) for corner in zip(*mesh["faces"], strict=True))
    # A few vertices at edges would otherwise take all of the colours.
    limit = float(np.percentile(np.abs(mesh["phase"]), 98)) or 1.0
    full_turn = limit > math.pi / 2
    surface = go.Mesh3d(
        x=x,
        y=y,
        z=z,
        i=i,
        j=j,
        k=k,
        intensity=mesh["phase"],
        colorscale="Twilight" if full_turn else "RdBu_r",
        cmin=-math.pi if full_turn else -limit,
        cmax=math.pi if full_turn else limit,
        colorbar={"title": {"text": "phase (rad)"}, "thickness": 14, "len": 0.7},
        lighting={"ambient": 0.6, "diffuse": 0.6, "specular": 0.1},
        hovertemplate="x %{x:.2f} nm<br>y %{y:.2f} nm<br>z %{z:.2f} nm<br>phase %{intensity:.3f} rad<extra></extra>",
    )
    figure = go.Figure(surface)
    camera = {"eye": {"x": 1.5, "y": 1.5, "z": 1.1}, "center": {"x": 0, "y": 0, "z": -0.1}}
    axes = {axis: {"title": {"text": f"{axis[0]} (nm)"}} for axis in ("xaxis", "yaxis", "zaxis")}
    figure.update_layout(
        scene={**axes, "aspectmode": "data", "camera": camera}, margin={"l": 0, "r": 0, "t": 0, "b": 0}, height=520
    )
    html: str = plotly.io.to_html(
        figure, include_plotlyjs=True, full_html=False, config={"displaylogo": False, "responsive": True}
    )
    return html


def render_page(template: str, **values: Any) -> str:
    """Return the page; values are escaped except those that the template marks as HTML."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(template).render(**values)
