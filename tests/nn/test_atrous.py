"""Dilated convolutions: right gradients in bfloat16, whatever the number of channels."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from pixelwise.catalog import create_model
from pixelwise.models.encoders import create_encoder
from pixelwise.models.segment.deeplab import apply_multi_grid
from pixelwise.nn.atrous import AtrousConv2d, atrous_conv2d, with_atrous_convolutions
from pixelwise.nn.encoder import widen

GRADIENT = """
import sys, torch
from pixelwise.nn.atrous import AtrousConv2d
channels, kernel, rate = map(int, sys.argv[1:])
torch.manual_seed(0)
layer = AtrousConv2d(channels, 12, kernel, dilation=rate).to(memory_format=torch.channels_last)
for _ in range(4):
    images = torch.randn(2, channels, 40, 50).contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        maps = layer(images)
    upstream = torch.randn_like(maps)
    found = torch.autograd.grad(maps, (images, layer.weight), upstream)
    plain = torch.nn.functional.conv2d(images, layer.weight, layer.bias, dilation=rate)
    expected = torch.autograd.grad(plain, (images, layer.weight), upstream.float())
    for mine, theirs in zip(found, expected):
        assert mine.shape == theirs.shape
        assert bool((mine - theirs).abs().max() < 0.02 * theirs.abs().max()), (mine - theirs).abs().max()
"""


@pytest.mark.parametrize(("channels", "kernel", "rate"), [(24, 4, 2), (40, 3, 2), (17, 3, 4), (32, 3, 2), (11, 3, 2)])
def test_gradients_in_bfloat16(channels: int, kernel: int, rate: int) -> None:
    """In a process of its own: where it goes wrong, the process may end."""
    command = [sys.executable, "-c", GRADIENT, *map(str, (channels, kernel, rate))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_it_is_the_convolution() -> None:
    torch.manual_seed(0)
    layer = AtrousConv2d(24, 5, 3, stride=2, padding=2, dilation=2)
    images = torch.randn(1, 24, 13, 14)
    expected = F.conv2d(images, layer.weight, layer.bias, 2, 2, 2)
    assert torch.equal(layer(images), expected)
    assert torch.equal(atrous_conv2d(images, layer.weight, layer.bias, (2, 2), (2, 2), (2, 2)), expected)
    with torch.autocast("cpu", torch.bfloat16):
        filled = layer(images.requires_grad_())
    assert torch.allclose(filled.float(), expected, atol=0.05)


def test_dilated_filters_are_exchanged_and_share_their_tensors() -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(24, 24, 3, padding=1),
        torch.nn.Conv2d(24, 24, 3, padding=1),
        torch.nn.Conv2d(24, 24, 3, padding=1, groups=24),
    ).eval()
    before = dict(network.named_parameters())
    for layer in (network[0], network[2]):
        widen(layer, 2)
    drawn = torch.get_rng_state()
    assert with_atrous_convolutions(network) is network
    assert torch.equal(torch.get_rng_state(), drawn), "what is drawn after it must not change"
    assert [type(layer) for layer in network] == [AtrousConv2d, torch.nn.Conv2d, torch.nn.Conv2d]
    assert (network[0].dilation, network[0].padding, network[0].training) == ((2, 2), (2, 2), False)
    after = dict(network.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)


@pytest.mark.parametrize("build", ["dilate", "multi_grid", "front_end"])
def test_networks_that_dilate_use_the_safe_convolution(build: str) -> None:
    with torch.device("meta"):
        if build == "dilate":
            network: torch.nn.Module = create_encoder("resnet50", output_stride=8)
        elif build == "multi_grid":
            network = create_encoder("resnet18")
            apply_multi_grid(network, (2, 4))
        else:
            network = create_model("dilated", num_classes=3, width=4)
    dilated = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d) and max(m.dilation) > 1]
    assert dilated
    assert all(isinstance(module, AtrousConv2d) for module in dilated)
