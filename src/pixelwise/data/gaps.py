"""Pixels without a value: NaN, infinities, and the numbers that programs write in their place (no-data).

Networks and statistics need numbers everywhere, so gaps are filled with the mean of their channel's known values. A
pixel that has no value in any channel is unknown: it is void in training and in predictions.
"""

from __future__ import annotations

import numpy as np

CONVENTIONS = (-9999.0, -99999.0, -32767.0, -32768.0, -2147483648.0)
"""Numbers that stand for "no value" in pictures of floats and signed integers, even if no tag says so."""
HUGE = 1e18
"""Floats of this size and beyond stand for "no value": -3.4e38 is the lowest float32, 1e20 fills climate data."""
LONE_SHARE = 0.005
"""A value that may stand for "no value" is reported if it covers this part of the picture."""


def find_gaps(image: np.ndarray, nodata: float | None = None) -> np.ndarray | None:
    """(H, W, C) bool, where values are missing; None if none is missing.

    In float32 pictures each value counts by itself. In pictures of unsigned integers a pixel is a gap only if all its
    channels hold `nodata`, because a dark pixel may well hold it in one of them.

    Args:
        nodata: the value that the file declares as "no value".
    """
    if image.dtype.kind == "u":
        if nodata is None or nodata != np.rint(nodata) or not 0 <= nodata <= np.iinfo(image.dtype).max:
            return None
        gaps = np.broadcast_to((image == image.dtype.type(nodata)).all(axis=2, keepdims=True), image.shape)
    else:
        low, high = image.min(initial=0), image.max(initial=0)  # NaN if there is one
        if nodata is None and low > max(CONVENTIONS) and high < HUGE:
            return None
        gaps = ~(np.abs(image) < HUGE)
        for value in (*CONVENTIONS, *(() if nodata is None or abs(nodata) > HUGE else (nodata,))):
            gaps |= image == (image.dtype.type(value) if image.dtype.kind == "f" else value)
    return gaps if gaps.any() else None


def lone_extreme(image: np.ndarray) -> tuple[float, float] | None:
    """A value that may stand for "no value" without a tag that says so, and its share of the picture, or None.

    It is the smallest or the largest value, many pixels hold it, and it is farther from the next value than all other
    values are from each other: -99 among 0 to 50.
    """
    for value in (image.min(initial=0), image.max(initial=0)):
        others = image[image != value]
        share = 1 - others.size / max(image.size, 1)
        if others.size == 0 or share < LONE_SHARE:
            continue
        low, high = float(others.min()), float(others.max())
        if 0 < high - low < max(low - float(value), float(value) - high):
            return float(value), share
    return None


def channel_means(image: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """(C,) the mean of each channel's known values; 0 for a channel without any."""
    known = ~gaps
    counts = known.sum(axis=(0, 1))
    return np.where(known, image, 0).sum(axis=(0, 1), dtype=np.float64) / np.maximum(counts, 1)


def fill(image: np.ndarray, gaps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The picture with `values`, (C,), in its gaps, rounded if it holds integers."""
    if image.dtype.kind == "u":
        values = np.rint(values)
    return np.where(gaps, values.astype(image.dtype), image)


def valueless(gaps: np.ndarray | None) -> np.ndarray | None:
    """(H, W) bool, the pixels without a value in any channel; None if there is no such pixel."""
    if gaps is None:
        return None
    lost = np.asarray(gaps.all(axis=2))
    return lost if lost.any() else None
