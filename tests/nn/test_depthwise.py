"""Depthwise convolutions: the numbers and gradients of torch's own, whichever way they are computed."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pixelwise.nn.depthwise import DepthwiseConv2d, _Depthwise


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [(2, 2), (3, 2), (1, 2), (1, 1)])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(9, 12), (10, 11)])
def test_gradients(kernel: int, stride: tuple[int, int], dilation: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 1, kernel, kernel, generator=generator, dtype=torch.float64, requires_grad=True)
    padding = dilation * (kernel // 2)
    expected = F.conv2d(images, weight, None, stride, padding, dilation, groups=3)
    found = _Depthwise.apply(images, weight, stride, (padding, padding), (dilation, dilation))
    assert torch.equal(found, expected)
    gradient = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    for mine, theirs in zip(
        torch.autograd.grad(found, (images, weight), gradient),
        torch.autograd.grad(expected, (images, weight), gradient),
        strict=True,
    ):
        assert torch.allclose(mine, theirs, atol=1e-12)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("stride", "dilation"), [(2, 1), (1, 2), (2, 2), (1, 1)])
def test_under_autocast_it_is_what_a_convolution_is(bias: bool, stride: int, dilation: int) -> None:
    torch.manual_seed(0)
    layer = DepthwiseConv2d(24, 3, stride=stride, dilation=dilation, bias=bias)
    images = torch.randn(2, 24, 41, 50).contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        maps = layer(images)
    assert maps.dtype == torch.bfloat16
    assert maps.is_contiguous(memory_format=torch.channels_last)
    expected = F.conv2d(images, layer.weight, layer.bias, stride, dilation, dilation, 24)
    upstream = torch.randn_like(expected)
    results = [
        torch.autograd.grad(maps.float(), (images, *layer.parameters()), upstream),
        torch.autograd.grad(expected, (images, *layer.parameters()), upstream),
    ]
    for mine, theirs in zip(*results, strict=True):
        assert mine.dtype == theirs.dtype == torch.float32
        assert float((mine - theirs).abs().max()) <= 0.02 * float(theirs.abs().max())
