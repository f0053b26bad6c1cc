"""Labels of single pixels: all other pixels of a picture are void."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pixelwise.data.record import Record
from pixelwise.data.sample import VOID, Instances
from pixelwise.data.shapes import ShapeCoding
from pixelwise.data.wording import Wording


@dataclass(frozen=True, slots=True, eq=False)
class PointCoding(ShapeCoding):
    """Labelled pixels (`regions.Points`) by the name of the record. Pixels that none labels are void."""

    kind: ClassVar[str] = "points"
    blank: ClassVar[int] = VOID
    wording: ClassVar[Wording] = Wording(missing="labelled pixel in the table")

    @property
    def knows(self) -> frozenset[str]:
        return frozenset({"pixels"})

    def decode(self, record: Record, height: int, width: int) -> tuple[np.ndarray, Instances | None]:
        """The mask as (H, W) uint8 class ids; no objects.

        Raises:
            UserError: a pixel outside the picture, or rows that cannot be understood.
        """
        return self.decode_mask(record, height, width), None
