"""Convolutions that see only earlier positions, in the raster order of a picture's values.

The values of a picture are ordered by row, then by column, then by colour (van den Oord et al., ICML 2016,
arXiv:1601.06759, section 2.1). A network built from these layers predicts each value from the earlier ones only. The
layers work in two ways:

- on whole maps (N, C, H, W), as any convolution; this is how a network is trained;
- at the position of a `Cursor`, on maps (N, C, 1, 1), after `start`. Each layer then keeps what it has seen at earlier
  positions. This is how pictures are sampled, with one position's work per position instead of a whole picture's.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Mask = Literal["A", "B"]
"""Whether a value sees itself: A, no, which is for the first layer; B, yes, for all layers after it (section 3.4)."""


class Cursor:
    """The position at which a batch of pictures is being sampled.

    Args:
        pictures: (N, C, H, W); values from the position on are not read.

    Attributes:
        row, column: of the position.
    """

    def __init__(self, pictures: Tensor) -> None:
        self.pictures = pictures
        self.row = self.column = 0
        self._copies: list[Tensor] = []

    def register(self, interior: Tensor) -> None:
        """Adds a copy of the pictures, (N, C, H, W), for `put` to keep up to date, such as a layer's padded input."""
        interior.copy_(self.pictures)
        self._copies.append(interior)

    def put(self, channel: int, values: Tensor) -> None:
        """Sets a value of each picture at the position; `values` is (N,)."""
        for pictures in (self.pictures, *self._copies):
            pictures[:, channel, self.row, self.column] = values


class Causal(nn.Module):
    """Base class of layers that can work at the position of a cursor."""

    cursor: Cursor | None = None

    def start(self, cursor: Cursor) -> None:
        """Switches to working at the cursor's position, which must be the first one."""
        self.cursor = cursor


def start(network: nn.Module, cursor: Cursor) -> None:
    """Switches all causal layers of a network, see `Causal.start`."""
    for module in network.modules():
        if isinstance(module, Causal):
            module.start(cursor)


def colour_groups(features: int, colours: int, repeats: int = 1) -> Tensor:
    """The colour to which each channel of a map belongs: (features * repeats,), in equal parts (section 3.4).

    Args:
        repeats: number of adjacent channels per feature, such as the gates of a cell or the levels of a value.
    """
    return (torch.arange(features) * colours // features).repeat_interleave(repeats)


def causal_mask(kernel_size: tuple[int, int], mask: Mask, inputs: Tensor, outputs: Tensor) -> Tensor:
    """The mask of a convolution's weights, (out, in, rows, columns) of 0 and 1 (section 3.4).

    Positions before the centre are visible. At the centre, a channel sees the channels of earlier colours, and with
    mask B those of its own colour.

    Args:
        kernel_size: odd numbers of rows and columns.
        inputs, outputs: the colour of each channel.
    """
    rows, columns = kernel_size
    seen = torch.zeros(len(outputs), len(inputs), rows, columns)
    seen[:, :, : rows // 2] = 1
    seen[:, :, rows // 2, : columns // 2] = 1
    earlier = inputs[None] < outputs[:, None] if mask == "A" else inputs[None] <= outputs[:, None]
    seen[:, :, rows // 2, columns // 2] = earlier.float()
    return seen


class MaskedConv2d(Causal):
    """A convolution whose outputs see only earlier positions, or earlier colours at the same position.

    Args:
        features: output features; there are `features * repeats` output channels.
        kernel_size: odd numbers of rows and columns.
        mask: see `Mask`.
        colours: number of colours that share the channels; 1 for grey pictures.
        repeats: see `colour_groups`.
    """

    mask: Tensor

    def __init__(
        self,
        in_channels: int,
        features: int,
        kernel_size: int | tuple[int, int],
        mask: Mask,
        *,
        colours: int = 1,
        repeats: int = 1,
    ) -> None:
        super().__init__()
        rows, columns = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        self.padding = (rows // 2, columns // 2)
        conv = nn.Conv2d(in_channels, features * repeats, (rows, columns))
        assert conv.bias is not None
        self.weight, self.bias = conv.weight, conv.bias
        groups = colour_groups(in_channels, colours), colour_groups(features, colours, repeats)
        self.register_buffer("mask", causal_mask((rows, columns), mask, *groups), persistent=False)
        self.reads_pictures = mask == "A"

    def start(self, cursor: Cursor) -> None:
        super().start(cursor)
        top, left = self.padding
        weight = (self.weight * self.mask)[:, :, : top + 1]  # the rows below are never seen
        count, _, height, width = cursor.pictures.shape
        self._weight = weight.flatten(1).T.contiguous()
        self._seen = weight.new_zeros(count, weight.shape[1], height + top, width + 2 * left)
        if self.reads_pictures:
            cursor.register(self._seen[:, :, top:, left : left + width])

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, features * repeats, H, W); at a cursor (N, C, 1, 1) -> (N, features * repeats, 1, 1)."""
        if self.cursor is None:
            return F.conv2d(maps, self.weight * self.mask, self.bias, padding=self.padding)
        (top, left), row, column = self.padding, self.cursor.row, self.cursor.column
        if not (top or left):
            return torch.addmm(self.bias, maps.flatten(1), self._weight)[:, :, None, None]
        self._seen[:, :, row + top, column + left] = maps[:, :, 0, 0]
        patch = self._seen[:, :, row : row + top + 1, column : column + 2 * left + 1]
        return torch.addmm(self.bias, patch.flatten(1), self._weight)[:, :, None, None]


class RowsAbove(Causal):
    """A convolution over a position's row and the rows above it: the vertical stack of the gated PixelCNN.

    A position in row r sees `kernel_size` columns of `kernel_size // 2 + 1` rows, of which the lowest is row r, or with
    mask A row r - 1. (van den Oord et al., NIPS 2016, arXiv:1606.05328, section 2.2)

    At a cursor, the layer works on rows (N, C, 1, W): when the cursor is at the first column of each row.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, mask: Mask) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, (kernel_size // 2 + 1, kernel_size))
        self.padding = kernel_size // 2
        self.above = int(mask == "A")

    def start(self, cursor: Cursor) -> None:
        super().start(cursor)
        count, _, height, width = cursor.pictures.shape
        rows, columns = self.padding + self.above, width + 2 * self.padding
        self._seen = self.conv.weight.new_zeros(count, self.conv.in_channels, height + rows, columns)
        if self.above:
            cursor.register(self._seen[:, :, rows:, self.padding : self.padding + width])

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, H, W); at a cursor (N, C, 1, W) -> (N, out_channels, 1, W)."""
        if self.cursor is None:
            above = F.pad(maps, (self.padding, self.padding, self.padding + self.above, -self.above))
            return self.conv(above)
        row, width = self.cursor.row, maps.shape[3]
        self._seen[:, :, row + self.padding + self.above, self.padding : self.padding + width] = maps[:, :, 0]
        return self.conv(self._seen[:, :, row : row + self.padding + 1])
