"""Dilated (atrous) convolutions that can be trained in bfloat16 on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.nn.replace import replace_modules

BLOCK = 16
"""Channels that oneDNN's kernels process at a time."""


class AtrousConv2d(nn.Conv2d):
    """A convolution whose gradient for the weights is also right if it is dilated; see `atrous_conv2d`."""

    def forward(self, images: Tensor) -> Tensor:
        assert not isinstance(self.padding, str)
        return atrous_conv2d(images, self.weight, self.bias, self.stride, self.padding, self.dilation)


def atrous_conv2d(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: tuple[int, ...] = (1, 1),
    padding: tuple[int, ...] = (0, 0),
    dilation: tuple[int, ...] = (1, 1),
) -> Tensor:
    """`F.conv2d` with one group and a correct gradient in bfloat16 on a CPU.

    For the weights' gradient of a dilated convolution in bfloat16, oneDNN (3.12, in torch 2.13) reads and writes beyond
    its memory if the input has more than 16 channels and their number is not a multiple of 16. The result is NaN, or
    the process ends. In this case channels of zeros are added, which change nothing.
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images.dtype
    channels = images.shape[1]
    missing = -channels % BLOCK
    trained = torch.is_grad_enabled() and images.device.type == "cpu" and dtype == torch.bfloat16
    if trained and missing and channels > BLOCK and max(dilation) > 1:
        images, weight = (F.pad(each, (0, 0, 0, 0, 0, missing)) for each in (images, weight))
    return F.conv2d(images, weight, bias, stride, padding, dilation)


def with_atrous_convolutions(network: nn.Module) -> nn.Module:
    """Replaces every dilated `nn.Conv2d` with one group by an `AtrousConv2d`, in place; tensors and names stay."""
    convolutions: dict[nn.Module, nn.Module] = {
        module: _counterpart(module)
        for module in network.modules()
        if type(module) is nn.Conv2d and module.groups == 1 and max(module.dilation) > 1
    }
    return replace_modules(network, convolutions)


def _counterpart(convolution: nn.Conv2d) -> AtrousConv2d:
    assert not isinstance(convolution.padding, str)
    counterpart = AtrousConv2d(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size,  # type: ignore[arg-type]
        stride=convolution.stride,  # type: ignore[arg-type]
        padding=convolution.padding,  # type: ignore[arg-type]
        dilation=convolution.dilation,  # type: ignore[arg-type]
        bias=convolution.bias is not None,
        device="meta",  # takes no memory and draws no random numbers; the old tensors are assigned below
    )
    counterpart.weight, counterpart.bias = convolution.weight, convolution.bias
    return counterpart.train(convolution.training)
