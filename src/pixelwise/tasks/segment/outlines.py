"""Writes the boundaries between the classes of a mask that comes in bands of rows."""

from __future__ import annotations

import numpy as np

from pixelwise.inference.writer import MaskWriter
from pixelwise.metrics.boundary import boundaries


class OutlineWriter:
    """Writes `metrics.boundary.boundaries` of a mask as 0 and 255, one row later than the mask itself."""

    def __init__(self, writer: MaskWriter) -> None:
        self._writer = writer
        # The last two rows. The edges of the last one are only known when the row below it is there.
        self._rows = np.empty((0, writer.shape[1]), np.uint8)

    def write(self, rows: np.ndarray) -> None:
        """Adds rows (n, W) of class ids below those that were added."""
        known = max(len(self._rows) - 1, 0)
        self._rows = np.concatenate([self._rows, rows])
        self._emit(known, len(self._rows) - 1)
        self._rows = self._rows[-2:]

    def finish(self) -> None:
        """Writes the last row."""
        self._emit(max(len(self._rows) - 1, 0), len(self._rows))

    def _emit(self, start: int, stop: int) -> None:
        self._writer.write(boundaries(self._rows)[start:stop] * np.uint8(255))
