"""Files that hold two pictures side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pixelwise.errors import UserError

LEFT, RIGHT = "left", "right"


def opposite(half: str) -> str:
    """The other half of a file; the whole file for the whole file."""
    return {LEFT: RIGHT, RIGHT: LEFT}.get(half, half)


def half_width(width: int, half: str, file: Path | str) -> int:
    """The width of a picture that is a half of a file with this width, or the whole file if `half` is empty.

    Raises:
        UserError: an odd width.
    """
    if half and width % 2:
        raise UserError(
            f"{file}: {width} pixels wide, which is odd, so the two pictures in it are not equally wide; save them at "
            "one width each, or as two files in a/ and b/.",
            code="odd-width",
        )
    return width // 2 if half else width


def half_of(image: np.ndarray, half: str, file: Path | str) -> np.ndarray:
    """The left or right half of a picture (H, W, C), or all of it if `half` is empty.

    Raises:
        UserError: an odd width.
    """
    if not half:
        return image
    width = half_width(image.shape[1], half, file)
    return np.ascontiguousarray(image[:, :width] if half == LEFT else image[:, width:])
