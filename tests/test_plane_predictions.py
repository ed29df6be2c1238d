"""What the plane network predicts: from mirrored views, and with the weights that come with the package."""

import numpy as np
import pytest
import torch
from test_plane_network import SMALL, pattern, slab

from braggworks.evaluation.metrics import pcc
from braggworks.files import read_json
from braggworks.inpainting.interpolation import interpolate
from braggworks.inpainting.model import SHIPPED, load_inpainter
from braggworks.networks import build


@pytest.mark.parametrize("axes", [(), (1, 2), (2, 3), (1, 3)])
def test_views_are_what_it_makes_of_mirrored_surroundings(axes):
    network = build(SMALL, 0).eval()
    torch.nn.init.normal_(network.head.weight, std=0.05)
    counts = np.random.default_rng(1).poisson(pattern((20, 22, 48))).astype(np.float32)
    planes = torch.from_numpy(counts).movedim(2, 0)[None]
    before, after = planes[:, 10:26], planes[:, 32:]
    sides = (after, before) if 1 in axes else (before, after)
    with torch.inference_mode():
        mirrored = network.continued(*(torch.flip(side, axes) for side in sides), 6)
        (view,) = network.views(before, after, 6, [axes])
    torch.testing.assert_close(torch.log1p(view), torch.log1p(torch.flip(mirrored, axes)), rtol=0, atol=1e-4)


def test_the_weights_of_the_package_are_those_of_their_card():
    card = read_json(SHIPPED.with_name("card.json"))
    inpainter = load_inpainter(SHIPPED)
    assert inpainter.network.parameter_count() == card["parameters"]
    assert list(inpainter.widths_px) == card["recipe"]["training"]["slabs"]["widths_px"]
    assert SHIPPED.stat().st_size < 16e6


@pytest.mark.parametrize(("width", "removed"), [(3, 0.5), (12, 0.25), (30, 0.2)])
def test_the_network_of_the_package_beats_linear_interpolation(width, removed):
    truth = np.random.default_rng(0).poisson(pattern((40, 44, 80))).astype(np.float32)
    mask = slab(truth.shape, 2, 44, width)
    hidden = np.where(mask, np.float32(0), truth)
    linear = np.expm1(interpolate(np.log1p(hidden), mask))
    network = load_inpainter(SHIPPED).fill_scan(hidden, mask).counts
    better, worse = (
        1 - pcc(np.log1p(truth)[None], np.log1p(found)[None], mask[None])[0] for found in (network, linear)
    )
    assert better < (1 - removed) * worse
