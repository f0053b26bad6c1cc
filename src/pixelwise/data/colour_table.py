"""Colours that stand for classes in pictures such as maps, where a picture is known only up to small errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from pixelwise.data.class_table import ClassTable

NEAR = 24
"""A pixel has a colour of the table if no channel differs by more: JPEG changes flat areas by less."""


@dataclass(frozen=True, slots=True)
class ColourTable:
    """Classes and their colours.

    Attributes:
        names: class names by class id.
        colours: (red, green, blue, class id); a class may have several colours.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int, int], ...]

    @classmethod
    def of(cls, table: ClassTable) -> Self | None:
        """The colours of a class table; None if fewer than two classes have one."""
        if len(set(table.colours.values())) < 2:
            return None
        return cls(table.names, tuple((*colour, class_id) for colour, class_id in table.colours.items()))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> Self | None:
        """Restores a table from the plain values that a model file holds."""
        if values is None:
            return None
        return cls(tuple(values["names"]), tuple((r, g, b, class_id) for r, g, b, class_id in values["colours"]))

    def ids(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 -> (H, W) uint8: the class of the nearest colour, by the distance in RGB."""
        wide = picture.astype(np.int32)
        ids = np.zeros(picture.shape[:2], np.uint8)
        best = np.full(picture.shape[:2], np.iinfo(np.int32).max, np.int32)
        for *colour, class_id in self.colours:
            distance = np.square(wide - np.array(colour, np.int32)).sum(axis=2, dtype=np.int32)
            nearer = distance < best
            ids[nearer] = class_id
            best[nearer] = distance[nearer]
        return ids

    def share(self, picture: np.ndarray) -> float:
        """The share of the pixels of a picture (H, W, 3) uint8 that have one of the colours, up to `NEAR`."""
        wide = picture.astype(np.int16)
        near = np.zeros(picture.shape[:2], bool)
        for *colour, _ in self.colours:
            near |= (np.abs(wide - np.array(colour, np.int16)) <= NEAR).all(axis=2)
        return float(near.mean())
