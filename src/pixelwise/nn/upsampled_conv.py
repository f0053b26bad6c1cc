"""The first convolution of a decoder block, computed without building the enlarged and concatenated map."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.nn.replace import replace_modules


class UpsampledConv2d(nn.Conv2d):
    """A 3x3 convolution of a map that is enlarged twofold by nearest neighbours and concatenated with a skip map.

    The convolution of concatenated maps is the sum of their convolutions, so the maps are never concatenated. The
    enlarged map is never built either, see `conv_of_enlarged`. The parameters are those of the plain convolution; the
    enlarged map's channels come first.

    Args:
        inputs: channels of the map that is enlarged.
        skip: channels of the skip map; 0 for none.
    """

    def __init__(self, inputs: int, skip: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs + skip, outputs, 3, padding=1, bias=bias)
        self.inputs = inputs

    def forward(self, maps: Tensor, skip: Tensor | None = None) -> Tensor:
        """(N, inputs, H, W) and (N, skip, 2H, 2W) -> (N, outputs, 2H, 2W)."""
        enlarged, joined = self.parts()
        return _with_skip(conv_of_enlarged(maps, enlarged), skip, joined, self.bias)

    def parts(self) -> tuple[Tensor, Tensor]:
        """The weights for the enlarged map, (outputs, inputs, 3, 3), and for the skip, (outputs, skip, 3, 3)."""
        enlarged, joined = self.weight.split((self.inputs, self.in_channels - self.inputs), dim=1)
        return enlarged, joined


class FixedUpsampledConv2d(nn.Module):
    """An `UpsampledConv2d` whose 2x2 filters are computed once, for prediction."""

    def __init__(self, layer: UpsampledConv2d) -> None:
        super().__init__()
        with torch.no_grad():
            enlarged, joined = layer.parts()
            self.filters = nn.Parameter(filters_by_parity(enlarged), requires_grad=False)
            self.joined = nn.Parameter(joined.clone(), requires_grad=False)
        self.bias = layer.bias

    def forward(self, maps: Tensor, skip: Tensor | None = None) -> Tensor:
        """(N, inputs, H, W) and (N, skip, 2H, 2W) -> (N, outputs, 2H, 2W)."""
        return _with_skip(_placed(F.conv2d(maps, self.filters, padding=1)), skip, self.joined, self.bias)


def with_fixed_filters(network: nn.Module) -> None:
    """Computes the filters of every `UpsampledConv2d` once, in place, in a network that will not be trained further."""
    layers = [module for module in network.modules() if isinstance(module, UpsampledConv2d)]
    replace_modules(network, {layer: FixedUpsampledConv2d(layer) for layer in layers})


def _with_skip(enlarged: Tensor, skip: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of the enlarged map plus that of the skip, channels last."""
    if skip is not None:
        return enlarged + F.conv2d(skip, weight, bias, padding=1)
    enlarged = enlarged.contiguous(memory_format=torch.channels_last)
    return enlarged if bias is None else enlarged + bias.to(enlarged.dtype)[:, None, None]


def conv_of_enlarged(maps: Tensor, weight: Tensor) -> Tensor:
    """`F.conv2d(F.interpolate(maps, scale_factor=2, mode="nearest"), weight, padding=1)` with 4/9 of the arithmetic.

    Each row of `maps` occurs twice in the enlarged map, so two of the three rows under a filter are equal, and their
    weights add up. An even row of the result is a filter of two rows, w0 and w1 + w2, on the row above and the row
    itself; an odd row is w0 + w1 and w2 on the row itself and the row below. The same holds for columns. The four 2x2
    filters of the four parities are one convolution with four times the channels, whose values are then moved to their
    positions (the sub-pixel convolution of Shi et al., CVPR 2016, section 3.2).

    Args:
        maps: (N, I, H, W).
        weight: (O, I, 3, 3).

    Returns:
        (N, O, 2H, 2W), a view of a tensor that is one pixel larger on each side, channels last.
    """
    if _in_full.get():
        return F.conv2d(F.interpolate(maps, scale_factor=2, mode="nearest"), weight, padding=1)
    return _placed(F.conv2d(maps, filters_by_parity(weight), padding=1))


_in_full = ContextVar("_in_full", default=False)


@contextmanager
def in_full() -> Iterator[None]:
    """Context in which `conv_of_enlarged` builds the enlarged map, so that positions can be traced through it."""
    token = _in_full.set(True)
    try:
        yield
    finally:
        _in_full.reset(token)


def filters_by_parity(weight: Tensor) -> Tensor:
    """(O, I, 3, 3) -> the 2x2 filters (4 O, I, 2, 2) of `conv_of_enlarged`, summed in float32 or better."""
    exact = weight.to(torch.promote_types(weight.dtype, torch.float32))
    filters = _by_parity(_by_parity(exact, -1), -2)  # (2, 2, O, I, 2, 2)
    return filters.flatten(0, 2).to(weight.dtype)


def _placed(values: Tensor) -> Tensor:
    """(N, 4 O, H + 1, W + 1), by parity of row and column -> (N, O, 2H, 2W), a view, channels last."""
    count, channels, height, width = values.shape
    blocks = values.permute(0, 2, 3, 1).reshape(count, height, width, 2, 2, channels // 4)
    spread = blocks.transpose(2, 3).reshape(count, 2 * height, 2 * width, channels // 4)
    return spread[:, 1:-1, 1:-1].permute(0, 3, 1, 2)


def _by_parity(weight: Tensor, axis: int) -> Tensor:
    """(..., three taps along `axis`, ...) -> (2, ..., two taps, ...): taps for odd, then for even positions.

    The positions are those of the enlarged map. The blocks begin one pixel before the map, so the odd position comes
    first in each.
    """
    first, second, third = weight.unbind(axis)
    odd = torch.stack([first + second, third], axis)
    even = torch.stack([first, second + third], axis)
    return torch.stack([odd, even])
