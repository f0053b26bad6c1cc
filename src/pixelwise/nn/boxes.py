"""Boxes as tensors: (left, top, right, bottom) in pixels, continuous coordinates.

Pixel (row, column) covers row..row + 1 and column..column + 1. A box around one pixel is therefore 1 wide and 1 high,
and a width is simply the difference of two edges. Leading axes are arbitrary and broadcast.
"""

from __future__ import annotations

import torch
from torch import Tensor


def area(boxes: Tensor) -> Tensor:
    """Areas of boxes (..., 4) -> (...) in square pixels; 0 for a box whose edges are the wrong way round.

    >>> area(torch.tensor([[1.0, 2.0, 4.0, 4.0], [4.0, 0.0, 1.0, 9.0]])).tolist()
    [6.0, 0.0]
    """
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp_min(0)
    return sides[..., 0] * sides[..., 1]


def intersection(first: Tensor, second: Tensor) -> Tensor:
    """Area that both boxes cover: (..., 4), (..., 4) -> (...) in square pixels."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    return area(torch.cat([low, high], -1))


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union, box by box: (..., 4), (..., 4) -> (...); 0 if neither box has an area."""
    both = intersection(first, second)
    union = area(first) + area(second) - both
    return both / union.where(union > 0, 1)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of every pair of boxes: (..., N, 4), (..., M, 4) -> (..., N, M)."""
    one, other = first.unsqueeze(-2), second.unsqueeze(-3)
    # Edge by edge, to avoid a tensor of all pairs with a last axis of four.
    width = torch.minimum(one[..., 2], other[..., 2]) - torch.maximum(one[..., 0], other[..., 0])
    height = torch.minimum(one[..., 3], other[..., 3]) - torch.maximum(one[..., 1], other[..., 1])
    both = width.clamp_min(0) * height.clamp_min(0)
    union = area(first).unsqueeze(-1) + area(second).unsqueeze(-2) - both
    return both / union.where(union > 0, 1)


def covered_share(boxes: Tensor, by: Tensor) -> Tensor:
    """Largest share of each box's area that a single box of `by` covers: (..., N, 4), (..., M, 4) -> (..., N).

    0 if `by` is empty or the box has no area. Boxes of `by` that are NaN cover nothing.

    >>> covered_share(torch.tensor([[0.0, 0.0, 4.0, 1.0]]), torch.tensor([[3.0, 0.0, 9.0, 9.0]])).tolist()
    [0.25]
    """
    if not by.shape[-2]:
        return boxes.new_zeros(boxes.shape[:-1])
    both = intersection(boxes.unsqueeze(-2), by.unsqueeze(-3)).nan_to_num(0.0)
    own = area(boxes)
    return both.amax(-1) / own.where(own > 0, 1)


def clip(boxes: Tensor, height: float, width: float) -> Tensor:
    """The part of each box (..., 4) that lies within the picture; a box outside it has no area afterwards."""
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack([x, y], -1).flatten(-2)


def rescale(boxes: Tensor, vertical: float, horizontal: float) -> Tensor:
    """Boxes (..., 4) in a picture whose height and width are multiplied by these factors."""
    return boxes * boxes.new_tensor([horizontal, vertical, horizontal, vertical])


def to_centre_size(boxes: Tensor) -> Tensor:
    """Converts boxes (..., 4) from xyxy to x and y of the centre, width, height.

    >>> to_centre_size(torch.tensor([1.0, 2.0, 4.0, 4.0])).tolist()
    [2.5, 3.0, 3.0, 2.0]
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


def from_centre_size(boxes: Tensor) -> Tensor:
    """Converts boxes (..., 4) from x and y of the centre, width, height to xyxy."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)
