"""Regions cut apart at their necks: one object for each summit of a landscape."""

from __future__ import annotations

import cv2
import numpy as np


def flooded(land: np.ndarray, region: np.ndarray, min_depth: float) -> np.ndarray:
    """Water that rises from the summits of a landscape turned upside down meets at the necks between them.

    Beucher & Lantuéjoul, 1979; by distances, Vincent & Soille, PAMI 1991.

    Args:
        land: (H, W) heights, such as the distance of each pixel from the outside of its region.
        region: (H, W) bool, where there are objects.
        min_depth: a summit counts if the way to a higher one leads down by so much at least; more cuts less.

    Returns:
        (H, W) integers: 0 outside the region, a number per object within it, in no particular order.
    """
    from skimage.morphology import local_maxima, reconstruction
    from skimage.segmentation import watershed

    # Summits cut off by `min_depth` become plateaus, one with all lower summits that it reaches without a descent; the
    # sea around is bottomless, so that every region keeps at least one.
    heights = np.where(region, land, np.float32(-1e9)).astype(np.float32)
    plateaus = local_maxima(reconstruction(heights - np.float32(min_depth), heights), connectivity=2) & region
    summits = cv2.connectedComponents(plateaus.astype(np.uint8), connectivity=8)[1]
    return watershed(-land, summits, mask=region, connectivity=2)


def in_order(labels: np.ndarray, min_pixels: int) -> np.ndarray:
    """(H, W) label map, 0 = no object -> int32, 1..N in the order in which rows from the top meet the objects."""
    present, first, areas = np.unique(labels, return_index=True, return_counts=True)
    order = np.argsort(first)
    order = order[(present[order] > 0) & (areas[order] >= min_pixels)]
    renumber = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    renumber[present[order]] = np.arange(1, len(order) + 1)
    return renumber[labels]
