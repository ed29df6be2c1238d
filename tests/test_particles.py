"""Crystals: planes, lattice points, the verb `crystals`."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
import pytest

pytest.importorskip("wulffpack", reason="WulffPack is not in this environment")
pytest.importorskip("scipy", reason="SciPy is not in this environment")

from braggworks import campaigns, cli
from braggworks.campaigns import ClippedCubeConfig, CrystalConfig
from braggworks.commands.crystals import turn
from braggworks.particles.clipping import fcc_points
from braggworks.particles.crystals import Crystal, cut
from braggworks.particles.materials import MATERIALS
from braggworks.particles.polyhedra import Polyhedron, closed, rotation_between
from braggworks.particles.shapes import MAX_ASPECT_RATIO, SHAPES, family, winterbottom_construction, wulff_construction
from braggworks.seeds import generator

GOLD = MATERIALS["Au"]
ORIGIN = np.zeros(3)


def crystal(shape: str, atoms: tuple[int, int] = (800, 4_000), seed: int = 0) -> Crystal:
    return cut(shape, GOLD, atoms, generator("test", seed))


def outside(points: np.ndarray, polyhedron: Polyhedron) -> float:
    """Largest distance of a point beyond a plane."""
    return float((points @ polyhedron.normals.T - polyhedron.distances).max())


# --- polyhedra ---


@pytest.mark.parametrize(
    ("indices", "distance", "volume", "corners"), [((1, 0, 0), 3.0, 216.0, 8), ((1, 1, 1), 1.0, 4 * np.sqrt(3), 6)]
)
def test_volume_and_corners_are_those_of_cube_and_octahedron(
    indices: tuple[int, int, int], distance: float, volume: float, corners: int
) -> None:
    normals = family(indices)
    solid = Polyhedron(normals, np.full(len(normals), distance))
    assert solid.volume == pytest.approx(volume)
    assert len(np.unique(solid.vertices.round(9), axis=0)) == corners
    assert solid.scaled(2).volume == pytest.approx(8 * volume)


def test_volume_does_not_depend_on_where_the_origin_is() -> None:
    solid = wulff_construction(GOLD.surface_energies)
    moved = Polyhedron(solid.normals, solid.distances + solid.normals @ [50.0, -20.0, 7.0])
    assert moved.volume == pytest.approx(solid.volume)


def test_aspect_ratio_of_a_bar() -> None:
    bar = Polyhedron(family((1, 0, 0)), np.abs(family((1, 0, 0)) @ [1.0, 1.0, 5.0]))
    assert bar.aspect_ratio == pytest.approx(np.sqrt(27), rel=0.01)


def test_a_plane_without_facet_is_trimmed() -> None:
    normals = np.vstack([family((1, 0, 0)), family((1, 1, 1))])
    cube = Polyhedron(normals, np.r_[np.ones(6), np.full(8, 5.0)]).trimmed()
    assert len(cube.normals) == 6
    touching = Polyhedron(normals, np.r_[np.ones(6), np.full(8, np.sqrt(3))]).trimmed()
    assert len(touching.normals) == 6


def test_closed_needs_planes_on_all_sides() -> None:
    assert closed(family((1, 1, 1)))
    assert not closed(family((1, 1, 1))[family((1, 1, 1))[:, 2] > 0])
    half = family((1, 1, 3))
    assert not closed(half[half[:, 0] > 0])


@pytest.mark.parametrize("start", [(1.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.3, -0.5, 0.1), (0.0, 0.0, -1.0)])
def test_rotation_between_turns_one_vector_onto_the_other(start: tuple[float, float, float]) -> None:
    unit, down = np.array(start) / np.linalg.norm(start), np.array([0.0, 0.0, -1.0])
    rotation = rotation_between(unit, down)
    assert np.allclose(rotation @ unit, down)
    assert np.allclose(rotation @ rotation.T, np.eye(3))
    assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.parametrize(("indices", "members"), [((1, 0, 0), 6), ((1, 1, 1), 8), ((1, 1, 0), 12), ((1, 1, 3), 24)])
def test_families_have_their_multiplicity(indices: tuple[int, int, int], members: int) -> None:
    normals = family(indices)
    assert normals.shape == (members, 3)
    assert np.allclose(np.linalg.norm(normals, axis=1), 1)


# --- lattice points ---


@pytest.mark.parametrize("half_cells", [1, 2, 5, 8, 13])
def test_cube_holds_the_analytic_number_of_atoms(half_cells: int) -> None:
    a = 4.08
    cube = Polyhedron(family((1, 0, 0)), np.full(6, (half_cells + 0.3) * a / 2))
    expected = ((2 * half_cells + 1) ** 3 + (-1) ** half_cells) // 2
    assert len(fcc_points(cube, a, ORIGIN)) == expected


@pytest.mark.parametrize("edge", [3, 7, 11])
def test_octahedron_holds_the_magic_number_of_atoms_even_with_atoms_on_its_planes(edge: int) -> None:
    a = 3.52
    octahedron = Polyhedron(family((1, 1, 1)), np.full(8, (edge - 1) * a / 2 / np.sqrt(3)))
    assert len(fcc_points(octahedron, a, ORIGIN)) == edge * (2 * edge**2 + 1) // 3


def test_octahedron_has_the_symmetry_of_the_cube() -> None:
    octahedron = wulff_construction({(1, 1, 1): 1.0})
    points = fcc_points(octahedron.scaled(1.001), 4.08, ORIGIN)
    whole = {tuple(point) for point in points.round(6) + 0.0}
    for operation in (np.eye(3)[[1, 2, 0]], np.eye(3)[[1, 0, 2]], np.diag([-1.0, 1.0, 1.0]), -np.eye(3)):
        assert {tuple(point) for point in (points @ operation.T).round(6) + 0.0} == whole


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_find_the_same_atoms_as_testing_every_lattice_point(shape: str) -> None:
    solid, offset = SHAPES[shape](GOLD, generator("rows", 1)), np.array([0.3, 1.9, 3.1])
    solid = solid.scaled((700 * GOLD.lattice_constant**3 / 4 / solid.volume) ** (1 / 3))
    integers = np.stack(np.meshgrid(*[np.arange(-30, 31)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    lattice = integers[integers.sum(axis=1) % 2 == 0] * GOLD.lattice_constant / 2 + offset
    expected = lattice[(lattice @ solid.normals.T <= solid.distances).all(axis=1)]
    assert np.allclose(fcc_points(solid, GOLD.lattice_constant, offset), expected)


def test_mean_number_of_atoms_over_lattice_offsets_is_the_volume() -> None:
    solid, rng = wulff_construction(GOLD.surface_energies).scaled(0.5), generator("offsets")
    counts = [len(fcc_points(solid, 4.08, rng.random(3) * 4.08)) for _ in range(300)]
    assert np.mean(counts) == pytest.approx(solid.volume * 4 / 4.08**3, rel=0.02)


# --- shapes ---


def test_wulff_distances_are_proportional_to_surface_energies() -> None:
    energies = {**GOLD.surface_energies, (1, 1, 0): 1.4}
    solid = wulff_construction(energies)
    distance = {}
    for indices in energies:
        unit = np.array(indices) / np.linalg.norm(indices)
        distance[indices] = solid.distances[(solid.normals @ unit).argmax()]
    assert len(solid.normals) == 6 + 8 + 12
    assert distance[1, 0, 0] / distance[1, 1, 1] == pytest.approx(energies[1, 0, 0] / energies[1, 1, 1])
    assert distance[1, 1, 0] / distance[1, 1, 1] == pytest.approx(energies[1, 1, 0] / energies[1, 1, 1])


@pytest.mark.parametrize("direction", [(1, 1, 1), (1, 0, 0)])
@pytest.mark.parametrize("interface_energy", [-0.25, 1e-9, 0.7])
def test_winterbottom_is_a_wulff_shape_cut_at_the_interface(
    direction: tuple[int, int, int], interface_energy: float
) -> None:
    solid = winterbottom_construction(GOLD.surface_energies, direction, interface_energy)
    assert solid.interface_normal is not None
    interface = int((solid.normals @ solid.interface_normal).argmax())
    assert np.allclose(solid.normals[interface], np.array(direction) / np.linalg.norm(direction))
    whole = wulff_construction(GOLD.surface_energies)
    per_energy = [
        shape.distances[(np.abs(shape.normals).max(axis=1) < 0.6) & (shape.normals @ solid.interface_normal < 0.99)][0]
        / GOLD.surface_energies[1, 1, 1]
        for shape in (solid, whole)
    ]
    assert solid.distances[interface] == pytest.approx(interface_energy * per_energy[0], abs=1e-6)
    others = whole.normals @ solid.interface_normal < 0.99
    normals = np.vstack([whole.normals[others], solid.interface_normal])
    cut_off = Polyhedron(normals, np.r_[whole.distances[others] / per_energy[1], interface_energy]).trimmed()
    assert len(cut_off.normals) == len(solid.normals)
    assert cut_off.volume == pytest.approx(solid.volume / per_energy[0] ** 3)


def test_random_facets_are_closed_compact_and_of_low_index() -> None:
    known = np.vstack([family(indices) for indices in ((1, 1, 1), (1, 0, 0), (1, 1, 0), (1, 1, 3))])
    for seed in range(20):
        solid = SHAPES["random"](GOLD, generator("random", seed))
        assert 8 <= len(solid.normals) <= 20
        assert solid.aspect_ratio <= MAX_ASPECT_RATIO
        assert np.allclose((solid.normals @ known.T).max(axis=1), 1)


def test_every_configured_shape_and_material_exists() -> None:
    assert set(SHAPES) == set(get_args(campaigns.Shape))
    assert set(MATERIALS) == set(get_args(campaigns.Material))


# --- crystals ---


@pytest.mark.parametrize("shape", SHAPES)
def test_crystal_is_centred_bounded_and_of_the_wanted_size(shape: str) -> None:
    for seed in range(3):
        made = crystal(shape, seed=seed)
        assert 800 <= len(made.positions) <= 4_000
        assert np.allclose(made.positions.mean(axis=0), 0, atol=1e-9)
        assert outside(made.positions, made.polyhedron) <= 1e-6
        volume = len(made.positions) * GOLD.lattice_constant**3 / 4
        assert made.polyhedron.volume == pytest.approx(volume, rel=0.2)
        assert np.allclose(made.orientation @ made.orientation.T, np.eye(3))


@pytest.mark.parametrize("shape", SHAPES)
def test_crystal_is_a_perfect_lattice_in_its_orientation(shape: str) -> None:
    made = crystal(shape, seed=5)
    halves = (made.positions - made.positions[0]) @ made.orientation / (GOLD.lattice_constant / 2)
    assert np.allclose(halves, halves.round(), atol=1e-6)
    assert not (halves.round().sum(axis=1) % 2).any()
    assert len(np.unique(halves.round(), axis=0)) == len(halves)


def test_winterbottom_interface_faces_down() -> None:
    for seed in range(4):
        solid = crystal("winterbottom", seed=seed).polyhedron
        assert np.allclose(solid.interface_normal, [0, 0, -1])
        lowest = int(solid.normals[:, 2].argmin())
        assert np.allclose(solid.normals[lowest], [0, 0, -1])
    assert crystal("wulff").polyhedron.interface_normal is None
    assert np.array_equal(crystal("wulff").orientation, np.eye(3))


def test_sizes_are_spread_over_the_range_and_particles_differ() -> None:
    counts = [len(crystal("random", (500, 8_000), seed).positions) for seed in range(30)]
    assert len(set(counts)) > 25
    assert 1_200 < np.exp(np.mean(np.log(counts))) < 3_300  # the geometric mean of the bounds is 2 000


@pytest.mark.alone
def test_cutting_134_000_atoms_takes_less_than_four_seconds() -> None:
    import time

    start = time.perf_counter()
    made = crystal("winterbottom", (130_000, 138_000))
    assert time.perf_counter() - start < 4
    assert 130_000 <= len(made.positions) <= 138_000


# --- the verb ---

RECIPE = {
    "version": 2,
    "campaign": "demo",
    "family": "atomistic",
    "seed": 3,
    "crystal": {"materials": ["Pd"], "shapes": ["wulff", "winterbottom", "random"], "atoms": [300, 900]},
}


def crystals(output: Path, batch: int = 0, size: int = 2, **changes: Any) -> int:
    recipe = json.dumps({**RECIPE, **changes})
    arguments = ["crystals", "--recipe", recipe, "--batch", str(batch), "--batch-size", str(size)]
    return cli.main([*arguments, "--output", str(output)])


def test_file_holds_what_the_next_stage_needs(tmp_path: Path) -> None:
    assert crystals(tmp_path / "a.h5", batch=1, size=3) == 0
    with h5py.File(tmp_path / "a.h5") as file:
        assert (file.attrs["kind"], file.attrs["campaign"], file.attrs["batch"]) == ("particles", "demo", 1)
        assert file.attrs["particles"] == 3
        assert json.loads(file.attrs["recipe"])["crystal"] == RECIPE["crystal"]
        assert list(file) == ["0000003", "0000004", "0000005"]
        assert [group.attrs["shape"] for group in file.values()] == ["wulff", "winterbottom", "random"]
        for group in file.values():
            assert (group.attrs["material"], group.attrs["lattice_constant"]) == ("Pd", 3.89)
            assert group["positions"].dtype == np.float64
            assert group["normals"].shape == (len(group["distances"]), 3)
            assert group.attrs["orientation"].shape == (3, 3)
            assert ("interface_normal" in group.attrs) == (group.attrs["shape"] == "winterbottom")


def test_lineage_names_the_stage_its_recipe_and_its_tools(tmp_path: Path) -> None:
    crystals(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        (entry,) = json.loads(file.attrs["lineage"])
        assert entry["recipe"] == json.loads(file.attrs["recipe"])
    assert (entry["stage"], entry["recipe"]["seed"]) == ("crystals", 3)
    assert entry["tools"] == {name: importlib.metadata.version(name) for name in ("numpy", "scipy", "wulffpack")}


def test_materials_take_turns_slower_than_shapes() -> None:
    config = CrystalConfig(materials=["Au", "Ni"], shapes=["wulff", "cube", "random"])
    turns = [turn(config, index) for index in range(12)]
    assert turns[:4] == [("wulff", "Au"), ("cube", "Au"), ("random", "Au"), ("wulff", "Ni")]
    assert turns[6:] == turns[:6]
    assert len(set(turns)) == 6
    cubes = ClippedCubeConfig(materials=["Au", "Ni"])
    assert [turn(cubes, index) for index in (0, 1, 2)] == [("clipped_cube", name) for name in ("Au", "Ni", "Au")]


def test_a_batch_of_several_materials_has_each_ones_lattice(tmp_path: Path) -> None:
    mixed = {"materials": ["Pt", "Cu"], "shapes": ["octahedron"], "atoms": [300, 400]}
    assert crystals(tmp_path / "a.h5", size=4, crystal=mixed) == 0
    with h5py.File(tmp_path / "a.h5") as file:
        assert [group.attrs["material"] for group in file.values()] == ["Pt", "Cu", "Pt", "Cu"]
        for group in file.values():
            half = MATERIALS[group.attrs["material"]].lattice_constant / 2
            assert group.attrs["lattice_constant"] == 2 * half
            sites = (group["positions"][:] - group["positions"][0]) / half
            assert np.allclose(sites, sites.round(), atol=1e-9)


def contents(path: Path) -> dict[str, bytes]:
    with h5py.File(path) as file:
        return {name: group["positions"][:].tobytes() for name, group in file.items()}


def test_a_particle_depends_on_its_identity_alone(tmp_path: Path) -> None:
    crystals(tmp_path / "whole.h5", batch=0, size=4)
    crystals(tmp_path / "second.h5", batch=1, size=2)
    crystals(tmp_path / "first.h5", batch=0, size=2)
    assert {**contents(tmp_path / "first.h5"), **contents(tmp_path / "second.h5")} == contents(tmp_path / "whole.h5")
    crystals(tmp_path / "seed.h5", seed=4)
    crystals(tmp_path / "name.h5", campaign="other")
    for other in ("seed", "name"):
        assert contents(tmp_path / f"{other}.h5") != contents(tmp_path / "first.h5")


def test_a_second_run_writes_the_same_bytes(tmp_path: Path) -> None:
    crystals(tmp_path / "a.h5")
    crystals(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_campaign_file_gives_the_batch_size(tmp_path: Path) -> None:
    text = "family: atomistic\ncount: 6\nbatch_size: 3\ncrystal: {shapes: [cube], atoms: [100, 200]}\n"
    (tmp_path / "small.yaml").write_text(text, encoding="utf-8")
    output = str(tmp_path / "a.h5")
    assert cli.main(["crystals", "--campaign", str(tmp_path / "small.yaml"), "--batch", "1", "--output", output]) == 0
    assert list(contents(tmp_path / "a.h5")) == ["0000003", "0000004", "0000005"]


@pytest.mark.parametrize(
    ("changes", "batch", "size", "sentence"),
    [
        ({"crystal": {"shapes": ["sphere"]}}, 0, 2, "shapes.0: 'sphere' is none of 'wulff'"),
        ({"crystal": {"materials": ["Xx"]}}, 0, 2, "materials.0: 'Xx' is none of 'Au'"),
        ({"crystal": {"atoms": [900, 300]}}, 0, 2, "so swap the two"),
        ({"crystal": {"shape": ["cube"]}}, 0, 2, "unknown key"),
        (
            {"crystal": {"edge": 50.0}},
            0,
            2,
            "is of the family atomistic, but its crystal is not: give the crystal's shapes",
        ),
        (
            {"family": "autophasenn"},
            0,
            2,
            "is of the family autophasenn, but its crystal is not: give the crystal's edge",
        ),
        ({}, -1, 2, "--batch -1 with --batch-size 2 holds no particle"),
        ({}, 0, 0, "--batch 0 with --batch-size 0 holds no particle"),
    ],
)
def test_bad_input_ends_in_one_sentence_and_leaves_no_file(
    changes: dict[str, Any], batch: int, size: int, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert crystals(tmp_path / "a.h5", batch, size, **changes) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_without_batch_size_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "a.h5")
    assert cli.main(["crystals", "--recipe", json.dumps(RECIPE), "--batch", "0", "--output", output]) == 2
    assert "add --batch-size, such as 4" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
