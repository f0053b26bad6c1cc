"""Colours packed into one integer each, 0xRRGGBB, so that they can be counted and looked up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def pack(image: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> (...) int32 0xRRGGBB."""
    wide = image.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def unpack(colours: Sequence[int] | np.ndarray) -> np.ndarray:
    """(N,) 0xRRGGBB -> (N, 3)."""
    packed = np.asarray(colours, np.int32)
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1)


def are_grey(colours: Iterable[int]) -> bool:
    """Whether all colours have three equal channels."""
    return all(colour == (colour & 255) * 0x010101 for colour in colours)
