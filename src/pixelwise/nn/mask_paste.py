"""Converts masks of objects between the pixels of a picture and a grid of S x S cells inside the object's box.

A cell is 1 / S of the box wide and high. From the picture to the box, a cell's value is the share of the cell that the
object covers. From the box to the picture, a pixel's value is interpolated bilinearly between the centres of the cells.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pixelwise.data.regions import Patch


def crop_masks(label_maps: Tensor, boxes: Tensor, pictures: Tensor, ids: Tensor, size: int) -> Tensor:
    """The share of each cell of a box that an object covers.

    Args:
        label_maps: (N, H, W) integers.
        boxes: (R, 4) xyxy in pixels.
        pictures: (R,) int64, the label map of each box.
        ids: (R,) the object's id in its label map.

    Returns:
        (R, size, size) float32, 0..1; cells outside the picture are not covered.
    """
    height, width = label_maps.shape[-2:]
    rows = _shares(boxes[:, 1], boxes[:, 3], size, height)  # (R, size, H)
    columns = _shares(boxes[:, 0], boxes[:, 2], size, width)  # (R, size, W)
    found = boxes.new_empty(len(boxes), size, size)
    for number, (picture, own) in enumerate(zip(pictures.tolist(), ids.tolist(), strict=True)):
        covered = (label_maps[picture] == own).to(rows.dtype)
        found[number] = rows[number] @ covered @ columns[number].T
    return found


def _shares(low: Tensor, high: Tensor, size: int, length: int) -> Tensor:
    """(R,) edges along one axis -> (R, size, length): the part of each cell that each pixel covers."""
    steps = torch.arange(size + 1, device=low.device) / size
    edges = low[:, None] + (high - low).clamp_min(1e-6)[:, None] * steps  # (R, size + 1)
    pixels = torch.arange(length, device=low.device)
    begin = torch.maximum(edges[:, :-1, None], pixels)
    end = torch.minimum(edges[:, 1:, None], pixels + 1)
    return (end - begin).clamp_min(0) / (edges[:, 1:, None] - edges[:, :-1, None])


def paste_masks(
    masks: Tensor,
    boxes: Tensor,
    size: tuple[int, int],
    threshold: float = 0.5,
    windows: Tensor | None = None,
) -> list[Patch]:
    """The masks of boxes in a picture: all pixels whose centre has a probability of `threshold` or more.

    Args:
        masks: (R, S, S) float32 probabilities.
        boxes: (R, 4) float32 xyxy in pixels.
        size: height and width of the picture.
        windows: (R, 4) float32 xyxy in pixels, the windows that the masks cover; None for the boxes.

    Returns:
        One patch per box, as large as the pixels that the box touches.
    """
    pieces = []
    covered = boxes if windows is None else windows
    for mask, box, window in zip(masks, boxes.tolist(), covered.tolist(), strict=True):
        left, top = (max(math.floor(edge), 0) for edge in box[:2])
        right, bottom = (min(math.ceil(edge), limit) for edge, limit in zip(box[2:], size[::-1], strict=True))
        rows = _interpolation(top, max(bottom, top), window[1], window[3], len(mask))
        columns = _interpolation(left, max(right, left), window[0], window[2], len(mask))
        pieces.append(Patch(top, left, (rows @ mask @ columns.T >= threshold).numpy()))
    return pieces


def _interpolation(begin: int, end: int, low: float, high: float, size: int) -> Tensor:
    """(end - begin, size): the weights of the cells at the centre of each pixel, 0 for centres outside the box."""
    centres = torch.arange(begin, end) + 0.5
    at = (centres - low) / max(high - low, 1e-6) * size - 0.5
    weights = (1 - (at.clamp(0, size - 1)[:, None] - torch.arange(size)).abs()).clamp_min(0)
    return weights * ((centres > low) & (centres < high))[:, None]
