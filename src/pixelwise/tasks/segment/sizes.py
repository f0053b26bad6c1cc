"""Measures how thin and how large the pieces of each class are in masks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from pixelwise.data.sample import VOID

OVERVIEW_PIXELS = 1 << 18
"""Pixels of the reduced mask on which the lengths of pieces are measured."""


@dataclass(frozen=True, slots=True)
class ClassSize:
    """Typical sizes of one class, in pixels.

    Attributes:
        width: twice the area divided by the perimeter, which is the width of strips and half the diameter of discs.
        length: half of the class's pixels lie in connected pieces whose longer side is at least this.
    """

    width: float
    length: float


def class_sizes(masks: Iterable[np.ndarray], num_classes: int) -> list[ClassSize | None]:
    """Sizes of each class over masks (H, W) of class ids; None for classes that no mask has.

    Perimeters are the number of pixel edges times pi / 4, which is right on average over all directions (Crofton).
    Borders with void count as edges, the border of the picture does not.
    """
    area, edges = np.zeros(256, np.int64), np.zeros(256, np.int64)
    pieces: list[list[tuple[float, int]]] = [[] for _ in range(num_classes)]  # (longer side, pixels)
    for mask in masks:
        area += np.bincount(mask.ravel(), minlength=256)
        for first, second in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
            differs = first != second
            for side in (first, second):
                edges += np.bincount(side[differs], minlength=256)
        for class_id, found in _pieces(mask):
            if class_id < num_classes:
                pieces[class_id] += found
    sizes: list[ClassSize | None] = []
    for class_id, found in enumerate(pieces):
        if not area[class_id]:
            sizes.append(None)
            continue
        perimeter = np.pi / 4 * edges[class_id]
        width = float(2 * area[class_id] / perimeter) if perimeter else float("inf")
        sizes.append(ClassSize(width, _half(found)))
    return sizes


def _pieces(mask: np.ndarray) -> list[tuple[int, list[tuple[float, int]]]]:
    """The longer side and the pixels of each connected piece by class, measured on a mask of reduced size."""
    step = max(1, int(np.ceil(np.sqrt(mask.size / OVERVIEW_PIXELS))))
    reduced = np.ascontiguousarray(mask[::step, ::step])
    found = []
    for class_id in np.flatnonzero(np.bincount(reduced.ravel(), minlength=256)[:VOID]).tolist():
        statistics = cv2.connectedComponentsWithStats((reduced == class_id).view(np.uint8), connectivity=8)[2][1:]
        sides = step * statistics[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
        found.append((class_id, list(zip(sides.tolist(), statistics[:, cv2.CC_STAT_AREA].tolist(), strict=True))))
    return found


def _half(pieces: list[tuple[float, int]]) -> float:
    """The longer side for which half of all pixels lie in pieces that are at least as long; 0 without pieces."""
    if not pieces:
        return 0.0
    ordered = sorted(pieces, reverse=True)
    reached = np.cumsum([pixels for _, pixels in ordered])
    return float(ordered[int(np.searchsorted(reached, reached[-1] / 2))][0])
