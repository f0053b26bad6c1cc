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
    corners = np.ascontiguousarray(boxes.detach().float()[order].cpu().numpy().T)
    if groups is None:
        kept = _greedy(corners, threshold)
    else:
        own = groups[order].cpu().numpy()
        members = [np.flatnonzero(own == group) for group in np.unique(own)]
        parts = [each[_greedy(corners[:, each], threshold)] for each in members]
        kept = np.sort(np.concatenate([np.zeros(0, np.int64), *parts]))
    return order[torch.from_numpy(kept).to(order.device)]


BLOCK = 128
"""Number of boxes that are compared with each other before the kept ones suppress all remaining boxes at once."""


def _greedy(corners: np.ndarray, threshold: float) -> np.ndarray:
    """(4, N) float32 xyxy in descending order of confidence -> indices of the kept boxes.

    It works block by block. A box can suppress others only after it is known whether it is kept itself, and this
    depends only on the boxes before it.
    """
    boxes = np.concatenate([corners, _areas(corners)])
    remaining = np.arange(boxes.shape[1])
    kept = [np.zeros(0, np.int64)]
    while len(remaining):
        block, remaining = remaining[:BLOCK], remaining[BLOCK:]
        suppressed = _overlapping(boxes[:, block], boxes[:, block], threshold)
        alive = np.ones(len(block), bool)
        for number in range(len(block)):
            if alive[number]:
                alive[number + 1 :] &= ~suppressed[number, number + 1 :]
        kept.append(block[alive])
        remaining = remaining[~_overlapping(boxes[:, block[alive]], boxes[:, remaining], threshold).any(0)]
    return np.concatenate(kept)


def _areas(corners: np.ndarray) -> np.ndarray:
    """(4, N) -> (1, N); a box whose sides are not in order has no area."""
    return np.prod(np.maximum(corners[2:] - corners[:2], 0), 0, keepdims=True)


def _overlapping(first: np.ndarray, second: np.ndarray, threshold: float) -> np.ndarray:
    """Corners and areas (5, N), (5, M) -> (N, M) bool: whether the IoU is above the threshold."""
    one, other = first[:, :, None], second[:, None]
    shared, height = (np.minimum(one[axis], other[axis]) for axis in (2, 3))
    shared -= np.maximum(one[0], other[0])
    height -= np.maximum(one[1], other[1])
    np.maximum(shared, 0, out=shared)
    np.maximum(height, 0, out=height)
    shared *= height
    # IoU > t without a division, so that two boxes without an area, whose IoU is 0, are both kept.
    limit = (one[4] + other[4]) * np.float32(threshold / (1 + threshold))
    return np.asarray(shared > limit)
