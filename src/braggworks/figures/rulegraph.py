"""The workflow's rules as a graph from left to right, coloured by the environment that each one runs in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import combinations, pairwise

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch
from matplotlib.path import Path
from numpy.typing import NDArray

from braggworks.figures.style import WIDE_MM, Look, new_figure, styled

ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    "workflow": ("draw_rulegraph",),
    "particles": ("cut_crystals",),
    "relax": ("relax_batch",),
    "scatter": ("scatter_batch", "grid_batch", "compare_engines", "cut_shard", "write_manifest"),
    "pynx": ("scatter_batch_pynx",),
    "learn": (
        "simulate_batch",
        "show_steps",
        "cut_scan_shard",
        "train_network",
        "evaluate_network",
        "sweep_network",
        "check_network",
        "train_variant",
        "evaluate_variant",
        "simulate_scan",
        "prepare_scan",
        "inpaint_scan",
        "phase_scan",
    ),
    "figures": ("draw_figure", "mesh_crystal", "write_report"),
}
_FILL = {
    "workflow": "#E3E3E3",
    "particles": "#F3DDA0",
    "relax": "#F2BFA6",
    "scatter": "#B8D8EC",
    "pynx": "#8FB6DC",
    "learn": "#BCDDB2",
    "figures": "#DCC6E2",
}
_MAX_NODES = 500
_MAX_CHARACTERS = 1_000_000
# A layer is one unit wide and a row one unit and _ROW_MM high.
_BOX = (0.8, 0.78)
_ROW_MM = 13.0
# Height that an edge takes in a layer that it crosses.
_LANE = 0.4
_NODE = re.compile(r'^\s*"?(\w+)"?\s*\[label\s*=\s*"([^"]*)"')
_EDGE = re.compile(r'^\s*"?(\w+)"?\s*->\s*"?(\w+)"?')


@dataclass(frozen=True)
class _Waypoint:
    """A place that an edge passes in a layer where it neither starts nor ends."""

    source: str
    target: str
    layer: int


_Node = str | _Waypoint


def parse_dot(text: str) -> nx.DiGraph:
    """Return the graph that ``snakemake --rulegraph dot`` prints, with rule names as nodes.

    Parameters
    ----------
    text
        DOT, one node or edge per line.

    Raises
    ------
    ValueError
        If it is too large, holds no rule, an edge of an unknown node, or a cycle.
    """
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"it is longer than {_MAX_CHARACTERS} characters")
    lines = text.splitlines()
    names = {match[1]: match[2].split("\\n")[0] for line in lines if (match := _NODE.match(line))}
    if not 0 < len(names) <= _MAX_NODES:
        raise ValueError(f"it holds {len(names)} rules, not 1 to {_MAX_NODES}")
    graph = nx.DiGraph()
    graph.add_nodes_from(names.values())
    for line in lines:
        if match := _EDGE.match(line):
            if not {match[1], match[2]} <= names.keys():
                raise ValueError(f"its edge {match[1]} -> {match[2]} joins an unknown node")
            graph.add_edge(names[match[1]], names[match[2]])
    if not nx.is_directed_acyclic_graph(graph):
        raise ValueError("its rules form a circle")
    return graph


@styled
def draw(graph: nx.DiGraph, look: Look) -> Figure:
    """Draw the transitive reduction of the graph, from the rules without inputs on the left to the target.

    Parameters
    ----------
    graph
        Rules as nodes, an edge from each rule to those that use its files; acyclic.
    look
        Not used: colours stand for environments.
    """
    layers, steps, chains = _layered(nx.transitive_reduction(graph))
    layers = _ordered(layers, steps)
    places = _places(layers, steps)
    heights = [y for _, y in places.values()]
    low, high = min(heights) - 0.5, max(heights) + 0.5
    figure = new_figure(WIDE_MM, 14 + _ROW_MM * (high - low))
    axes = figure.add_subplot()
    for chain in chains:
        _draw_edge(axes, [places[node] for node in chain])
    for node, place in places.items():
        if isinstance(node, str):
            _draw_box(axes, node, place)
    used = [name for name, rules in ENVIRONMENTS.items() if any(rule in graph for rule in rules)]
    axes.legend(
        handles=[Patch(facecolor=_FILL[name], edgecolor="black", linewidth=0.5, label=name) for name in used],
        title="environment",
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=len(_FILL),
        columnspacing=1.2,
        handlelength=1.2,
    )
    axes.set(xlim=(-0.5, len(layers) - 0.5), ylim=(low, high))
    axes.set_axis_off()
    return figure


def environment_of(rule: str) -> str:
    """Return the environment that a rule runs in; `workflow` for an unknown rule."""
    return next((name for name, rules in ENVIRONMENTS.items() if rule in rules), "workflow")


def _layered(graph: nx.DiGraph) -> tuple[list[list[_Node]], nx.DiGraph, list[list[_Node]]]:
    """Return the nodes by layer, the graph of steps between neighbouring layers, and each edge as a chain of steps."""
    level = {node: k for k, nodes in enumerate(nx.topological_generations(graph)) for node in nodes}
    # A rule that starts a branch stands just before the first rule that needs it, which keeps its edges short.
    for node in reversed(list(nx.topological_sort(graph))):
        if graph.out_degree(node) and not graph.in_degree(node):
            level[node] = min(level[after] for after in graph.successors(node)) - 1
    layers: list[list[_Node]] = [[] for _ in range(max(level.values()) + 1)]
    steps = nx.DiGraph()
    for node in nx.lexicographical_topological_sort(graph):
        layers[level[node]].append(node)
        steps.add_node(node)
    chains: list[list[_Node]] = []
    for source, target in sorted(graph.edges):
        waypoints = [_Waypoint(source, target, k) for k in range(level[source] + 1, level[target])]
        for waypoint in waypoints:
            layers[waypoint.layer].append(waypoint)
        chains.append([source, *waypoints, target])
        nx.add_path(steps, chains[-1])
    return layers, steps, chains


def _ordered(layers: list[list[_Node]], steps: nx.DiGraph, sweeps: int = 24) -> list[list[_Node]]:
    """Return the layers with their nodes reordered by the mean rank of their neighbours, so that few edges cross."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers, steps)
    for sweep in range(sweeps):
        forwards = sweep % 2 == 0
        neighbours = steps.predecessors if forwards else steps.successors
        for k in range(1, len(layers)) if forwards else range(len(layers) - 2, -1, -1):
            rank = {node: i for i, node in enumerate(layers[k - 1 if forwards else k + 1])}
            own = {node: i for i, node in enumerate(layers[k])}
            mean = {node: np.mean([rank[n] for n in neighbours(node)] or [own[node]]) for node in layers[k]}
            layers[k].sort(key=mean.__getitem__)
        if (crossings := _crossings(layers, steps)) < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _crossings(layers: list[list[_Node]], steps: nx.DiGraph) -> int:
    """Return how many pairs of edges cross between neighbouring layers."""
    total = 0
    for left, right in pairwise(layers):
        rank = {node: i for i, node in enumerate(right)}
        ends = [(i, rank[target]) for i, node in enumerate(left) for target in steps.successors(node)]
        total += sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in combinations(ends, 2))
    return total


def _places(layers: list[list[_Node]], steps: nx.DiGraph, sweeps: int = 30) -> dict[_Node, tuple[float, float]]:
    """Return (x, y) of every node: its layer, and a height near its neighbours' that keeps boxes and edges apart."""
    offsets = [_offsets(layer) for layer in layers]
    height = {
        node: float(offset[-1] / 2 - y)
        for layer, offset in zip(layers, offsets, strict=True)
        for node, y in zip(layer, offset, strict=True)
    }
    for sweep in range(sweeps):
        for k in range(len(layers))[:: 1 if sweep % 2 == 0 else -1]:
            wish = [float(np.mean([height[other] for other in _pull(node, steps)])) for node in layers[k]]
            height.update(zip(layers[k], _spread(wish, offsets[k]), strict=True))
    return {node: (float(k), height[node]) for k, layer in enumerate(layers) for node in layer}


def _pull(node: _Node, steps: nx.DiGraph) -> list[_Node]:
    """Return the nodes that one wants to be level with: its neighbours, and for a waypoint those of its own edge."""
    near = [*steps.predecessors(node), *steps.successors(node)]
    if isinstance(node, _Waypoint):
        near = [other for other in near if isinstance(other, _Waypoint)] or near
    return near or [node]


def _offsets(layer: list[_Node]) -> NDArray[np.float64]:
    """Return how far below the first node each node of a tightly packed layer lies."""
    room = np.array([_LANE if isinstance(node, _Waypoint) else 1.0 for node in layer])
    return np.asarray(np.cumsum(room) - (room + room[0]) / 2)


def _spread(wish: list[float], offsets: NDArray[np.float64]) -> list[float]:
    """Return the falling heights closest to those wished for, by least squares, at least their offsets apart."""
    # With the offsets taken out, this is a monotone regression: pool neighbours that are out of order.
    pools: list[list[float]] = []
    for height in np.asarray(wish) + offsets:
        pools.append([float(height)])
        while len(pools) > 1 and np.mean(pools[-2]) < np.mean(pools[-1]):
            pools[-2].extend(pools.pop())
    level = np.array([np.mean(pool) for pool in pools for _ in pool])
    return [float(value) for value in level - offsets]


def _draw_box(axes: Axes, rule: str, place: tuple[float, float]) -> None:
    x, y = place
    axes.add_patch(
        FancyBboxPatch(
            (x - _BOX[0] / 2, y - _BOX[1] / 2),
            *_BOX,
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor=_FILL[environment_of(rule)],
            edgecolor="black",
            linewidth=0.5,
            zorder=2,
        )
    )
    axes.text(x, y, rule.replace("_", "\n"), ha="center", va="center", fontsize=7, linespacing=1.05, zorder=3)


def _draw_edge(axes: Axes, places: list[tuple[float, float]]) -> None:
    """Draw an arrow from the first place's box to the last one's, level with each place on the way."""
    half = _BOX[0] / 2
    points, codes = [(places[0][0] + half, places[0][1])], [Path.MOVETO]
    for k, (x, y) in enumerate(places[1:], start=1):
        left = points[-1]
        middle = (left[0] + x - half) / 2
        points += [(middle, left[1]), (middle, y), (x - half, y)]
        codes += [Path.CURVE4] * 3
        if k < len(places) - 1:
            points.append((x + half, y))
            codes.append(Path.LINETO)
    axes.add_patch(
        FancyArrowPatch(
            path=Path(points, codes), arrowstyle="-|>", mutation_scale=6, linewidth=0.7, color="#444444", zorder=1
        )
    )
