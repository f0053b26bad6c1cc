"""Separates the objects in class masks."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from pixelwise.data.sample import VOID
from pixelwise.inference.summits import flooded, in_order


def connected_components(mask: np.ndarray, class_id: int, min_pixels: int = 0) -> np.ndarray:
    """Numbers the connected regions of one class; pixels that touch at a corner are connected.

    Args:
        mask: (H, W) class ids.
        min_pixels: smaller regions are left out.

    Returns:
        (H, W) int32 label map: 0 elsewhere, and 1..N in the order of the regions' first pixels, row by row.
    """
    labels = cv2.connectedComponents((mask == class_id).astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)[1]
    return in_order(labels, min_pixels)


def watershed(mask: np.ndarray, class_id: int, min_pixels: int = 0, min_depth: float = 0.75) -> np.ndarray:
    """Separates the objects of one class by watershed: objects that touch are cut where they are narrowest.

    The distance of each pixel from the outside of its region is a landscape with a summit in each round object; water
    from the summits meets at the necks between them. Beucher & Lantuéjoul, 1979; with distances, Vincent & Soille, PAMI
    1991. Objects that are not roughly round may be cut into several parts.

    Args:
        mask: (H, W) class ids.
        min_pixels: smaller objects are left out.
        min_depth: a summit counts if every way to a higher summit descends by at least this many pixels. Larger values
            cut less.

    Returns:
        A label map like that of `connected_components`; if nothing is cut, the same one.
    """
    # A border of other classes, since objects end at the picture's border as well.
    region = np.pad(mask == class_id, 1)
    distance = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return in_order(flooded(distance, region, min_depth)[1:-1, 1:-1], min_pixels)


def label_objects(mask: np.ndarray, instances: Instances) -> tuple[np.ndarray, np.ndarray]:
    """The objects of all classes but 0, in ascending order of their classes.

    Args:
        mask: (H, W) class ids, 255 = void.
        instances: the function that separates the objects of a class, see `INSTANCES`.

    Returns:
        (H, W) int32 label map, 0 where there is no object, and the class ids (N,) of objects 1 to N.
    """
    labels = np.zeros(mask.shape, np.int32)
    classes: list[int] = []
    for class_id in np.setdiff1d(mask, (0, VOID)).tolist():
        found = instances(mask, class_id)
        labels = np.where(found > 0, found + len(classes), labels)
        classes += [class_id] * int(found.max(initial=0))
    return labels, np.array(classes, np.int64)


Instances = Callable[[np.ndarray, int], np.ndarray]

INSTANCES: dict[str, Instances] = {"components": connected_components, "watershed": watershed}
"""Ways to separate objects: name -> function of (H, W) class ids and a class id that returns a label map."""

BEST = "best"
"""Instead of a name in `INSTANCES`: tries each of them, to find the one whose objects match the true objects best."""
