"""Draws the filters of a network's first layer as a picture."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.data.draw import contact_sheet
from pixelwise.errors import UserError
from pixelwise.explain.layers import first_convolution


def filter_tiles(weight: Tensor) -> list[np.ndarray]:
    """Draws filters (O, I, kH, kW) as (kH, kW, 3) uint8 tiles.

    A filter of three channels is one tile in colour; other filters are one grey tile per channel. Every filter is
    scaled by its own range over all its channels, from black at its least weight to white at its greatest. A filter of
    equal weights is mid-grey. The tiles thus show forms and colours, but not how strong a filter is.
    """
    weight = weight.detach().float().cpu()
    low, high = (extreme(weight, dim=(1, 2, 3), keepdim=True) for extreme in (torch.amin, torch.amax))
    shown = torch.where(high > low, (weight - low) / (high - low).clamp_min(1e-30), 0.5)
    shown = (255 * shown).round().byte()
    if weight.shape[1] == 3:
        return list(shown.permute(0, 2, 3, 1).numpy())
    return [np.repeat(plane[:, :, None], 3, axis=2) for plane in shown.flatten(0, 1).numpy()]


def filter_sheet(network: nn.Module, *, columns: int | None = None, zoom: int | None = None) -> np.ndarray:
    """The filters of the first convolution as one picture, see `filter_tiles`.

    Args:
        columns: tiles per row; None for a picture about as high as wide. If a filter has several tiles, each row then
            begins with a new filter.
        zoom: pixels per weight; None for tiles of about 36 pixels.

    Returns:
        (H, W, 3) uint8.

    Raises:
        UserError: a network without convolutions.
    """
    convolution = first_convolution(network)
    if convolution is None:
        raise UserError(f"{type(network).__name__} has no convolution, so there are no filters to show.")
    tiles = filter_tiles(convolution.weight)
    inputs = convolution.weight.shape[1]
    if columns is None:
        columns = math.ceil(math.sqrt(2 * len(tiles)))
        if inputs not in (1, 3):
            columns = max(columns // inputs, 1) * inputs
    zoom = zoom or max(1, round(36 / max(convolution.weight.shape[2:])))
    large = [cv2.resize(tile, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST) for tile in tiles]
    return contact_sheet(large, columns, gap=2)
