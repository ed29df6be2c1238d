"""Gap masks: exact areas and places, and exact shares over a campaign."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braggworks.campaigns import GapConfig
from braggworks.datasets.gaps import (
    BORDER_PX,
    GAP_SHAPES,
    NO_GAP,
    cross_gap,
    gap_pixels,
    gap_planes,
    horizontal_gap,
    plan_gaps,
    tee_gap,
    vertical_gap,
)
from braggworks.datasets.layouts import LAYOUTS
from braggworks.errors import ConfigError

VERTICAL, HORIZONTAL, CROSS, TEE, LAYOUT = range(5)


@st.composite
def gaps(draw):
    shape = draw(st.lists(st.integers(4, 14), min_size=2, max_size=4).map(tuple))
    width = draw(st.integers(1, min(shape[-2:])))
    start = tuple(draw(st.integers(0, n - width)) for n in shape[-2:])
    return shape, start, width


@given(gaps(), st.booleans())
def test_gap_area_and_place_are_exact(gap, high):
    shape, (y, x), width = gap
    ny, nx = shape[-2:]
    others = int(np.prod(shape[:-2]))
    vertical, horizontal = vertical_gap(shape, x, width), horizontal_gap(shape, y, width)
    cross, tee = cross_gap(shape, (y, x), width), tee_gap(shape, (y, x), width, high=high)
    for mask in (vertical, horizontal, cross, tee):
        assert mask.shape == shape
        assert mask.dtype == bool
        # The same plane at every rocking angle.
        assert (mask == mask[(0,) * (len(shape) - 2)]).all()
    assert vertical.sum() == width * ny * others
    assert horizontal.sum() == width * nx * others
    assert cross.sum() == (width * ny + width * nx - width**2) * others
    assert tee.sum() == (width * ny + width * (nx - x - width if high else x)) * others
    assert np.array_equal(np.flatnonzero(vertical.reshape(-1, nx).all(axis=0)), np.arange(x, x + width))
    assert np.array_equal(np.flatnonzero(horizontal.any(axis=-1).reshape(-1, ny).all(axis=0)), np.arange(y, y + width))
    assert np.array_equal(cross, vertical | horizontal)
    other = tee_gap(shape, (y, x), width, high=not high)
    assert np.array_equal(tee | other, cross)
    assert np.array_equal(tee & other, vertical)


@given(st.integers(4, 40), st.data())
def test_a_plane_covers_what_the_formula_says(size, data):
    kind = data.draw(st.sampled_from([VERTICAL, HORIZONTAL, CROSS, TEE, NO_GAP]))
    width = data.draw(st.integers(1, size))
    start = [data.draw(st.integers(0, size - width)) for _ in range(2)]
    areas = {int(plane.sum()) for plane in gap_planes(kind, size, width, start)}
    assert areas == gap_pixels(kind, size, width, start)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: vertical_gap((8, 8), 3, 6), "A gap of 6 px that starts at x = 3 does not fit in 8 px"),
        (lambda: vertical_gap((8, 8), -1, 2), "starts at x = -1"),
        (lambda: vertical_gap((8, 8), 0, 0), "A gap of 0 px"),
        (lambda: horizontal_gap((8, 20), 3, 6), "A gap of 6 px that starts at y = 3 does not fit in 8 px"),
        (lambda: cross_gap((4, 6, 20), (2, 2), 9), "A gap of 9 px that starts at y = 2 does not fit in 6 px"),
        (lambda: tee_gap((4, 6, 20), (2, 2), 9, high=True), "A gap of 9 px that starts at y = 2 does not fit in 6 px"),
    ],
)
def test_gap_outside_the_array_is_refused(make, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make()


def plan(index, count, size=16, seed=0, **config):
    return plan_gaps(index, count, GapConfig(**config), size, np.random.default_rng([seed, index]))


@pytest.mark.parametrize("width", [13, 40])
def test_gap_wider_than_the_patch_is_refused(width):
    with pytest.raises(ConfigError, match=f"A gap of {width} px does not fit in a patch of 16 px: use gap widths of 1"):
        plan(0, 4, widths_px=[3, width])


@given(
    st.integers(1, 40),
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0, 0.3]), min_size=5, max_size=5).filter(any),
    st.integers(1, 4),
)
def test_a_campaign_holds_shapes_and_widths_in_the_wanted_parts(count, weights, widths):
    shapes = dict(zip(GAP_SHAPES, weights, strict=True))
    options = {"shapes": shapes, "widths_px": [3, 6, 9, 12][:widths], "layouts": ["merlin", "maxipix"]}
    particles = 20
    plans = [plan(index, count, 32, **options) for index in range(particles)]
    shape = np.concatenate([p.shape for p in plans])
    width = np.concatenate([p.width for p in plans])
    for number, name in enumerate(GAP_SHAPES):
        expected = particles * count * shapes[name] / sum(weights)
        assert abs(np.count_nonzero(shape == number) - expected) <= 2
    for number in set(shape[shape != LAYOUT].tolist()):
        assert np.ptp([np.count_nonzero(width[shape == number] == px) for px in options["widths_px"]]) <= 1
    layouts = [name for p in plans for name in p.layout if name]
    assert len(layouts) == np.count_nonzero(shape == LAYOUT)
    assert abs(layouts.count("merlin") - layouts.count("maxipix")) <= 1


def test_shares_are_exact_where_they_can_be():
    plans = [plan(index, 36, shapes={"vertical": 3, "tee": 2, "cross": 1}) for index in range(5)]
    counts = np.bincount(np.concatenate([p.shape for p in plans]), minlength=5)
    assert counts.tolist() == [90, 0, 30, 60, 0]


@pytest.mark.parametrize("position", ["centre", "anywhere"])
def test_planned_gaps_have_measured_borders(position):
    size, shapes = 48, {"vertical": 1, "horizontal": 1, "cross": 1, "tee": 1}
    found = plan(1, 400, size, shapes=shapes, widths_px=[2, 7, 41], position=position)
    planes = found.planes()
    assert planes.shape == (400, size, size)
    assert np.array_equal(planes[5:9], found.planes(slice(5, 9)))
    for kind, width, (y, x), plane in zip(found.shape, found.width, found.start.tolist(), planes, strict=True):
        assert (y == -1) == (kind == VERTICAL)
        assert (x == -1) == (kind == HORIZONTAL)
        assert plane.sum() in gap_pixels(kind, size, width, (y, x))
        assert any(np.array_equal(plane, option) for option in gap_planes(kind, size, width, (y, x)))
        for start in {y, x} - {-1}:
            assert BORDER_PX <= start <= size - width - BORDER_PX
        if position == "centre":
            assert x in {-1, (size - width) // 2}
            assert kind != HORIZONTAL or y == (size - width) // 2
    narrow = found.width == 2
    for kind, axis in ((VERTICAL, 1), (HORIZONTAL, 0)):
        places = set(found.start[narrow & (found.shape == kind), axis].tolist())
        assert len(places) == 1 if position == "centre" else len(places) > 15
    assert len(set(found.start[narrow & (found.shape == CROSS), 0].tolist())) > 15
    tees = (found.shape == TEE) & narrow
    sides = [plane[:, 0].any() for plane in planes[tees]]
    assert 0.2 < np.mean(sides) < 0.8


def test_layouts_are_pieces_of_their_detector():
    found = plan(0, 60, 64, shapes={"layout": 1}, layouts=["maxipix", "eiger2m", "eiger9m"])
    planes = found.planes()
    assert set(found.layout) == {"maxipix", "eiger2m", "eiger9m"}
    assert not found.width.any()
    for name, (y, x), start, plane in zip(found.layout, found.origin, found.start.tolist(), planes, strict=True):
        assert np.array_equal(plane, LAYOUTS[name].mask()[y : y + 64, x : x + 64])
        assert 0 < plane.mean() <= 0.5
        for axis in (0, 1):
            line = plane.all(axis=1 - axis)
            assert start[axis] == (line.argmax() if line.any() else -1)
            assert not line[:BORDER_PX].any()
            assert not line[-BORDER_PX:].any()


@pytest.mark.parametrize("count", [1, 3, 12])
def test_every_shape_has_every_width_even_with_one_sample_per_particle(count):
    shapes = {"vertical": 2, "cross": 1, "tee": 1}
    plans = [plan(index, count, shapes=shapes) for index in range(96)]
    found = np.stack([np.concatenate([p.shape for p in plans]), np.concatenate([p.width for p in plans])], axis=1)
    pairs, numbers = np.unique(found, axis=0, return_counts=True)
    assert len(pairs) == 3 * 4
    for (shape, _), number in zip(pairs.tolist(), numbers.tolist(), strict=True):
        assert number == 96 * count / (8 if shape == 0 else 16)
