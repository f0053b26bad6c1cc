"""Polygons that cover exactly the given pixels."""

from __future__ import annotations

import cv2
import numpy as np

from pixelwise.data.regions import Patch, fill

FINENESS = 3
"""Outlines are drawn on a grid this many times finer than the pixels, so that they run between the pixels' centres."""
TOLERANCES = (2.0, 1.0, 0.0)
"""By how many cells of the fine grid a polygon may leave the outline; the largest that keeps all pixels is used."""

LITTLE = 0.01
"""Rounded coordinates may be off by less than this many pixels."""


def outline(patch: Patch) -> np.ndarray | None:
    """The polygon (N, 2) with the fewest corners, among a few candidates, that covers exactly these pixels, or None.

    There is no such polygon if the pixels have holes or more than one part.
    """
    contours = _contours(patch.mask)
    if len(contours) != 1:
        return None
    for tolerance in TOLERANCES:
        ring = _simplified(contours[0], tolerance)
        if _covers(ring, patch.mask):
            return np.asarray(ring + np.array([patch.left, patch.top]))
    return None


def joined_ring(patch: Patch) -> np.ndarray:
    """One polygon (N, 2) that covers exactly these pixels by the even-odd rule, with any holes and parts.

    Bridges of zero width, which the polygon crosses there and back, lead to each further part and hole.
    """
    contours = _contours(patch.mask)
    for tolerance in TOLERANCES:
        path = _bridged([_simplified(contour, tolerance) for contour in contours])
        if _covers(path, patch.mask):
            break  # the last candidate, the border itself, always covers them
    return np.asarray(path + np.array([patch.left, patch.top]))


def _covers(ring: np.ndarray, mask: np.ndarray) -> bool:
    """Whether a polygon covers exactly these pixels, and still does after a small shift: then no pixel's centre is so
    close to it that rounded coordinates would cover other pixels."""
    if len(ring) < 3:
        return False
    shifts = LITTLE * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    return all(np.array_equal(fill([ring + shift], *mask.shape), mask) for shift in shifts)


def _contours(mask: np.ndarray) -> list[np.ndarray]:
    """The outer borders and the borders of holes, on the fine grid."""
    fine = np.kron(np.pad(mask, 1), np.ones((FINENESS, FINENESS), bool)).astype(np.uint8)
    return list(cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0])


def _simplified(contour: np.ndarray, tolerance: float) -> np.ndarray:
    """A contour of the fine grid as corners (N, 2) in pixels of the mask."""
    ring = cv2.approxPolyDP(contour, tolerance, True)[:, 0].astype(np.float64)
    return np.asarray(np.round((ring + 0.5) / FINENESS - 1, 3))


def _bridged(rings: list[np.ndarray]) -> np.ndarray:
    """The rings as one path, each joined where its corner is nearest to the path so far."""
    path = rings[0]
    for ring in rings[1:]:
        distance = np.linalg.norm(path[:, None] - ring[None], axis=-1)
        here, there = np.unravel_index(distance.argmin(), distance.shape)
        turned = np.roll(ring, -int(there), axis=0)
        path = np.concatenate([path[: here + 1], turned, turned[:1], path[here:]])
    return path
