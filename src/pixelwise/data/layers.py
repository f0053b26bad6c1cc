"""Labels in layers: a picture has several black-and-white masks, one per class or one per region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from pixelwise.data.codings import Coding
from pixelwise.data.pictures import read_ids
from pixelwise.data.record import Record
from pixelwise.data.sample import Instances
from pixelwise.errors import UserError


@dataclass(frozen=True, slots=True, eq=False)
class LayerCoding(Coding):
    """Several masks per picture, each of one class; pixels that no mask marks are of class 0.

    Where masks overlap, the mask with fewer pixels is on top, so that small things stay visible.

    Attributes:
        classes: name of the record -> the class id of each of its label files.
    """

    classes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    kind: ClassVar[str] = "layers"
    knows: ClassVar[frozenset[str]] = frozenset({"pixels"})

    def decode(self, record: Record, height: int, width: int) -> tuple[np.ndarray, Instances | None]:
        """The mask as (H, W) uint8 class ids; no objects.

        Raises:
            UserError: a file that cannot be read or differs in size from its picture.
        """
        return self.decode_mask(record, height, width), None

    def decode_mask(self, record: Record, height: int, width: int) -> np.ndarray:
        """The mask alone.

        Raises:
            UserError: as in `decode`.
        """
        mask = np.zeros((height, width), np.uint8)
        layers = []
        for file, class_id in zip(record.labels, self.classes[record.name], strict=True):
            marked = foreground(file)
            if marked.shape != (height, width):
                raise UserError(
                    f"{file}: the mask is {marked.shape[1]} x {marked.shape[0]} but its picture is {width} x {height} "
                    "(width x height); export it again at the picture's size."
                )
            layers.append((marked, class_id))
        for marked, class_id in sorted(layers, key=lambda layer: -np.count_nonzero(layer[0])):
            mask[marked] = class_id
        return mask


def foreground(file: Path) -> np.ndarray:
    """The pixels that a black-and-white mask marks, (H, W) bool: all but 0, or with soft edges, all above half.

    Raises:
        UserError: a file that cannot be read, or a colour picture.
    """
    values = read_ids(file)
    top = int(values.max(initial=0))
    marked: np.ndarray = values > top // 2 if top > 1 else values > 0
    return marked
