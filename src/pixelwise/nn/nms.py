"""Non-maximum suppression: of overlapping boxes on one object it keeps the most confident."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, threshold: float, groups: Tensor | None = None) -> Tensor:
    """Keeps the box of the highest confidence, drops boxes whose IoU with it is above the threshold, and repeats this.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,) confidences; of equal ones the first counts as higher.
        groups: (N,) integers, such as class ids: only boxes of one group suppress each other. None for one group.

    Returns:
        (K,) int64 indices of the kept boxes, in descending order of confidence.
    """
    order = scores.argsort(descending=True, stable=True)
    corners = boxes.detach().float()[order].cpu().numpy().astype(np.float64)
    if groups is not None and len(corners):
        # Moves groups so far apart that their boxes cannot touch. Float64, so that no digit of a box is lost.
        far = corners.max() - corners.min() + 1
        corners += groups[order].cpu().numpy().astype(np.float64)[:, None] * far
    return order[torch.from_numpy(_greedy(corners, threshold)).to(order.device)]


BLOCK = 128
"""Number of boxes that are compared with each other before the kept ones suppress all remaining boxes at once."""


def _greedy(boxes: np.ndarray, threshold: float) -> np.ndarray:
    """(N, 4) float64 in descending order of confidence -> indices of the kept boxes.

    It works block by block. A box can suppress others only after it is known whether it is kept itself, and this
    depends only on the boxes before it.
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
    # Without a division, so that two boxes without an area, whose IoU is 0, are both kept.
    return shared > threshold * (areas[0] + areas[1] - shared)
