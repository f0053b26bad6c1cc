"""Non-maximum suppression: of boxes that lie on one object the most confident one stays."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, threshold: float, groups: Tensor | None = None) -> Tensor:
    """Takes the box of the highest score, drops those whose IoU with it is above the threshold, and so on.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,); of equal ones the first counts as the higher.
        groups: (N,) integers, such as class ids: only boxes of one group suppress each other. None for one group.

    Returns:
        (K,) int64 indices of the boxes that stay, in falling order of score.
    """
    order = scores.argsort(descending=True, stable=True)
    corners = boxes.detach().float()[order].cpu().numpy().astype(np.float64)
    if groups is not None and len(corners):
        # Moved apart so far that boxes of different groups cannot touch. Float64, so that no digit of a box is lost.
        far = corners.max() - corners.min() + 1
        corners += groups[order].cpu().numpy().astype(np.float64)[:, None] * far
    return order[torch.from_numpy(_greedy(corners, threshold)).to(order.device)]


BLOCK = 128
"""Boxes that are decided among themselves before they suppress all others at once."""


def _greedy(boxes: np.ndarray, threshold: float) -> np.ndarray:
    """(N, 4) float64 in falling order of score -> indices of those that stay.

    Block by block: what a box suppresses is known as soon as all boxes before it are decided.
    """
    remaining = np.arange(len(boxes))
    kept = [np.zeros(0, np.int64)]
    while len(remaining):
        block, remaining = remaining[:BLOCK], remaining[BLOCK:]
        suppressed = _overlapping(boxes[block], boxes[block], threshold)
        alive = np.ones(len(block), bool)
        for number in range(len(block)):
            if alive[number]:
                alive[number + 1 :] &= ~suppressed[number, number + 1 :]
        kept.append(block[alive])
        remaining = remaining[~_overlapping(boxes[block[alive]], boxes[remaining], threshold).any(0)]
    return np.concatenate(kept)


def _overlapping(first: np.ndarray, second: np.ndarray, threshold: float) -> np.ndarray:
    """(N, 4), (M, 4) -> (N, M) bool: whether the IoU is above the threshold."""
    one, other = first[:, None], second[None]
    width = np.minimum(one[..., 2], other[..., 2]) - np.maximum(one[..., 0], other[..., 0])
    height = np.minimum(one[..., 3], other[..., 3]) - np.maximum(one[..., 1], other[..., 1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    areas = [np.prod(np.maximum(each[..., 2:] - each[..., :2], 0), -1) for each in (one, other)]
    # Without a division, so that two boxes without an area, whose IoU is 0, both stay.
    return shared > threshold * (areas[0] + areas[1] - shared)
