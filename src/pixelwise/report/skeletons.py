"""Draws joints and the lines between them over a picture."""

from __future__ import annotations

import cv2
import numpy as np

from pixelwise.data.draw import to_rgb
from pixelwise.data.joints import Joints

LEFT, RIGHT, MIDDLE = (86, 180, 233), (230, 120, 20), (240, 228, 66)
"""Colours of the person's left side, right side and middle, after Okabe and Ito."""
_OF_SIDE = {"left": LEFT, "right": RIGHT, "": MIDDLE}


def draw_skeletons(
    image: np.ndarray, points: np.ndarray, present: np.ndarray, joints: Joints, *, extent: float | None = None
) -> np.ndarray:
    """A picture with the skeletons of people drawn on it.

    Args:
        image: (H, W) or (H, W, C), as `data.draw.to_rgb` takes it.
        points: (P, J, 2) x and y in pixels; parts outside the picture are cut off.
        present: (P, J) bool; absent joints and the lines to them are left out.
        extent: side in pixels of the visible part of the picture, which decides the thickness of lines; None for the
            whole picture.

    Returns:
        (H, W, 3) uint8.
    """
    drawn = np.ascontiguousarray(to_rgb(image).copy())
    line = max(1, round((extent or max(drawn.shape[:2])) / 130))
    shift = 3  # OpenCV's coordinates in eighths of a pixel, whose centres are at whole numbers
    for own, known in zip(points, present, strict=True):
        eighths = [tuple(int(v) for v in np.clip(np.rint((point - 0.5) * 2**shift), -(2**20), 2**20)) for point in own]
        for width, dark in ((line + max(2, line), True), (line, False)):
            for one, other in joints.skeleton:
                if known[one] and known[other]:
                    side = joints.side_of(one) if joints.side_of(one) == joints.side_of(other) else ""
                    colour = (20, 20, 20) if dark else _OF_SIDE[side]
                    cv2.line(drawn, eighths[one], eighths[other], colour, width, cv2.LINE_AA, shift)
        for joint in np.flatnonzero(known).tolist():
            radius = round(1.3 * line * 2**shift)
            cv2.circle(drawn, eighths[joint], radius + 2**shift, (20, 20, 20), -1, cv2.LINE_AA, shift)
            cv2.circle(drawn, eighths[joint], radius, _OF_SIDE[joints.side_of(joint)], -1, cv2.LINE_AA, shift)
    return drawn
