"""Bodies on a grid: objects, transforms and the conventions of their labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="torch is not in this environment")
pytest.importorskip("scipy", reason="SciPy is not in this environment")

import torch
from scipy.special import ndtr

from braggworks.campaigns import PolygonConfig, PolyhedronConfig, SamplingConfig
from braggworks.diffraction.gridded import Draw, Objects, box_size, make_objects, transform
from braggworks.particles.bodies import View, draw_particle, draw_view
from braggworks.seeds import generator

N = {2: 48, 3: 32}
STRONG = (6.0, 12.0)
#: Largest error of the amplitude in float32, as a fraction of the peak, and of the phase inside, in radians.
AMPLITUDE_TOLERANCE, PHASE_TOLERANCE = 2e-5, 1e-4


def draw(index: int, ndim: int, *, noise: float = 0.0, n: int | None = None, **body: object) -> Draw:
    """A particle of any shape and phase, seen from anywhere."""
    settings = {"modulus_noise": (noise, noise), "phase_range": STRONG, **body}
    config = PolygonConfig(**settings) if ndim == 2 else PolyhedronConfig(**settings)
    rng = generator("gridded", index)
    particle, view = draw_particle(config, index, rng), draw_view(SamplingConfig(oversampling=(2.2, 3.5)), ndim, rng)
    shape = (box_size(particle, view, n or N[ndim]),) * ndim
    return Draw(particle, view, rng.standard_normal(shape, dtype=np.float32) if noise else None)


def exact(item: Draw) -> Objects:
    return make_objects([item], N[item.particle.body.ndim], dtype=torch.float64)


def amplitude(item: Draw) -> np.ndarray:
    return exact(item).amplitude(N[item.particle.body.ndim])[0].numpy()


def axes(size: int, ndim: int) -> list[np.ndarray]:
    return np.meshgrid(*[np.arange(size) - size // 2] * ndim, indexing="ij")


def embedded(values: np.ndarray, n: int) -> np.ndarray:
    result = np.zeros((n,) * values.ndim, dtype=values.dtype)
    start = n // 2 - len(values) // 2
    result[(slice(start, start + len(values)),) * values.ndim] = values
    return result


every = pytest.mark.parametrize(("index", "ndim"), [(0, 2), (1, 2), (2, 2), (0, 3), (1, 3), (2, 3), (4, 3)])


# --- the transform ---


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_cube_along_the_axes_gives_sincs(ndim: int) -> None:
    n, edge = 40, 0.9
    cube = draw(2, 3, shapes=["cube"], phases=["none"], edge_px=(edge, edge))
    body = cube.particle.body
    if ndim == 2:
        # The faces along z leave a square.
        flat = np.abs(body.normals[:, 2]) < 0.5
        body = type(body)(body.normals[flat, :2], body.distances[flat], np.unique(body.vertices[:, :2], axis=0))
    ratio = 2.9
    item = Draw(replace(cube.particle, body=body, field=_flat(ndim)), View(np.eye(ndim), ratio))
    found = make_objects([item], n, dtype=torch.float64).amplitude(n)[0].numpy()
    q, width = (np.arange(n) - n // 2) / n, n / ratio
    # Sampling on voxels folds the continuous transform back by whole periods.
    folded = [q + fold for fold in range(-4, 5)]
    line = sum(width * np.sinc(width * k) * np.exp(-2 * (np.pi * edge * k) ** 2) for k in folded)
    expected = line[:, None] * line if ndim == 2 else line[:, None, None] * line[:, None] * line
    assert np.abs(found - expected).max() < 1e-4 * expected.max()


def _flat(ndim: int) -> object:
    return draw(0, ndim, phases=["none"]).particle.field


@every
def test_the_object_comes_back_by_the_inverse_transform(index: int, ndim: int) -> None:
    item, n = draw(index, ndim), N[ndim]
    objects = exact(item)
    wanted = embedded((objects.modulus[0] * torch.exp(1j * objects.phase[0])).numpy(), n)
    found = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(amplitude(item))))
    offset = wanted.sum() / abs(wanted.sum())
    assert np.abs(found * offset - wanted).max() < 1e-12
    assert found.sum().imag == pytest.approx(0, abs=1e-9) and found.sum().real > 0


@every
def test_parseval(index: int, ndim: int) -> None:
    item = draw(index, ndim, noise=0.1)
    assert (np.abs(amplitude(item)) ** 2).sum() == pytest.approx(
        N[ndim] ** ndim * float((exact(item).modulus ** 2).sum())
    )


@pytest.mark.parametrize("ndim", [2, 3])
def test_without_phase_the_pattern_has_friedel_symmetry(ndim: int) -> None:
    F = amplitude(draw(4, ndim, phases=["none"]))
    inner = F[(slice(1, None),) * ndim]
    assert np.allclose(inner, np.flip(inner).conj(), atol=1e-9 * np.abs(F).max())
    strained = amplitude(draw(4, ndim))[(slice(1, None),) * ndim]
    assert np.abs(np.abs(strained) - np.abs(np.flip(strained))).max() > 1e-2 * np.abs(strained).max()


@every
def test_the_twin_has_the_same_intensity_and_the_negated_phase(index: int, ndim: int) -> None:
    n, objects = N[ndim], exact(draw(index, ndim))
    values = torch.polar(objects.modulus, objects.phase)
    # Voxel 0 has no partner about voxel m//2, and nothing lies there.
    twin = torch.zeros_like(values)
    twin[(slice(None), *(slice(1, None),) * ndim)] = (
        values[(slice(None), *(slice(1, None),) * ndim)].flip(tuple(range(1, ndim + 1))).conj()
    )
    first, second = transform(values, n)[0].numpy(), transform(twin, n)[0].numpy()
    assert np.abs(second - first.conj()).max() < 1e-5 * np.abs(first).max()


def test_an_object_whose_sum_vanishes_stays_finite() -> None:
    pair = torch.zeros((1, 8, 8), dtype=torch.complex128)
    pair[0, 4, 3], pair[0, 4, 5] = 1.0, -1.0
    assert torch.isfinite(torch.view_as_real(transform(pair, 16))).all()


# --- the object ---


@every
def test_object_equals_one_computed_plainly_from_half_spaces_and_field(index: int, ndim: int) -> None:
    item, n = draw(index, ndim), N[ndim]
    objects, rotation = exact(item), item.view.rotation
    m = objects.phase.shape[-1]
    body, field = item.particle.body.turned(rotation), item.particle.field
    scale = n / item.view.ratio / np.ptp(body.vertices, axis=0).max()
    points = np.stack([axis.ravel() for axis in axes(m, ndim)[::-1]], axis=1).astype(float)
    centre = np.zeros(ndim)
    for _ in range(5):
        signed = (points - centre) @ body.normals.T - scale * body.distances
        occupancy = np.prod(ndtr(-signed / item.particle.edge), axis=1)
        centre = centre - occupancy @ points / occupancy.sum()
    assert np.abs(objects.occupancy[0].numpy().ravel() - occupancy).max() < 1e-4
    # The field is the body's own: it turns with it.
    raw = field((points - centre) / scale @ rotation)
    ramps = np.column_stack([np.ones(len(points)), points])
    root = np.sqrt(occupancy)[:, None]
    flat = raw - ramps @ np.linalg.lstsq(ramps * root, raw * root[:, 0], rcond=None)[0]
    inside = occupancy >= 0.5
    flat *= item.particle.phase_range / np.ptp(flat[inside])
    assert np.abs(objects.phase[0].numpy().ravel() - flat)[inside].max() < 1e-3


@every
def test_conventions_hold(index: int, ndim: int) -> None:
    item, n = draw(index, ndim, noise=0.15, edge_px=(0.4, 1.2)), N[ndim]
    objects = exact(item)
    modulus, phase = (values[0].numpy() for values in (objects.modulus, objects.phase))
    grid = np.array([axis.ravel() for axis in axes(len(modulus), ndim)])
    weight = modulus.ravel() / modulus.sum()
    assert np.abs(grid @ weight).max() < 1e-4
    covariance = (grid * weight) @ phase.ravel() - (grid @ weight) * (weight @ phase.ravel())
    assert np.abs(covariance).max() < 1e-6
    inside = objects.occupancy[0].numpy() >= 0.5
    assert np.ptp(phase[inside]) == pytest.approx(item.particle.phase_range)
    assert objects.phase_range[0] == pytest.approx(item.particle.phase_range)
    F = amplitude(item)
    peak = F[(n // 2,) * ndim]
    assert peak.imag == pytest.approx(0, abs=1e-9 * np.abs(F).max()) and peak.real > 0


@every
def test_oversampling_is_measured_on_the_support_along_each_axis(index: int, ndim: int) -> None:
    objects = exact(draw(index, ndim))
    found = np.nonzero(objects.occupancy[0].numpy() >= 0.5)
    assert objects.oversampling[0] == pytest.approx([N[ndim] / (np.ptp(axis) + 1) for axis in found])


@given(st.integers(0, 10**5), st.integers(2, 3))
@settings(max_examples=15, deadline=None)
def test_measured_oversampling_is_the_one_asked_for_within_a_voxel(seed: int, ndim: int) -> None:
    # The sharpest corner lies outside the support, by up to about two voxels on either side.
    item = draw(seed, ndim, phases=["none"])
    extent = N[ndim] / exact(item).oversampling[0].min()
    assert -4 < extent - N[ndim] / item.view.ratio < 1.01


def test_gradient_of_a_cosine_is_its_analytic_root_mean_square() -> None:
    item, n = draw(0, 2, phases=["none"], edge_px=(0.5, 0.5)), 128
    field = replace(item.particle.field, waves=np.array([[3.0, 0.0]]), coefficients=np.array([1.0 + 0j]))
    steady = Draw(replace(item.particle, field=field, kind="cosines", phase_range=5.0), View(np.eye(2), 2.5))
    objects = make_objects([steady], n, dtype=torch.float64)
    phase, inside = objects.phase[0].numpy(), objects.occupancy[0].numpy() >= 0.5
    slopes = np.stack(np.gradient(phase))[:, inside & np.roll(inside, 1, 1) & np.roll(inside, -1, 1)]
    assert objects.gradient[0] == pytest.approx(np.sqrt((slopes**2).sum(axis=0).mean()), rel=0.03)


def test_a_quarter_turn_of_the_view_turns_the_object_with_its_phase() -> None:
    item, n = draw(0, 3), 32
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    start, turned = (
        make_objects([Draw(item.particle, View(turn, 2.5))], n, dtype=torch.float64, box=n)
        for turn in (np.eye(3), quarter)
    )
    # x -> y and y -> -x, of arrays with axes (z, y, x); voxel 0 has no partner about voxel n//2.
    occupancy, phase = (
        [objects[0].numpy()[1:, 1:, 1:] for objects in pair]
        for pair in ((start.occupancy, turned.occupancy), (start.phase, turned.phase))
    )
    expected = [np.flip(first.transpose(0, 2, 1), axis=2) for first, _ in (occupancy, phase)]
    assert np.abs(occupancy[1] - expected[0]).max() < 1e-6
    assert np.abs(phase[1] - expected[1])[expected[0] >= 0.5].max() < 1e-6


def test_noise_changes_the_modulus_inside_only_and_by_the_share_asked_for() -> None:
    noisy, plain = exact(draw(1, 2, noise=0.1)), exact(draw(1, 2))
    inside = plain.occupancy[0].numpy() > 0.99
    ratio = noisy.modulus[0].numpy() / noisy.occupancy[0].numpy().clip(1e-12)
    assert ratio[inside].std() == pytest.approx(0.1, rel=0.2)
    assert torch.equal(plain.modulus, plain.occupancy)
    assert float(noisy.modulus[noisy.occupancy < 1e-9].abs().max()) < 1e-8


# --- precision, batches and devices ---


def compare(first: Objects, second: Objects, n: int) -> None:
    """Check that two computations of the same draws agree to the stated tolerances."""
    for row in range(len(first.phase)):
        one, two = (objects.select(np.array([row])) for objects in (first, second))
        a, b = (objects.amplitude(n)[0].cpu().numpy() for objects in (one, two))
        peak = np.abs(a).max()
        assert np.abs(a - b).max() < AMPLITUDE_TOLERANCE * peak
        # Where one photon in 10^9 of the peak's falls, the phase is known to a few milliradians.
        bright = np.abs(a) ** 2 > 1e-9 * peak**2
        error = np.abs(np.angle(a * b.conj()))[bright]
        assert error.max() < 0.05 and np.sqrt((error**2).mean()) < 2e-3
        assert one.oversampling == pytest.approx(two.oversampling)
        assert one.phase_range == pytest.approx(two.phase_range, abs=PHASE_TOLERANCE)
        assert one.gradient == pytest.approx(two.gradient, abs=PHASE_TOLERANCE)


@pytest.mark.parametrize("ndim", [2, 3])
def test_single_precision_is_within_the_stated_tolerance_of_double(ndim: int) -> None:
    draws = [draw(index, ndim, noise=0.05 * (index % 2)) for index in range(12)]
    for item in draws:
        compare(exact(item), make_objects([item], N[ndim]), N[ndim])


@pytest.mark.parametrize("ndim", [2, 3])
def test_draws_of_all_kinds_computed_together_are_those_computed_alone(ndim: int) -> None:
    kinds = ["gaussians", "cosines", "random_field", "none"]
    draws = [draw(index, ndim, noise=0.05 * (index % 2), phases=kinds) for index in range(12)]
    together = make_objects(draws, N[ndim], dtype=torch.float64)
    for row, item in enumerate(draws):
        compare(together.select(np.array([row])), exact(item), N[ndim])


@pytest.mark.needs_gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_gpu_gives_what_the_cpu_gives(ndim: int) -> None:
    draws = [draw(index, ndim, noise=0.05 * (index % 2)) for index in range(12)]
    compare(make_objects(draws, N[ndim]), make_objects(draws, N[ndim], device="cuda"), N[ndim])
