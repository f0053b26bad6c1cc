"""Exact receptive fields, the pixels that each position of a feature map depends on, and maps laid over pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pixelwise.explain.activations import capture, frozen
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.receptive_field import ReceptiveField, Trace


class _Padded(nn.Module):
    """A network without the mirrored border that `DenseModel` adds, whose pixels are copies."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> object:
        return self.network.logits(images) if isinstance(self.network, DenseModel) else self.network(images)


class Fields:
    """Receptive fields of a network's layers for pictures of one size, from `nn.receptive_field`, which needs no data.

    Args:
        height, width, channels: size of the picture, and its number of channels.

    Raises:
        UserError: a layer that the network does not have or does not call.
    """

    def __init__(self, network: nn.Module, layers: Iterable[str], *, height: int, width: int, channels: int) -> None:
        self.height, self.width = height, width
        left, right, top, bottom = network.padding(height, width) if isinstance(network, DenseModel) else (0, 0, 0, 0)
        self._left, self._top = left, top
        padded = _Padded(network)
        tensors = [*padded.named_parameters(), *padded.named_buffers()]
        empty = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors}
        images = torch.empty(1, channels, height + top + bottom, width + left + right, device="meta")
        with frozen(network), capture(network, layers) as maps:
            self._trace = Trace(lambda images: functional_call(padded, empty, (images,)), images)
        self._maps = maps

    def box(self, layer: str, row: int, column: int) -> ReceptiveField:
        """The box of pixels that a position of a layer's map depends on; it may reach beyond the picture.

        For a layer without a map the box is infinite, since each value depends on the whole picture.
        """
        if self._maps[layer].dim() != 4:
            return ReceptiveField(-math.inf, -math.inf, math.inf, math.inf)
        field = self._trace.field(self._maps[layer], row, column)
        return ReceptiveField(
            field.top - self._top, field.left - self._left, field.bottom - self._top, field.right - self._left
        )

    def spread(self, layer: str, maps: Tensor) -> Tensor:
        """Lays maps (N, h, w) of a layer over the picture: (N, H, W), values at the middles of their receptive fields.

        Values in between are interpolated bilinearly. If the map were stretched over the picture instead, the values of
        strided filters would lie beside the pixels that they depend on, by half a position of a classifier's last map.
        If fields have no middle, as after a pooling over the whole picture, the map is stretched.
        """
        height, width = maps.shape[-2:]
        first, last = self.box(layer, 0, 0), self.box(layer, height - 1, width - 1)
        rows = _positions(self.height, height, (first.top + first.bottom) / 2, (last.top + last.bottom) / 2)
        columns = _positions(self.width, width, (first.left + first.right) / 2, (last.left + last.right) / 2)
        return _interpolate(_interpolate(maps, rows, -2), columns, -1)


def _positions(pixels: int, positions: int, first: float, last: float) -> Tensor:
    """Where the middle of each pixel lies on a map whose first and last positions are centred on `first` and `last`."""
    middles = torch.arange(pixels) + 0.5
    if not math.isfinite(last - first) or last <= first:  # one position, or all have the same field: stretched
        return middles * positions / pixels - 0.5
    return (middles - first) * (positions - 1) / (last - first)


def _interpolate(maps: Tensor, positions: Tensor, axis: int) -> Tensor:
    """Interpolates linearly between the positions of an axis; beyond its ends, the last value is repeated."""
    positions = positions.to(maps.device).clamp(0, maps.shape[axis] - 1)
    low = positions.floor().long()
    high = (low + 1).clamp_max(maps.shape[axis] - 1)
    share = (positions - low).to(maps.dtype)
    share = share[:, None] if axis == -2 else share
    return torch.lerp(maps.index_select(axis, low), maps.index_select(axis, high), share)
