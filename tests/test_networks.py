"""Every network of the registry: shapes, gradients, reproducibility; and the published layers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from braggworks.config import NetworkConfig
from braggworks.networks import GAP_NETWORKS, build
from braggworks.networks.layers import DilatedBlock, SameConv3d, UpsampledConv3d
from braggworks.networks.msd_net_2d import MSDNet2D
from braggworks.networks.unet_2d import ModifiedUNet2D, UNet2D

OPTIONS = (
    {"width": 0.25},
    {"width": 0.1, "mask_input": True},
    {"width": 0.25, "residual": True},
    {"width": 0.25, "mask_input": True, "residual": True},
)
PATCH_CONFIGS = [NetworkConfig(name="patch_inpainter_3d", **options) for options in OPTIONS]
CONFIGS = [
    *PATCH_CONFIGS,
    *(NetworkConfig(name=name, width=0.1) for name in GAP_NETWORKS if name != "patch_inpainter_3d"),
]


def name_of(config):
    return f"{config.name}-{config.width}-{config.mask_input}-{config.residual}"


every_network = pytest.mark.parametrize("config", CONFIGS, ids=name_of)
every_patch_network = pytest.mark.parametrize("config", PATCH_CONFIGS, ids=name_of)


def patches(batch=2, size=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(batch, 1, size, size, size, generator=generator)
    mask = torch.zeros_like(values)
    mask[..., size // 2 - 2 : size // 2 + 2] = 1
    return values, mask


def stirred(config):
    """Build a network in which no layer is zero."""
    network = build(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


@every_network
@pytest.mark.parametrize("blocks", [1, 2])
def test_shape_is_preserved(config, blocks):
    network = build(config)
    values, mask = patches(3, max(8, network.multiple) * blocks)
    output = network.fill(values, mask)
    assert output.shape == values.shape
    assert output.dtype == torch.float32
    assert torch.isfinite(output).all()


@every_network
def test_gradients_reach_every_parameter(config):
    network = stirred(config)
    values, mask = patches(size=max(16, network.multiple))
    network.fill(values, mask).square().sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


@every_network
def test_gradients_are_finite_in_bfloat16(config):
    network = build(NetworkConfig(name=config.name, width=0.25, residual=config.residual))
    values, mask = patches(4, max(32, network.multiple))
    with torch.autocast("cpu", torch.bfloat16):
        output = network.fill(values, mask)
    (output.float() - values).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@every_network
def test_seed_decides_the_weights_and_nothing_else_changes(config):
    before = torch.random.get_rng_state()
    one, two, other = build(config, 3), build(config, 3), build(config, 4)
    assert torch.equal(before, torch.random.get_rng_state())
    values, mask = patches(size=max(16, one.multiple))
    assert torch.equal(one.fill(values, mask), two.fill(values, mask))
    assert any(not torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


@every_network
def test_samples_of_a_batch_do_not_meet(config):
    network = stirred(config).eval()
    values, mask = patches(3, max(16, network.multiple))
    together = network.fill(values, mask)
    alone = torch.cat([network.fill(values[i : i + 1], mask[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["unet_2d", "msd_net_2d"])
def test_networks_in_two_dimensions_fill_planes_by_themselves(name):
    network = stirred(NetworkConfig(name=name, width=0.1, residual=True)).eval()
    values, mask = patches(2, 32)
    filled = network.fill(values, mask)
    assert torch.equal(filled[mask == 0], values[mask == 0])
    plane = network(values[:, :, 5], mask[:, :, 5])
    torch.testing.assert_close(filled[:, :, 5], plane, rtol=1e-4, atol=1e-4)


@every_patch_network
def test_output_is_a_correction_in_the_gap_or_lies_between_0_and_1(config):
    network = stirred(config)
    values, mask = patches()
    output = network(values, mask)
    if config.residual:
        assert torch.equal(output[mask == 0], values[mask == 0])
        assert not torch.equal(output, values)
        fresh = build(config)
        assert torch.equal(fresh(values, mask), values)
    else:
        assert 0 <= output.min() < output.max() <= 1
    assert network.uses_prior == config.residual


@every_patch_network
def test_mask_is_seen_only_if_asked_for(config):
    network = stirred(config.model_copy(update={"residual": False}))
    values, mask = patches()
    assert torch.equal(network(values, mask), network(values, 1 - mask)) != config.mask_input


def test_published_size():
    assert build(NetworkConfig()).parameter_count() == 3_038_829


@pytest.mark.parametrize(("width", "channels"), [(1.0, 32), (0.5, 16), (0.25, 8), (0.01, 4), (2.0, 64)])
def test_width_scales_the_channels(width, channels):
    network = build(NetworkConfig(width=width))
    assert network.tail[0].in_channels == channels
    assert min(layer.out_channels for layer in network.tail) >= 4


# --- layers ---


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_upsampled_convolution_is_upsampling_then_convolution(kernel):
    torch.manual_seed(kernel)
    fast, plain = UpsampledConv3d(3, 5, kernel).double(), SameConv3d(3, 5, kernel).double()
    plain.load_state_dict(fast.state_dict())
    x = torch.rand(2, 3, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    expected = plain(F.interpolate(x, scale_factor=2))
    torch.testing.assert_close(fast(x), expected)
    weights = torch.rand_like(expected)
    for name in ("weight", "bias"):
        gradients = [
            torch.autograd.grad((y * weights).sum(), getattr(layer, name))[0]
            for y, layer in ((fast(x), fast), (plain(F.interpolate(x, scale_factor=2)), plain))
        ]
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("kernel", "dilation", "before"), [(1, 1, 0), (2, 1, 0), (2, 2, 1), (2, 3, 1), (3, 4, 4), (4, 1, 1)]
)
def test_same_convolution_starts_so_many_voxels_before(kernel, dilation, before):
    layer = SameConv3d(1, 1, kernel, dilation)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 0, 0, 0] = 1
        layer.bias.zero_()
    x = torch.rand(1, 1, 12, 12, 12)
    expected = torch.zeros_like(x)
    kept = 12 - before
    expected[..., before:, before:, before:] = x[..., :kept, :kept, :kept]
    torch.testing.assert_close(layer(x), expected)


def test_dilated_block_keeps_its_input():
    x = torch.rand(2, 3, 8, 8, 8)
    y = DilatedBlock(3, 8, 2, (3, 2, 2, 1))(x)
    assert y.shape == (2, 11, 8, 8, 8)
    assert torch.equal(y[:, :3], x)


# --- two dimensions ---


@pytest.mark.parametrize(
    ("network", "parameters"), [(UNet2D, 31_827_673), (ModifiedUNet2D, 32_652_337), (MSDNet2D, 322_458)]
)
def test_published_sizes_in_two_dimensions(network, parameters):
    with torch.device("meta"):
        assert network().parameter_count() == parameters


@pytest.mark.parametrize("network", [UNet2D, ModifiedUNet2D, MSDNet2D])
def test_a_fresh_residual_network_in_two_dimensions_returns_its_input(network):
    values, mask = (part[:, :, 0] for part in patches(size=32))
    assert torch.equal(network(0.1, mask_input=True, residual=True)(values, mask), values)
    plain = network(0.1)(values, mask)
    assert plain.shape == values.shape
    assert 0 < plain.min() < plain.max() < 1


@pytest.mark.parametrize(
    ("name", "steepness"), [("unet_2d", 1), ("modified_unet_2d", 1), ("msd_net_2d", 1), ("patch_inpainter_3d", 1.5)]
)
def test_published_networks_begin_as_glorot_has_it(name, steepness):
    """With torch's own, smaller weights, all that most losses teach the flat ones is a constant."""
    network = build(NetworkConfig(name=name, width=0.25), seed=0)
    for key, parameter in network.named_parameters():
        if key in {"tail.3.bias", "head.bias"}:
            assert torch.sigmoid(steepness * parameter).item() == pytest.approx(0.1)
        elif key.endswith("bias"):
            assert not parameter.any()
        else:
            inputs, outputs, *taps = parameter.shape
            bound = np.sqrt(6 / ((inputs + outputs) * np.prod(taps)))
            assert parameter.abs().max() <= bound
            assert parameter.numel() < 200 or parameter.abs().max() > 0.9 * bound
