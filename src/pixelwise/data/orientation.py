"""The eight orientations of EXIF and TIFF (tag 274): how stored rows and columns become the upright picture."""

from __future__ import annotations

import numpy as np

TAG = 0x0112
"""The number of the orientation tag in both EXIF and TIFF."""

# Orientation -> whether rows and columns change places, and whether the rows and the columns are then reversed.
_STEPS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def valid(value: object) -> int:
    """An orientation that a file states; 1, upright, for anything but 1 to 8."""
    return value if isinstance(value, int) and value in _STEPS else 1


def swaps_sides(orientation: int) -> bool:
    """Whether the upright picture is as wide as the stored picture is high."""
    return _STEPS[orientation][0]


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, ...) values as they are stored -> the upright picture, contiguous."""
    if orientation == 1:
        return stored
    swapped, rows, columns = _STEPS[orientation]
    turned = np.swapaxes(stored, 0, 1) if swapped else stored
    return np.ascontiguousarray(turned[:: -1 if rows else 1, :: -1 if columns else 1])


def stored_window(
    window: tuple[int, int, int, int], height: int, width: int, orientation: int
) -> tuple[int, int, int, int]:
    """The position in the stored picture of a window of the upright one.

    Args:
        window: top, bottom, left, right.
        height, width: size of the upright picture.

    Returns:
        Top, bottom, left, right in the stored picture; `upright` of that part is the window.
    """
    top, bottom, left, right = window
    swapped, rows, columns = _STEPS[orientation]
    if rows:
        top, bottom = height - bottom, height - top
    if columns:
        left, right = width - right, width - left
    return (left, right, top, bottom) if swapped else (top, bottom, left, right)
