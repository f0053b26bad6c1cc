"""A picture and its mask reduced to a size that can be looked at, while both stream by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from pixelwise.data.pictures import write_png

OVERVIEW_SIDE = 4096
"""Longest side of an overview in pixels."""


class Overview:
    """Collects every n-th pixel of blocks and mask rows; of the picture the mean of the n x n pixels around it.

    Args:
        height, width: of the whole picture; it is not reduced up to `OVERVIEW_SIDE`.
        dtype: of the mask.
    """

    def __init__(self, height: int, width: int, dtype: type = np.uint8) -> None:
        self.factor = -(-max(height, width) // OVERVIEW_SIDE)
        self._first = self.factor // 2
        # A side shorter than the factor still has one pixel.
        self._shape = tuple(max(1, -(-(size - self._first) // self.factor)) for size in (height, width))
        self._size = (height, width)
        self._image: np.ndarray | None = None
        self._mask: np.ndarray = np.zeros(self._shape, dtype)

    def add_block(self, block: np.ndarray, top: int, left: int) -> None:
        """Takes (h, w, C) pixels of the picture whose corner is at (top, left)."""
        if self._image is None:
            self._image = np.zeros((*self._shape, block.shape[2]), block.dtype)
        ys, rows = self._sampled(0, top, block.shape[0])
        xs, columns = self._sampled(1, left, block.shape[1])
        if self.factor > 1:
            block = cv2.blur(np.ascontiguousarray(block), (self.factor, self.factor)).reshape(block.shape)
        self._image[ys, xs] = block[rows][:, columns]

    def add_mask(self, mask: np.ndarray, top: int) -> None:
        """Takes (h, W) rows of the mask from row `top` on."""
        ys, rows = self._sampled(0, top, len(mask))
        xs, columns = self._sampled(1, 0, mask.shape[1])
        self._mask[ys, xs] = mask[rows][:, columns]

    def _sampled(self, axis: int, start: int, length: int) -> tuple[slice, np.ndarray]:
        """Where in the overview the pixels start..start + length come, and which of them."""
        first = max(0, -(-(start - self._first) // self.factor))
        positions = np.minimum(np.arange(first, self._shape[axis]) * self.factor + self._first, self._size[axis] - 1)
        positions = positions[(positions >= start) & (positions < start + length)]
        return slice(first, first + len(positions)), positions - start

    def write(self, path: Path, paint: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        """Writes what `paint` makes of the picture (h, w, C) and the mask (h, w), (h, w, 3) uint8, as PNG."""
        assert self._image is not None
        write_png(path, paint(self._image, self._mask))
