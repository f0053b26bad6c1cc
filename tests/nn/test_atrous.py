"""Dilated convolutions: right gradients in bfloat16, whatever the number of channels."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from pixelwise.nn.atrous import AtrousConv2d, atrous_conv2d
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


def test_widened_filters_are_safe() -> None:
    layer = torch.nn.Conv2d(24, 24, 3, padding=1)
    widen(layer, 2)
    assert isinstance(layer, AtrousConv2d)
    assert (layer.dilation, layer.padding) == ((2, 2), (2, 2))
