"""Depthwise convolutions that train fast on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F


class DepthwiseConv2d(nn.Conv2d):
    """A convolution with one filter per channel, whose gradient is right and fast; see `depthwise_conv2d`."""

    def __init__(self, channels: int, kernel: int, *, stride: int = 1, dilation: int = 1, bias: bool = False) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        return depthwise_conv2d(images, self.weight, self.bias, self.stride, self.padding, self.dilation)  # type: ignore[arg-type]


def depthwise_conv2d(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """`F.conv2d` with one filter per channel; it replaces gradients in bfloat16 that are slow or wrong on a CPU.

    For a strided convolution, oneDNN's (3.12) gradient for the images takes twenty times as long as the convolution.
    The same numbers come from a convolution without stride: the outputs' gradient is spread on the finer grid, with
    zeros in between, and convolved with the flipped filter. For a dilated convolution in channels_last, oneDNN's
    gradient for the weights is wrong; in the contiguous memory format it is right.

    Args:
        images: (N, C, H, W).
        weight: (C, 1, kH, kW).
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images.dtype
    troubled = images.device.type == "cpu" and dtype == torch.bfloat16 and max(*stride, *dilation) > 1
    if not troubled or not torch.is_grad_enabled():
        return F.conv2d(images, weight, bias, stride, padding, dilation, groups=len(weight))
    images, weight = images.to(dtype), weight.to(dtype)  # as autocast does, which has no effect inside a `Function`
    maps = _Depthwise.apply(images, weight, stride, padding, dilation)
    return maps if bias is None else maps + bias.to(dtype)[:, None, None]


class _Depthwise(Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.geometry = stride, padding, dilation
        return F.conv2d(images, weight, None, stride, padding, dilation, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (images, weight) = gradients, ctx.saved_tensors
        stride, padding, dilation = ctx.geometry
        reach = [step * (side - 1) for step, side in zip(dilation, weight.shape[-2:], strict=True)]
        to_images = to_weight = None
        if ctx.needs_input_grad[0]:
            finer = [
                size + 2 * pad - far for size, pad, far in zip(images.shape[-2:], padding, reach, strict=True)
            ]  # size of the convolution's output without its stride
            spread = torch.empty(
                (*gradient.shape[:2], *finer), dtype=gradient.dtype, memory_format=torch.channels_last
            ).zero_()
            spread[..., :: stride[0], :: stride[1]] = gradient
            border = [far - pad for far, pad in zip(reach, padding, strict=True)]
            to_images = F.conv2d(spread, weight.flip(2, 3), None, 1, border, dilation, groups=len(weight))
        if ctx.needs_input_grad[1]:
            if max(dilation) > 1:
                gradient, images = gradient.contiguous(), images.contiguous()
            to_weight = torch.ops.aten.convolution_backward(
                gradient,
                images,
                weight,
                None,
                stride,
                padding,
                dilation,
                False,
                (0, 0),
                len(weight),
                [False, True, False],
            )[1]
        return to_images, to_weight, None, None, None
