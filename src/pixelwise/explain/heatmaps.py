"""Pictures of maps: contact sheets of a layer, attribution maps over a picture, gradients around mid-grey."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor

from pixelwise.data.draw import contact_sheet, to_rgb

TILES = "viridis"
HEAT = "inferno"


def most_active(maps: Tensor, count: int) -> list[int]:
    """The channels of maps (C, h, w) with the largest standard deviation over positions, largest first, up to `count`.

    A channel with the same value everywhere therefore does not count as active, however large that value is.
    """
    return maps.flatten(1).std(1, correction=0).topk(min(count, len(maps))).indices.tolist()


def unit_range(values: Tensor) -> np.ndarray:
    """Scales values to float32 from 0 (the least) to 1 (the greatest); zeros if all are equal."""
    array = values.detach().float().cpu().numpy()
    low, high = float(array.min()), float(array.max())
    return (array - low) / (high - low) if high > low else np.zeros_like(array)


def heatmap_sheet(maps: Tensor, *, count: int = 16, columns: int = 8, side: int = 96) -> np.ndarray:
    """The most active channels (`most_active`) of a layer as tiles, each coloured by its own range.

    Args:
        maps: (C, h, w).
        side: longer side of a tile in pixels; positions are shown as squares.

    Returns:
        (H, W, 3) uint8.
    """
    height, width = maps.shape[1:]
    scale = side / max(height, width)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    way = cv2.INTER_NEAREST if scale >= 1 else cv2.INTER_AREA
    tiles = []
    for channel in most_active(maps, count):
        tile = cv2.resize(unit_range(maps[channel]), size, interpolation=way)
        tiles.append(np.ascontiguousarray(colormaps[TILES](tile, bytes=True)[:, :, :3]))
    return contact_sheet(tiles, min(columns, len(tiles)), gap=2)


def attribution_overlay(picture: np.ndarray, heat: Tensor, *, least: float | None = None) -> np.ndarray:
    """Draws an attribution map over a picture: the more a pixel contributes, the more opaque its colour.

    Args:
        picture: (H, W) or (H, W, C), as `data.draw.to_rgb` takes it.
        heat: (H, W), the contribution of each pixel.
        least: values up to this one stay clear; None for the least value of the map. The greatest value has full
            colour.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: the sizes differ.
    """
    shown = to_rgb(picture)
    if shown.shape[:2] != tuple(heat.shape):
        raise ValueError(f"picture is {shown.shape[:2]} but heat is {tuple(heat.shape)}")
    heat = heat.detach().float().cpu()
    above = (heat - (float(heat.min()) if least is None else least)).clamp_min(0)
    share = (above / above.max().clamp_min(1e-30)).numpy()[:, :, None]
    grey = cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY)[:, :, None].astype(np.float32)
    pale = 0.35 * shown + 0.35 * grey  # darker and half grey, so that the heat's own colours stand out
    colours = colormaps[HEAT](share[:, :, 0])[:, :, :3].astype(np.float32) * 255
    opacity = 0.85 * share
    return np.rint((1 - opacity) * pale + opacity * colours).astype(np.uint8)


def signed_picture(values: Tensor, *, quantile: float = 0.995) -> np.ndarray:
    """Draws values (C, H, W) of both signs as (H, W, 3) uint8: 0 is mid-grey.

    The magnitude at `quantile` becomes black or white. Three channels are shown as colours; otherwise the mean over
    channels is shown.
    """
    array = values.detach().float().cpu().permute(1, 2, 0).numpy()
    if array.shape[2] != 3:
        array = np.repeat(array.mean(2, keepdims=True), 3, axis=2)
    reach = float(np.quantile(np.abs(array), quantile)) or 1.0
    return np.rint(127.5 + 127.5 * np.clip(array / reach, -1, 1)).astype(np.uint8)


def saliency(gradient: Tensor) -> Tensor:
    """(C, H, W) -> (H, W): the largest magnitude over channels (Simonyan et al. 2014, arXiv:1312.6034, section 3.1)."""
    return torch.amax(gradient.abs(), 0)
