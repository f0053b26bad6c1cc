"""Whether a file looks like a mask or like a picture, for folders whose names do not decide it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from pixelwise.data.pictures import read_ids, read_picture
from pixelwise.data.splits import even_sample
from pixelwise.errors import UserError

SAMPLE = 8
"""How many pairs are looked at."""
MIN_FLAT = 0.3
"""A mask has at least this share of pixels that equal all their neighbours."""
MAX_VALUES = 40
"""Files that only look like masks, without a name that says so, must hold between two values and this many, and their
pictures more."""
SAME_FIELD = 0.9
_SIDE = 512


def second_are_masks(pairs: Sequence[tuple[Path, Path]], *, strict: bool = False) -> bool:
    """Whether the second files of pairs are masks of the first: flat areas next to pictures that are less flat.

    `SAMPLE` of the pairs, spread evenly, are looked at, and nearly all of them must agree.

    Args:
        strict: also require few values in the masks and many in the pictures, if no name says that these are masks.
    """
    looked = [_looks(pair, strict=strict) for pair in even_sample(pairs, SAMPLE)]
    return bool(looked) and sum(looked) >= 0.8 * len(looked)


def are_fields_of_view(masks: Sequence[Path]) -> bool:
    """Whether the masks of several pictures are black and white, mark most of the picture but not all of it, and agree
    by an IoU of `SAME_FIELD` or more, judged by `SAMPLE` of them."""
    seen: list[np.ndarray] = []
    for mask in even_sample(masks, SAMPLE):
        try:
            ids = read_ids(mask)
        except UserError:  # reported when that mask is read
            continue
        if len(np.unique(ids)) != 2:
            return False
        seen.append(ids > 0)
    if len(seen) < 3 or not 0.5 <= seen[0].mean() < 1:
        return False
    first, *rest = seen
    return all(
        other.shape == first.shape and (first & other).sum() >= SAME_FIELD * (first | other).sum() for other in rest
    )


def _looks(pair: tuple[Path, Path], *, strict: bool) -> bool:
    try:
        (picture_flat, colours), (mask_flat, values) = (_measured(file) for file in pair)
    except UserError:  # damaged files are reported when they are read
        return False
    if strict and (not 2 <= values <= MAX_VALUES < colours or mask_flat < 2 * MIN_FLAT):
        return False
    return mask_flat >= MIN_FLAT and mask_flat > picture_flat


def _measured(file: Path) -> tuple[float, int]:
    status = file.stat()
    return _measure(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _measure(file: Path, modified: int, size: int) -> tuple[float, int]:
    """The share of pixels that equal all eight neighbours, and the number of distinct colours, in the middle part."""
    image = read_picture(file)
    height, width = image.shape[:2]
    top, left = max(height - _SIDE, 0) // 2, max(width - _SIDE, 0) // 2
    part = image[top : top + _SIDE, left : left + _SIDE]
    values = len(np.unique(part.reshape(-1, part.shape[2]), axis=0))
    if part.dtype not in (np.uint8, np.uint16):
        part = part.astype(np.float32)
    square = np.ones((3, 3), np.uint8)
    flat = np.ones(part.shape[:2], bool)
    for channel in np.moveaxis(part, 2, 0):
        channel = np.ascontiguousarray(channel)
        flat &= cv2.dilate(channel, square) == cv2.erode(channel, square)
    return float(flat.mean()), values
