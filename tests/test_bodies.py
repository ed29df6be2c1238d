"""Bodies as half-spaces: polygons, equilibrium shapes, particles and views."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy", reason="SciPy is not in this environment")

from braggworks.campaigns import PolygonConfig, PolyhedronConfig, SamplingConfig
from braggworks.particles import bodies, shapes
from braggworks.particles.bodies import Body, centre_of_mass, draw_particle, draw_view, polygon_body, polyhedron_body
from braggworks.particles.materials import MATERIALS
from braggworks.particles.polyhedra import Polyhedron
from braggworks.seeds import generator

GOLD = MATERIALS["Au"]


def farthest(first: np.ndarray, second: np.ndarray) -> float:
    """Largest distance from a point of either set to the nearest of the other."""
    distances = np.linalg.norm(first[:, None] - second, axis=-1)
    return float(max(distances.min(axis=0).max(), distances.min(axis=1).max()))


def same_shape(ours: Polyhedron, reference: Polyhedron) -> bool:
    factor = (reference.volume / ours.volume) ** (1 / 3)
    size = np.ptp(reference.vertices, axis=0).max()
    return len(ours.normals) == len(reference.normals) and bool(
        farthest(ours.scaled(factor).vertices, reference.vertices) < 1e-9 * size
    )


# --- equilibrium shapes ---


@pytest.mark.parametrize("material", MATERIALS)
def test_wulff_shapes_are_those_of_wulffpack(material: str) -> None:
    pytest.importorskip("wulffpack", reason="WulffPack is not in this environment")
    energies = shapes.varied_energies(MATERIALS[material], generator("wulff", material))
    assert same_shape(bodies.wulff_planes(energies), shapes.wulff_construction(energies))


@pytest.mark.parametrize("seed", range(8))
def test_winterbottom_shapes_are_those_of_wulffpack_also_where_the_origin_lies_outside(seed: int) -> None:
    pytest.importorskip("wulffpack", reason="WulffPack is not in this environment")
    energies = shapes.varied_energies(GOLD, generator("winterbottom", seed))
    direction = [(1, 1, 1), (1, 0, 0)][seed % 2]
    interface = np.linspace(-0.19, 0.59, 8)[seed] * min(energies.values())
    ours = bodies.winterbottom_planes(energies, direction, interface)
    assert same_shape(ours, shapes.winterbottom_construction(energies, direction, interface))
    assert ours.interface_normal == pytest.approx(np.array(direction) / np.linalg.norm(direction))


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_the_same_numbers_give_the_shape_that_crystals_have(shape: str) -> None:
    pytest.importorskip("wulffpack", reason="WulffPack is not in this environment")
    ours, theirs = (table[shape](GOLD, generator("same", shape)) for table in (bodies.POLYHEDRA, shapes.SHAPES))
    assert same_shape(ours, theirs)


@pytest.mark.parametrize("shape", bodies.POLYHEDRA)
def test_no_shape_needs_wulffpack(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wulffpack", None)
    assert polyhedron_body(shape, GOLD, generator("bare")).volume > 0


def test_there_is_a_body_for_every_shape() -> None:
    assert set(bodies.POLYHEDRA) == set(shapes.SHAPES)


# --- bodies ---


@given(st.integers(0, 10**6), st.integers(2, 3))
@settings(max_examples=40, deadline=None)
def test_a_body_in_standard_position_is_centred_and_spans_two(seed: int, ndim: int) -> None:
    rng = np.random.default_rng(seed)
    body = polygon_body((3, 20), rng) if ndim == 2 else polyhedron_body("random", GOLD, rng)
    assert np.ptp(body.vertices, axis=0).max() == pytest.approx(2)
    assert np.abs(centre_of_mass(body.vertices)).max() < 1e-12
    assert np.allclose(np.linalg.norm(body.normals, axis=1), 1)
    reach = (body.vertices @ body.normals.T).max(axis=0)
    assert reach == pytest.approx(body.distances)


def test_volume_and_centre_of_a_tetrahedron_and_a_triangle() -> None:
    corner = np.vstack([np.zeros(3), np.eye(3)])
    assert centre_of_mass(corner) == pytest.approx([0.25] * 3)
    assert Body(np.zeros((1, 3)), np.zeros(1), corner).volume == pytest.approx(1 / 6)
    triangle = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 6.0]])
    assert centre_of_mass(triangle) == pytest.approx([1, 2])
    assert Body(np.zeros((1, 2)), np.zeros(1), triangle).volume == pytest.approx(9)


def test_turning_a_body_keeps_its_volume_and_the_fit_of_planes_and_corners() -> None:
    body = polyhedron_body("winterbottom", GOLD, generator("turn"))
    turned = body.turned(draw_view(SamplingConfig(), 3, generator("view")).rotation)
    assert turned.volume == pytest.approx(body.volume)
    assert (turned.vertices @ turned.normals.T).max(axis=0) == pytest.approx(turned.distances)


def test_polygons_have_at_most_as_many_corners_as_points_and_are_no_needles() -> None:
    corners = set()
    for seed in range(200):
        body = polygon_body((3, 6), generator("polygon", seed))
        corners.add(len(body.vertices))
        widths = np.ptp(body.vertices @ body.normals.T, axis=0)
        longest = np.linalg.norm(body.vertices[:, None] - body.vertices, axis=-1).max()
        assert longest <= bodies.MAX_POLYGON_ASPECT * widths.min() * (1 + 1e-9)
    assert corners == {3, 4, 5, 6}


# --- particles and views ---


def test_shapes_and_phases_go_by_index_and_the_rest_lies_in_its_range() -> None:
    config = PolyhedronConfig(
        shapes=["cube", "wulff"],
        phases=["gaussians", "none", "cosines"],
        phase_range=(1, 2),
        edge_px=(0.5, 0.7),
        modulus_noise=(0.1, 0.2),
    )
    particles = [draw_particle(config, index, generator("draw", index)) for index in range(12)]
    assert [particle.shape for particle in particles[:4]] == ["cube", "wulff", "cube", "wulff"]
    assert [particle.kind for particle in particles[:4]] == ["gaussians", "none", "cosines", "gaussians"]
    assert {(particle.shape, particle.kind) for particle in particles} == {
        (shape, kind) for shape in config.shapes for kind in config.phases
    }
    for particle in particles:
        assert particle.phase_range == 0 if particle.kind == "none" else 1 <= particle.phase_range <= 2
        assert 0.5 <= particle.edge <= 0.7 and 0.1 <= particle.noise <= 0.2
    assert draw_particle(PolygonConfig(), 0, generator("draw")).body.ndim == 2


@pytest.mark.parametrize("ndim", [2, 3])
def test_views_are_proper_rotations_in_every_direction(ndim: int) -> None:
    rng, sampling = generator("views", ndim), SamplingConfig(oversampling=(2, 3))
    views = [draw_view(sampling, ndim, rng) for _ in range(500)]
    rotations = np.array([view.rotation for view in views])
    assert np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(ndim))
    assert np.allclose(np.linalg.det(rotations), 1)
    assert np.abs(rotations.mean(axis=0)).max() < 0.15
    ratios = [view.ratio for view in views]
    assert 2 <= min(ratios) < 2.05 and 2.95 < max(ratios) <= 3


def test_a_view_without_rotation_draws_the_same_ratio() -> None:
    plain, turned = (
        draw_view(SamplingConfig(rotation=rotation), 3, generator("view")) for rotation in ("none", "random")
    )
    assert np.array_equal(plain.rotation, np.eye(3)) and plain.ratio == turned.ratio
