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


def _greedy(boxes: np.ndarray, threshold: float) -> np.ndarray:
    """(N, 4) float64 in falling order of score -> indices of those that stay."""
    left, top, right, bottom = boxes.T
    areas = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    remaining = np.arange(len(boxes))
    kept = []
    while len(remaining):
        best, remaining = remaining[0], remaining[1:]
        kept.append(best)
        width = np.minimum(right[remaining], right[best]) - np.maximum(left[remaining], left[best])
        height = np.minimum(bottom[remaining], bottom[best]) - np.maximum(top[remaining], top[best])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        # Without a division, so that two boxes without an area, whose IoU is 0, both stay.
        union = areas[remaining] + areas[best] - shared
        remaining = remaining[shared <= threshold * union]
    return np.array(kept, np.int64)
