"""Separates objects by watershed: cuts regions at their necks, with one object per summit of a landscape."""

from __future__ import annotations

import cv2
import numpy as np


def flooded(land: np.ndarray, region: np.ndarray, min_depth: float) -> np.ndarray:
    """The watershed of a landscape turned upside down: water from the summits meets at the necks between them.

    Beucher & Lantuéjoul, 1979; with distances, Vincent & Soille, PAMI 1991.

    Args:
        land: (H, W) heights, such as the distance of each pixel from the outside of its region.
        region: (H, W) bool, the pixels of objects.
        min_depth: a summit counts if every way to a higher summit descends by at least this much. Larger values cut
            less.

    Returns:
        (H, W) integers: 0 outside the region, a number per object within it, in no particular order.
    """
    from skimage.morphology import local_maxima, reconstruction
    from skimage.segmentation import watershed

    # Cutting `min_depth` off a summit makes a plateau, which includes all lower summits that it reaches without a
    # descent. The heights outside are very low, so every region keeps at least one plateau.
    heights = np.where(region, land, np.float32(-1e9)).astype(np.float32)
    plateaus = local_maxima(reconstruction(heights - np.float32(min_depth), heights), connectivity=2) & region
    summits = cv2.connectedComponents(plateaus.astype(np.uint8), connectivity=8)[1]
    return watershed(-land, summits, mask=region, connectivity=2)


def in_order(labels: np.ndarray, min_pixels: int) -> np.ndarray:
    """(H, W) label map, 0 = no object -> int32, renumbered 1..N in the order of the objects' first pixels, row by row.

    Objects of fewer than `min_pixels` pixels are removed.
    """
    present, first, areas = np.unique(labels, return_index=True, return_counts=True)
    order = np.argsort(first)
    order = order[(present[order] > 0) & (areas[order] >= min_pixels)]
    renumber = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    renumber[present[order]] = np.arange(1, len(order) + 1)
    return renumber[labels]
