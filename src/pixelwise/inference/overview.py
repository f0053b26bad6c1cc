"""An overview: a large picture and its mask, reduced to a viewable size while they are processed in blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from pixelwise.data.pictures import write_png

OVERVIEW_SIDE = 4096
"""Longest side of an overview in pixels."""


class Overview:
    """Collects every n-th pixel of the mask, and for the picture the mean of the n x n pixels around it.

    Args:
        height, width: size of the whole picture; up to `OVERVIEW_SIDE` it is not reduced.
        dtype: the number format of the mask.
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
        """Adds a block (h, w, C) of the picture whose corner is at (top, left)."""
        if self._image is None:
            self._image = np.zeros((*self._shape, block.shape[2]), block.dtype)
        ys, rows = self._sampled(0, top, block.shape[0])
        xs, columns = self._sampled(1, left, block.shape[1])
        if self.factor > 1:
            block = cv2.blur(np.ascontiguousarray(block), (self.factor, self.factor)).reshape(block.shape)
        self._image[ys, xs] = block[rows][:, columns]

    def add_mask(self, mask: np.ndarray, top: int) -> None:
        """Adds rows (h, W) of the mask, from row `top` on."""
        ys, rows = self._sampled(0, top, len(mask))
        xs, columns = self._sampled(1, 0, mask.shape[1])
        self._mask[ys, xs] = mask[rows][:, columns]

    def _sampled(self, axis: int, start: int, length: int) -> tuple[slice, np.ndarray]:
        """The slice of the overview that pixels start..start + length fill, and which of these pixels fill it."""
        first = max(0, -(-(start - self._first) // self.factor))
        positions = np.minimum(np.arange(first, self._shape[axis]) * self.factor + self._first, self._size[axis] - 1)
        positions = positions[(positions >= start) & (positions < start + length)]
        return slice(first, first + len(positions)), positions - start

    def write(self, path: Path, paint: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        """Writes a PNG of the (h, w, 3) uint8 picture that `paint` makes from the picture (h, w, C) and mask (h, w)."""
        assert self._image is not None
        write_png(path, paint(self._image, self._mask))
