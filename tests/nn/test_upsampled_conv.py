"""The convolution of an enlarged and joined map equals the one that makes both."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.catalog import create_model
from pixelwise.data.pictures import PictureFormat
from pixelwise.inference.engine import TorchEngine
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.upsampled_conv import FixedUpsampledConv2d, UpsampledConv2d, conv_of_enlarged, with_fixed_filters


def plain(layer: UpsampledConv2d, maps: Tensor, skip: Tensor | None) -> Tensor:
    enlarged = F.interpolate(maps, scale_factor=2, mode="nearest")
    joined = enlarged if skip is None else torch.cat([enlarged, skip], dim=1)
    return F.conv2d(joined, layer.weight, layer.bias, padding=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 2), (5, 7)])
@pytest.mark.parametrize("channels", [0, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_same_values_and_gradients(size: tuple[int, int], channels: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer = UpsampledConv2d(3, channels, 4, bias=bias).double()
    maps = torch.randn(2, 3, *size, dtype=torch.double, requires_grad=True)
    skip = torch.randn(2, channels, 2 * size[0], 2 * size[1], dtype=torch.double, requires_grad=True)
    inputs = [maps, *layer.parameters(), *([skip] if channels else [])]
    answers = [each(maps, skip if channels else None) for each in (layer, lambda *maps: plain(layer, *maps))]
    weights = torch.randn_like(answers[0])
    torch.testing.assert_close(*answers)
    ours, theirs = (torch.autograd.grad((answer * weights).sum(), inputs) for answer in answers)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("channels", [0, 2])
def test_fixed_filters_answer_the_same(channels: int) -> None:
    torch.manual_seed(0)
    network = nn.ModuleDict({"layer": UpsampledConv2d(3, channels, 4)}).double()
    inputs = [torch.randn(2, 3, 5, 4).double(), torch.randn(2, channels, 10, 8).double() if channels else None]
    expected = network["layer"](*inputs)
    with_fixed_filters(network)
    assert isinstance(network["layer"], FixedUpsampledConv2d)
    torch.testing.assert_close(network["layer"](*inputs), expected)


def test_an_engine_counts_no_filters_as_memory_per_pixel() -> None:
    network = create_model("unet", num_classes=3, encoder="mobilenet_v2")
    spec = ModelSpec("unet", {}, ("a", "b", "c"), PictureFormat(), (127.5,) * 3, (127.5,) * 3)
    assert TorchEngine(network, spec, precision="float32").bytes_per_pixel < 400


def test_bfloat16_rounds_a_few_times_more_than_the_plain_way() -> None:
    torch.manual_seed(0)
    layer = UpsampledConv2d(32, 16, 24).bfloat16()
    maps, skip = torch.randn(1, 32, 6, 5).bfloat16(), torch.randn(1, 16, 12, 10).bfloat16()
    exact = plain(layer.double(), maps.double(), skip.double())
    layer.bfloat16()
    ours, theirs = (layer(maps, skip) - exact).abs().mean(), (plain(layer, maps, skip) - exact).abs().mean()
    assert ours < 3 * theirs  # the two parts and their sum are rounded, where the plain way rounds once


def test_channels_last_stays() -> None:
    maps = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    layer = UpsampledConv2d(3, 0, 4)
    assert layer(maps).is_contiguous(memory_format=torch.channels_last)


def test_arithmetic_is_less_than_half() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    maps, weight = torch.randn(1, 8, 64, 64), torch.randn(8, 8, 3, 3)
    with FlopCounterMode(display=False) as ours:
        conv_of_enlarged(maps, weight)
    with FlopCounterMode(display=False) as theirs:
        F.conv2d(F.interpolate(maps, scale_factor=2), weight, padding=1)
    assert ours.get_total_flops() < 0.47 * theirs.get_total_flops()
