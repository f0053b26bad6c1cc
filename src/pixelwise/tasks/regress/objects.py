"""Objects out of a map of distances: each is a hill."""

from __future__ import annotations

import numpy as np

from pixelwise.inference.summits import flooded, in_order


def objects_of_distances(
    distances: np.ndarray, *, least: float = 0.5, min_depth: float = 0.75, min_pixels: int = 0
) -> np.ndarray:
    """Objects from the distance of each pixel to the border of its object, as `data.distances` makes it.

    Args:
        distances: (H, W) in pixels, predicted or true; 0 and below where there is no object.
        least: pixels of a larger distance belong to objects.
        min_depth: two hills are two objects if the way between them leads down by so many pixels at least.
        min_pixels: smaller objects are left out.

    Returns:
        (H, W) int32 label map: 0 elsewhere, 1..N in the order in which rows from the top meet the objects.
    """
    return in_order(flooded(distances.astype(np.float32), distances > least, min_depth), min_pixels)
