"""Boxes as tensors: (left, top, right, bottom) in pixels, continuous coordinates.

Pixel (row, column) covers row..row + 1 and column..column + 1, so a box of one pixel is 1 wide and 1 high, and nothing
is added to a difference of edges. Leading axes are arbitrary and broadcast.
"""

from __future__ import annotations

import torch
from torch import Tensor


def area(boxes: Tensor) -> Tensor:
    """(..., 4) -> (...) in square pixels; 0 for a box whose edges are the wrong way round.

    >>> area(torch.tensor([[1.0, 2.0, 4.0, 4.0], [4.0, 0.0, 1.0, 9.0]])).tolist()
    [6.0, 0.0]
    """
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp_min(0)
    return sides[..., 0] * sides[..., 1]


def intersection(first: Tensor, second: Tensor) -> Tensor:
    """(..., 4), (..., 4) -> (...) square pixels that both boxes cover."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    return area(torch.cat([low, high], -1))


def iou(first: Tensor, second: Tensor) -> Tensor:
    """(..., 4), (..., 4) -> (...) intersection over union, box by box; 0 where neither has an area."""
    both = intersection(first, second)
    union = area(first) + area(second) - both
    return both / union.where(union > 0, 1)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """(..., N, 4), (..., M, 4) -> (..., N, M) intersection over union of every pair."""
    one, other = first.unsqueeze(-2), second.unsqueeze(-3)
    # Edge by edge, so that no tensor of all pairs has a last axis of four.
    width = torch.minimum(one[..., 2], other[..., 2]) - torch.maximum(one[..., 0], other[..., 0])
    height = torch.minimum(one[..., 3], other[..., 3]) - torch.maximum(one[..., 1], other[..., 1])
    both = width.clamp_min(0) * height.clamp_min(0)
    union = area(first).unsqueeze(-1) + area(second).unsqueeze(-2) - both
    return both / union.where(union > 0, 1)


def covered_share(boxes: Tensor, by: Tensor) -> Tensor:
    """(..., N, 4), (..., M, 4) -> (..., N) largest share of each box's area that one of the others covers.

    0 where there are no others, or the box has no area; others that are NaN cover nothing.

    >>> covered_share(torch.tensor([[0.0, 0.0, 4.0, 1.0]]), torch.tensor([[3.0, 0.0, 9.0, 9.0]])).tolist()
    [0.25]
    """
    if not by.shape[-2]:
        return boxes.new_zeros(boxes.shape[:-1])
    both = intersection(boxes.unsqueeze(-2), by.unsqueeze(-3)).nan_to_num(0.0)
    own = area(boxes)
    return both.amax(-1) / own.where(own > 0, 1)


def clip(boxes: Tensor, height: float, width: float) -> Tensor:
    """(..., 4) -> the part of each box within a picture; without an area where there is none."""
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack([x, y], -1).flatten(-2)


def rescale(boxes: Tensor, vertical: float, horizontal: float) -> Tensor:
    """(..., 4) -> the same boxes in a picture whose height and width are that many times as large."""
    return boxes * boxes.new_tensor([horizontal, vertical, horizontal, vertical])


def to_centre_size(boxes: Tensor) -> Tensor:
    """(..., 4) xyxy -> (..., 4): x and y of the centre, width, height.

    >>> to_centre_size(torch.tensor([1.0, 2.0, 4.0, 4.0])).tolist()
    [2.5, 3.0, 3.0, 2.0]
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


def from_centre_size(boxes: Tensor) -> Tensor:
    """(..., 4): x and y of the centre, width, height -> (..., 4) xyxy."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)
