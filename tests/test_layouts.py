"""Real detectors: sizes in pixels and millimetres, gap widths in use, and regions drawn from them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from braggworks.campaigns import Layout as LayoutName
from braggworks.datasets.layouts import BORDER_PX, LAYOUTS, draw_regions
from braggworks.errors import ConfigError

# Shape, widths of the gaps between modules and of all masked lines (y, x), and the size in millimetres.
KNOWN = {
    "merlin": ((515, 515), (3, 3), ({3}, {3}), (28.325, 28.325)),
    "maxipix": ((516, 516), (6, 6), ({6}, {6}), (28.38, 28.38)),
    "timepix": ((516, 517), (4, 5), ({4}, {5}), (28.38, 28.435)),
    "eiger2m": ((2167, 1030), (41, 0), ({4, 41}, {4}), (162.525, 77.25)),
    "eiger4m": ((2167, 2070), (39, 12), ({39}, {12}), (162.525, 155.25)),
    "eiger9m": ((3262, 3108), (38, 12), ({2, 38}, {2, 12}), (244.65, 233.1)),
}


def widths(line):
    """Return the widths of a line's gaps, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(int), [0]])))
    return (edges[1::2] - edges[::2]).tolist()


def test_every_layout_of_the_configuration_is_there():
    from typing import get_args

    assert set(LAYOUTS) == set(get_args(LayoutName)) == set(KNOWN)


@pytest.mark.parametrize("name", KNOWN)
def test_sizes_and_gap_widths(name):
    layout = LAYOUTS[name]
    shape, masked, lines, size_mm = KNOWN[name]
    assert layout.shape == layout.mask().shape == shape
    assert layout.masked_px == masked
    assert layout.size_mm == pytest.approx(size_mm)
    assert layout.gap_mm == pytest.approx([px * layout.pixel_mm for px in masked])
    for axis, line in enumerate(layout.lines):
        found = widths(line)
        assert set(found) == lines[axis]
        assert found.count(masked[axis]) == (layout.modules[axis] - 1 if masked[axis] else 0)
        assert len(found) == layout.modules[axis] * layout.chips[axis] - 1
        assert np.array_equal(line, line[::-1])
    chips = layout.modules[0] * layout.chips[0], layout.modules[1] * layout.chips[1]
    assert label(~layout.mask())[1] == chips[0] * chips[1]


def test_known_places():
    eiger2m, eiger9m, maxipix = (LAYOUTS[name].lines for name in ("eiger2m", "eiger9m", "maxipix"))
    assert np.flatnonzero(eiger2m[1]).tolist() == [*range(255, 259), *range(513, 517), *range(771, 775)]
    assert np.flatnonzero(eiger2m[0])[:45].tolist() == [*range(255, 259), *range(512, 553)]
    assert np.flatnonzero(maxipix[0]).tolist() == list(range(255, 261))
    assert np.flatnonzero(eiger9m[1][:1040]).tolist() == [256, 257, 513, 514, 770, 771, *range(1028, 1040)]


@pytest.mark.parametrize("name", KNOWN)
def test_a_tile_is_a_piece_of_the_mask(name):
    layout, rng = LAYOUTS[name], np.random.default_rng(0)
    mask = layout.mask()
    for _ in range(20):
        ny, nx = rng.integers(1, 400, 2).tolist()
        y, x = int(rng.integers(0, layout.shape[0] - ny + 1)), int(rng.integers(0, layout.shape[1] - nx + 1))
        assert np.array_equal(layout.tile((ny, nx), (y, x)), mask[y : y + ny, x : x + nx])


@pytest.mark.parametrize(("shape", "origin"), [((10, 10), (510, 0)), ((10, 10), (0, -1)), ((600, 10), (0, 0))])
def test_a_region_beyond_the_detector_is_refused(shape, origin):
    with pytest.raises(ConfigError, match="does not lie on the Merlin of 515 x 515 px"):
        LAYOUTS["merlin"].tile(shape, origin)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(KNOWN)), st.sampled_from([32, 64, 128]), st.integers(0, 99))
def test_drawn_regions_hold_whole_gaps_and_are_measured_for_the_better_part(name, size, seed):
    layout = LAYOUTS[name]
    for y, x in draw_regions(layout, size, 20, np.random.default_rng(seed)).tolist():
        tile = layout.tile((size, size), (y, x))
        assert 0 < tile.mean() <= 0.5
        for axis in (0, 1):
            line = tile.all(axis=axis)
            assert not line[:BORDER_PX].any()
            assert not line[-BORDER_PX:].any()


def test_every_legal_region_is_drawn_equally_often():
    layout, size = LAYOUTS["timepix"], 500
    legal = [
        (y, x)
        for y in range(layout.shape[0] - size + 1)
        for x in range(layout.shape[1] - size + 1)
        if layout.tile((size, size), (y, x)).any()
    ]
    draws = draw_regions(layout, size, 100 * len(legal), np.random.default_rng(0))
    found, times = np.unique(draws, axis=0, return_counts=True)
    assert sorted(map(tuple, found.tolist())) == sorted(legal)
    chi_squared = ((times - 100) ** 2 / 100).sum()
    assert abs(chi_squared - len(legal)) < 5 * np.sqrt(2 * len(legal))


def test_wide_gaps_are_drawn_where_the_patch_is_large_enough():
    layout = LAYOUTS["eiger4m"]
    for size, wanted in ((32, {12}), (128, {12, 39})):
        regions = draw_regions(layout, size, 300, np.random.default_rng(1)).tolist()
        tiles = [layout.tile((size, size), (y, x)) for y, x in regions]
        assert {w for tile in tiles for axis in (0, 1) for w in widths(tile.all(axis=axis))} == wanted
    assert any(tile.all(axis=0).any() and tile.all(axis=1).any() for tile in tiles)


def test_a_patch_in_which_no_gap_fits_is_refused():
    with pytest.raises(ConfigError, match="No region of 8 x 8 px on the Eiger 4M holds a whole gap"):
        draw_regions(LAYOUTS["eiger4m"], 8, 1, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="does not lie on the Maxipix"):
        draw_regions(LAYOUTS["maxipix"], 520, 1, np.random.default_rng(0))
