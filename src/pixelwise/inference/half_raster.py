"""One of two pictures that lie side by side in a file."""

from __future__ import annotations

import numpy as np

from pixelwise.data.halves import RIGHT, half_width
from pixelwise.inference.rasters import Raster


class HalfRaster(Raster):
    """The left or the right half of an open picture, which stays open for as long as it is used.

    Args:
        half: `left` or `right`.

    Raises:
        UserError: an odd width.
    """

    def __init__(self, whole: Raster, half: str) -> None:
        self.name, self.pages = whole.name, whole.pages
        self.height, self.channels, self.dtype = whole.height, whole.channels, whole.dtype
        self.width = half_width(whole.width, half, whole.name)
        self._whole = whole
        self._offset = self.width if half == RIGHT else 0

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        return self._whole.read(top, bottom, left + self._offset, right + self._offset)

    def unknown(self, top: int, bottom: int, left: int, right: int) -> np.ndarray | None:
        return self._whole.unknown(top, bottom, left + self._offset, right + self._offset)
