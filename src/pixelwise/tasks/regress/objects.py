"""Finds objects in a map of distances, in which each object is a hill."""

from __future__ import annotations

import numpy as np

from pixelwise.inference.summits import flooded, in_order


def objects_of_distances(
    distances: np.ndarray, *, least: float = 0.5, min_depth: float = 0.75, min_pixels: int = 0
) -> np.ndarray:
    """Finds objects from the distance of each pixel to the border of its object, as computed by `data.distances`.

    Args:
        distances: (H, W) in pixels, predicted or true; 0 or less outside of objects.
        least: pixels with a larger distance belong to objects.
        min_depth: two hills are two objects if every path between them descends by at least this many pixels.
        min_pixels: smaller objects are left out.

    Returns:
        (H, W) int32 label map: 0 for no object, 1..N in the order in which the objects begin, row by row from the top.
    """
    return in_order(flooded(distances.astype(np.float32), distances > least, min_depth), min_pixels)
