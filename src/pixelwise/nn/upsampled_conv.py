"""The convolution at the start of a decoder's block, without the enlarged and joined map that it reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class UpsampledConv2d(nn.Conv2d):
    """A 3x3 convolution of a map enlarged twofold by nearest neighbours and joined with a skip of that size.

    A convolution of joined maps is the sum of their convolutions, so nothing is joined; and the enlarged map is never
    made, see `conv_of_enlarged`. Parameters are those of the plain convolution, for the enlarged map's channels first.

    Args:
        inputs: channels of the map that is enlarged.
        skip: channels of the map that is joined to it; 0 for none.
    """

    def __init__(self, inputs: int, skip: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs + skip, outputs, 3, padding=1, bias=bias)

    def forward(self, maps: Tensor, skip: Tensor | None = None) -> Tensor:
        """(N, inputs, H, W) and (N, skip, 2H, 2W) -> (N, outputs, 2H, 2W)."""
        enlarged, joined = self.weight.split((maps.shape[1], self.in_channels - maps.shape[1]), dim=1)
        total = conv_of_enlarged(maps, enlarged)
        if skip is None:
            total = total.contiguous(memory_format=torch.channels_last)
            return total if self.bias is None else total + self.bias.to(total.dtype)[:, None, None]
        return total + F.conv2d(skip, joined, self.bias, padding=1)


def conv_of_enlarged(maps: Tensor, weight: Tensor) -> Tensor:
    """`F.conv2d(F.interpolate(maps, scale_factor=2, mode="nearest"), weight, padding=1)` with 4/9 of the arithmetic.

    Each row of the enlarged map stands there twice, so of the three rows that a filter reads two are the same row of
    `maps`, and their weights add up: an even row of the result is a filter of two rows, w0 and w1 + w2, on the rows
    above and here, an odd one w0 + w1 and w2 on those here and below. Columns alike. The four 2x2 filters of the four
    parities are one convolution with four times the channels, whose values are then put in their places
    (the sub-pixel convolution of Shi et al., CVPR 2016, section 3.2).

    Args:
        maps: (N, I, H, W).
        weight: (O, I, 3, 3).

    Returns:
        (N, O, 2H, 2W), a view of a tensor that is one pixel larger on each side, channels last.
    """
    outputs = len(weight)
    exact = weight.to(torch.promote_types(weight.dtype, torch.float32))
    filters = _by_parity(_by_parity(exact, -1), -2)  # (2, 2, O, I, 2, 2)
    filters = filters.flatten(0, 2).to(weight.dtype)
    values = F.conv2d(maps, filters, padding=1)  # (N, 4 O, H + 1, W + 1)
    count, _, height, width = values.shape
    blocks = values.permute(0, 2, 3, 1).reshape(count, height, width, 2, 2, outputs)
    spread = blocks.transpose(2, 3).reshape(count, 2 * height, 2 * width, outputs)
    return spread[:, 1:-1, 1:-1].permute(0, 3, 1, 2)


def _by_parity(weight: Tensor, axis: int) -> Tensor:
    """(..., three taps along `axis`, ...) -> (2, ..., two taps, ...): of odd places of the enlarged map, then of even
    ones. The blocks begin one pixel before the map, so an odd place comes first in each."""
    first, second, third = weight.unbind(axis)
    odd = torch.stack([first + second, third], axis)
    even = torch.stack([first, second + third], axis)
    return torch.stack([odd, even])
