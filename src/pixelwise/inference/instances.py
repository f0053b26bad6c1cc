"""Objects out of class masks."""

from __future__ import annotations

import cv2
import numpy as np


def connected_components(mask: np.ndarray, class_id: int, min_pixels: int = 0) -> np.ndarray:
    """Numbers the connected regions of one class; pixels that touch at a corner are connected.

    Args:
        mask: (H, W) class ids.
        min_pixels: smaller regions are left out.

    Returns:
        (H, W) int32 label map: 0 elsewhere, 1..N without gaps in the order in which rows from the top meet them.
    """
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(
        (mask == class_id).astype(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    keep = statistics[:, cv2.CC_STAT_AREA] >= min_pixels
    keep[0] = False
    # OpenCV's numbers follow its own scan of blocks: they are put in the order of the regions' first pixels.
    present, first = np.unique(labels, return_index=True)
    order = present[np.argsort(first)]
    order = order[keep[order]]
    renumber = np.zeros(count, np.int32)
    renumber[order] = np.arange(1, len(order) + 1)
    return renumber[labels]
