"""Clipped cubes: planes, size and compactness; the verb `crystals` for the family autophasenn."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

pytest.importorskip("scipy", reason="SciPy is not in this environment")

from hypothesis import given, settings
from hypothesis import strategies as st

from braggworks import cli
from braggworks.particles.clipped_cubes import DISTANCES, FAMILIES, MAX_WIDTH, clipped_cube, cut_clipped_cube
from braggworks.particles.materials import MATERIALS
from braggworks.particles.shapes import MAX_ASPECT_RATIO, family
from braggworks.seeds import generator

GOLD = MATERIALS["Au"]
PLANES = np.vstack([family(indices) for indices in FAMILIES])
NUMBER = len(PLANES)


def width(vertices: np.ndarray) -> float:
    return float(np.linalg.norm(vertices[:, None] - vertices, axis=-1).max())


@given(seed=st.integers(0, 2**32), count=st.integers(8, 26))
@settings(max_examples=25, deadline=None)
def test_body_is_closed_compact_inside_the_cube_and_of_high_symmetry_planes(seed: int, count: int) -> None:
    body = clipped_cube((count, count), generator("cube", seed))
    assert np.abs(body.vertices).max() <= 0.5 + 1e-9
    assert 0 < body.volume < 1
    assert body.aspect_ratio <= MAX_ASPECT_RATIO + 1e-6
    assert width(body.vertices) <= MAX_WIDTH
    assert np.allclose((body.normals @ PLANES.T).max(axis=1), 1)
    assert 4 <= len(body.normals) <= count + 6
    assert DISTANCES[0] <= body.distances.min() <= body.distances.max() <= DISTANCES[1]


def test_every_plane_of_the_three_families_clips_some_cube() -> None:
    seen = np.zeros(NUMBER, dtype=bool)
    for seed in range(60):
        body = clipped_cube((12, 20), generator("families", seed))
        clips = body.distances < 0.5
        seen |= (body.normals[clips] @ PLANES.T > 1 - 1e-9).any(axis=0)
    assert NUMBER == 8 + 6 + 12
    assert seen.all()


@pytest.mark.parametrize("facets", [(1, 1), (4, 4)])
def test_too_few_planes_for_a_compact_body_still_give_one(facets: tuple[int, int]) -> None:
    body = clipped_cube(facets, generator("few", 0))
    assert body.aspect_ratio <= MAX_ASPECT_RATIO + 1e-6
    assert width(body.vertices) < np.sqrt(3)
    assert body.volume < 1


def test_more_planes_than_there_are_means_all_of_them() -> None:
    body = clipped_cube((60, 100), generator("many", 0))
    assert len(body.normals) <= NUMBER
    assert body.distances.max() < 0.5  # every side of the cube is clipped as well


@pytest.mark.parametrize("material", ["Au", "Ni"])
def test_crystal_is_a_centred_perfect_lattice_inside_its_planes(material: str) -> None:
    half = MATERIALS[material].lattice_constant / 2
    made = cut_clipped_cube(MATERIALS[material], 50.0, (4, 20), generator("crystal", 1))
    assert np.allclose(made.positions.mean(axis=0), 0, atol=1e-9)
    assert (made.positions @ made.polyhedron.normals.T - made.polyhedron.distances).max() <= 1e-6
    sites = (made.positions - made.positions[0]) / half
    assert np.allclose(sites, sites.round(), atol=1e-8)
    assert not (sites.round().sum(axis=1) % 2).any()
    assert len(made.positions) == pytest.approx(made.polyhedron.volume / (2 * half**3), rel=0.1)
    assert np.array_equal(made.orientation, np.eye(3))


def test_volume_scales_with_the_cube_of_the_edge() -> None:
    small, large = (cut_clipped_cube(GOLD, edge, (8, 8), generator("edge", 2)).polyhedron for edge in (60.0, 120.0))
    assert large.volume == pytest.approx(8 * small.volume)


def test_particles_differ_in_shape_and_size() -> None:
    bodies = [clipped_cube((4, 20), generator("spread", seed)) for seed in range(24)]
    assert len({body.volume for body in bodies}) == len(bodies)
    assert max(body.volume for body in bodies) > 1.5 * min(body.volume for body in bodies)
    assert len({len(body.normals) for body in bodies}) >= 5


# --- the verb ---

CUBES = {"materials": ["Au", "Cu"], "edge": 30.0, "facets": [6, 20]}


def crystals(output: Path, batch: int = 0, size: int = 2) -> int:
    recipe = {"version": 2, "campaign": "cubes", "family": "autophasenn", "seed": 1, "crystal": CUBES}
    arguments = ["crystals", "--recipe", json.dumps(recipe), "--batch", str(batch), "--batch-size", str(size)]
    return cli.main([*arguments, "--output", str(output)])


def test_file_holds_clipped_cubes_of_materials_in_turn_and_does_not_depend_on_the_batch(tmp_path: Path) -> None:
    assert crystals(tmp_path / "whole.h5", size=4) == crystals(tmp_path / "half.h5", batch=1) == 0
    with h5py.File(tmp_path / "whole.h5") as whole, h5py.File(tmp_path / "half.h5") as half:
        assert [group.attrs["material"] for group in whole.values()] == ["Au", "Cu", "Au", "Cu"]
        for group in whole.values():
            assert group.attrs["shape"] == "clipped_cube"
            assert group.attrs["lattice_constant"] == MATERIALS[group.attrs["material"]].lattice_constant
            assert "interface_normal" not in group.attrs
            assert np.ptp(group["positions"][:], axis=0).max() <= CUBES["edge"]
        assert list(half) == ["0000002", "0000003"]
        for name, group in half.items():
            assert np.array_equal(group["positions"], whole[name]["positions"])
