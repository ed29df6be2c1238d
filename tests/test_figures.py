"""Figures: every one draws from small input; meshes, graphs and choices have the right numbers; bad input is told."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from figure_inputs import DOT, DQ, N, sphere, write_all
from matplotlib.figure import Figure
from matplotlib.text import Text

from braggworks.cli import main
from braggworks.commands._figure_inputs import READERS
from braggworks.figures.isosurface import mesh
from braggworks.figures.objects import Pattern, object_from_amplitude, without_piston
from braggworks.figures.patch import Examples, choose
from braggworks.figures.registry import FIGURES
from braggworks.figures.rulegraph import ENVIRONMENTS, environment_of, parse_dot
from braggworks.figures.style import WIDE_MM, Look, phase_scale
from braggworks.files import create_h5

PICTURES = [name for name, entry in FIGURES.items() if entry.suffix == ".png"]
WORKFLOW = Path(__file__).parent.parent / "workflow" / "rules"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    return write_all(tmp_path_factory.mktemp("inputs"))


def drawn(name: str, inputs: dict[str, list[str]]) -> Figure:
    module = importlib.import_module(f"braggworks.figures.{FIGURES[name].module}")
    figure = getattr(module, FIGURES[name].function)(READERS[name](*inputs[name]), Look())
    assert isinstance(figure, Figure)
    return figure


# --- the registry ---


def test_every_figure_has_a_reader_and_a_function() -> None:
    assert set(READERS) == set(FIGURES)
    for entry in FIGURES.values():
        assert callable(getattr(importlib.import_module(f"braggworks.figures.{entry.module}"), entry.function))


def test_help_lists_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["figure", "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"^  {name} ", shown, re.MULTILINE) for name in FIGURES)


# --- pictures ---


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_written(name: str, inputs: dict[str, list[str]], tmp_path: Path) -> None:
    recipe = json.dumps({"version": 1, "figures": {"dpi": 60}})
    arguments = ["--recipe", recipe, "--output", str(tmp_path / "a.png")]
    assert main(["figure", name, "--input", *inputs[name], *arguments]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["training", "rulegraph"])
def test_picture_has_the_same_bytes_when_drawn_again(name: str, inputs: dict[str, list[str]], tmp_path: Path) -> None:
    outputs = [tmp_path / "a.png", tmp_path / "b.png"]
    assert [main(["figure", name, "--input", *inputs[name], "--output", str(path)]) for path in outputs] == [0, 0]
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.parametrize("name", PICTURES)
def test_labels_have_units_and_can_be_read(name: str, inputs: dict[str, list[str]]) -> None:
    figure = drawn(name, inputs)
    labels = [text for axes in figure.axes for text in (axes.get_xlabel(), axes.get_ylabel()) if text]
    assert labels or name == "rulegraph"
    assert all(re.search(r"\([^()]+\)|\(atoms", label) for label in labels)
    visible = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in visible) >= 7 - 1e-9
    assert figure.get_figwidth() * 25.4 <= WIDE_MM + 1e-6


def test_inputs_may_be_given_one_by_one(inputs: dict[str, list[str]], tmp_path: Path) -> None:
    first, second = inputs["crystal"]
    output = tmp_path / "crystal.png"
    assert main(["figure", "crystal", "--input", first, "--input", second, "--output", str(output)]) == 0
    assert output.exists()


def test_crystals_are_a_free_and_a_clamped_one(inputs: dict[str, list[str]]) -> None:
    assert [crystal.label for crystal in READERS["crystal"](*inputs["crystal"])] == [
        "Au, cube\nfree",
        "Au, Winterbottom\nclamped interface",
    ]


def test_simulated_scan_is_called_so(inputs: dict[str, list[str]]) -> None:
    shown = {text.get_text() for text in drawn("scan", inputs).findobj(Text)}
    assert {"a scan (simulated)", "simulated", "network\nPCC 0.900", "linear interpolation\nPCC undefined"} <= shown
    assert "measured" not in shown


def test_examples_rise_in_intensity_at_the_preferred_gap() -> None:
    truth = np.array([5, 1, 9, 3, 7, 2], dtype=np.float32)[:, None, None, None] * np.ones((6, 2, 2, 2), np.float32)
    widths = np.array([6, 6, 6, 6, 6, 3])
    examples = Examples(truth, truth > 0, truth, truth, widths, np.zeros(6), np.zeros(6))
    assert choose(examples).tolist() == [1, 0, 2]
    assert choose(examples, rows=1).tolist() == [1]


def test_phase_map_is_cyclic_only_where_phases_are_large() -> None:
    look = Look(phase_cmap="twilight_shifted")
    assert phase_scale(2.0, look) == {"cmap": "twilight_shifted", "vmin": -np.pi, "vmax": np.pi}
    small = phase_scale(0.31, look)
    assert small["vmax"] == -small["vmin"] == pytest.approx(0.35)


# --- objects and meshes ---


def test_object_of_one_atom_lies_where_the_atom_is() -> None:
    z, y, x = 5, -3, 2
    voxel = 1 / (N * DQ)
    q = (np.arange(N) - N // 2) * DQ
    amplitude = np.exp(
        -2j * np.pi * voxel * (z * q[:, None, None] + y * q[None, :, None] + x * q[None, None, :]) - 0.4j
    )
    density, voxel_nm = object_from_amplitude(amplitude, DQ, apodise=False)
    assert voxel_nm == pytest.approx(voxel / 10)
    assert np.unravel_index(int(np.abs(density).argmax()), density.shape) == (N // 2 + z, N // 2 + y, N // 2 + x)
    assert np.angle(density.sum()) == pytest.approx(-0.4)
    assert np.abs(density.sum()) * voxel_nm**3 == pytest.approx(1.0)


@pytest.mark.parametrize("pad", [1, 2])
def test_padding_keeps_the_number_of_atoms(pad: int) -> None:
    amplitude = sphere()
    density, voxel_nm = object_from_amplitude(amplitude, DQ, pad=pad)
    assert len(density) == pad * N
    assert np.abs(density.sum()) * voxel_nm**3 == pytest.approx(abs(amplitude[N // 2, N // 2, N // 2]), rel=1e-6)


def test_piston_is_removed_even_beside_a_wrap() -> None:
    density = np.exp(1j * (3.1 + np.linspace(-0.3, 0.5, 9)))
    assert np.angle(without_piston(density)).mean() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("max_faces", [30_000, 3_000])
def test_isosurface_of_a_sphere_has_its_radius(max_faces: int) -> None:
    radius, voxel_nm = 8.0, 0.1 / (N * DQ)
    surface = mesh(Pattern(sphere(radius), DQ, (3.0, 3.0, 3.0), "sphere"), max_faces=max_faces)
    distances = np.linalg.norm(surface.vertices, axis=1)
    assert np.abs(distances - radius * voxel_nm).max() < voxel_nm
    assert len(surface.faces) < max_faces
    assert surface.faces.max() == len(surface.vertices) - 1
    assert np.abs(surface.phase).max() < 1e-3


def test_isosurface_carries_the_phase_at_its_axes() -> None:
    voxel_nm = 0.1 / (N * DQ)
    surface = mesh(Pattern(sphere(8.0, lambda z, y, x: 0.05 * z + 0.3), DQ, (3.0, 3.0, 3.0), "ramp"))
    np.testing.assert_allclose(surface.phase, 0.05 * surface.vertices[:, 0] / voxel_nm, atol=0.05)


def test_isosurface_with_too_many_faces_is_refused() -> None:
    with pytest.raises(ValueError, match="limit of 10"):
        mesh(Pattern(sphere(), DQ, (3.0, 3.0, 3.0), "sphere"), max_faces=10)


def test_isosurface_file(inputs: dict[str, list[str]], tmp_path: Path) -> None:
    output = tmp_path / "isosurface.json"
    assert main(["figure", "isosurface", "--input", *inputs["isosurface"], "--output", str(output)]) == 0
    record = json.loads(output.read_text())
    assert record["kind"] == "isosurface" and record["axes"] == "zyx"
    assert len(record["phase"]) == len(record["vertices"]) == 1 + max(map(max, record["faces"]))
    # The largest particle, and its pattern with least oversampling.
    assert "200 atoms" in record["label"]
    assert np.linalg.norm(record["vertices"], axis=1).mean() == pytest.approx(7 * 0.1 / (N * DQ), rel=0.03)


# --- the rules ---


def test_dot_becomes_a_graph_of_rules() -> None:
    graph = parse_dot(DOT)
    assert set(graph) == {"all", "draw_figure", "relax_batch", "cut_crystals", "mesh_crystal"}
    assert ("cut_crystals", "relax_batch") in graph.edges
    assert graph.number_of_edges() == 6
    assert ("cut_crystals", "draw_figure") not in nx.transitive_reduction(graph).edges


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds 0 rules"),
        ('0[label = "a"];\n0 -> 1\n', "unknown node"),
        ('0[label = "a"];\n1[label = "b"];\n0 -> 1\n1 -> 0\n', "circle"),
        ("x" * 1_000_001, "longer than"),
    ],
)
def test_dot_that_is_no_rulegraph_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_dot(text)


def test_environments_are_those_of_the_workflow() -> None:
    found = {}
    for path in WORKFLOW.glob("*.smk"):
        for rule in re.split(r"^ *rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            environment = re.search(r'"braggworks/(\w+)"', rule)
            if environment:
                found[rule.partition(":")[0]] = environment[1]
    for path in WORKFLOW.glob("*.smk"):
        for rule, new in re.findall(r"^use rule (\w+) as (\w+) with:", path.read_text(), re.MULTILINE):
            found[new] = found[rule]
    assert found
    assert {rule: environment_of(rule) for rule in found} == found
    assert sorted(rule for rules in ENVIRONMENTS.values() for rule in rules) == sorted(found)


# --- bad input ---


def refused(arguments: list[str], output: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["figure", *arguments, "--output", str(output)]) == 2
    assert not list(output.parent.iterdir())
    message = capsys.readouterr().err
    assert message.startswith("braggworks figure: ")
    assert message.count("\n") == 1
    return message


@pytest.mark.parametrize(
    ("name", "files", "sentence"),
    [
        ("trainin", ["history.csv"], "There is no figure 'trainin': did you mean training?"),
        ("portrait", ["history.csv"], "There is no figure 'portrait': use one of crystal"),
        ("engines", ["nufft.h5"], "is drawn from 3 files, where --input gives 1: give --input patterns-nufft.h5"),
        ("training", ["history.csv", "history.csv"], "is drawn from 1 file, where --input gives 2"),
        ("training", ["absent.csv"], "absent.csv does not exist"),
        ("training", ["rulegraph.dot"], "rulegraph.dot does not hold what this figure needs (epoch)"),
        ("training", ["nufft.h5"], "nufft.h5 is not a text file"),
        ("training", ["empty"], "empty holds no epoch"),
        ("diffraction", ["free.h5"], "free.h5 holds relaxed, not patterns"),
        ("diffraction", ["history.csv"], "history.csv is truncated or is no HDF5 file"),
        ("isosurface", ["nothing.h5"], "nothing.h5 does not hold what this figure needs (no particle)"),
        ("diffraction", ["dark.h5"], "(amplitude without finite, non-zero values)"),
        ("patch", ["hollow.h5"], "hollow.h5 does not hold what this figure needs"),
        ("gap-width", ["history.csv"], "history.csv is truncated or is no NetCDF file"),
        ("gap-width", ["nufft.h5"], "nufft.h5 does not hold what this figure needs"),
        ("engines", ["pynx.h5", "nufft.h5", "engines.json"], "pynx.h5 was made by pynx, where"),
        ("engines", ["nufft.h5", "pynx.h5", "history.csv"], "history.csv is not valid JSON"),
        ("scan", ["inpainted.cxi", "engines.json"], "engines.json does not hold what this figure needs (pcc)"),
        ("scan", ["hollow.cxi", "scores.json"], "hollow.cxi does not hold what this figure needs"),
        ("rulegraph", ["history.csv"], "history.csv does not hold what this figure needs (it holds 0 rules"),
    ],
)
def test_wrong_input_is_told(
    name: str,
    files: list[str],
    sentence: str,
    inputs: dict[str, list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path(inputs["training"][0]).parent
    (folder / "empty").touch()
    for extra in ("nothing.h5", "dark.h5"):
        with create_h5(folder / extra, "patterns", campaign="test") as file:
            if extra == "dark.h5":
                group = file.create_group("0000000")
                group["amplitude"], group["oversampling"] = np.zeros((1, 8, 8, 8), np.complex64), [[3.0, 3.0, 3.0]]
                group["reflection"] = [[1, 1, 1]]
                group.attrs["atoms"] = 1
    for hollow, kind in (("hollow.h5", "examples"), ("hollow.cxi", "scan")):
        with create_h5(folder / hollow, kind):
            pass
    suffix = ".json" if name == "isosurface" else ".png"
    arguments = [name, "--input", *(str(folder / file) for file in files)]
    assert sentence in refused(arguments, tmp_path / f"out{suffix}", capsys)


def test_wrong_suffix_is_told(inputs: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["training", "--input", *inputs["training"]]
    assert "is written as .png" in refused(arguments, tmp_path / "training.jpg", capsys)


def test_unknown_colour_map_is_told(
    inputs: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = json.dumps({"version": 1, "figures": {"intensity_cmap": "virids"}})
    arguments = ["training", "--recipe", recipe, "--input", *inputs["training"]]
    assert "has no colour map 'virids': did you mean 'viridis'?" in refused(arguments, tmp_path / "x.png", capsys)
