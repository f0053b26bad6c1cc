"""The lines of YOLO's text files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pixelwise.data.formats import entries
from pixelwise.data.formats.sources import Labelled
from pixelwise.data.listing import some
from pixelwise.data.regions import Box, Broken, Polygons, Region
from pixelwise.errors import UserError

FARTHEST = 2.0
"""Coordinates above this are pixels rather than shares of the picture's sides."""
_LINE = re.compile(r"\s*\d+(\.0*)?(\s+[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?){4,}\s*", re.IGNORECASE)


def are_lines(text: str) -> bool:
    """Whether a text begins with lines of a class and at least four numbers."""
    lines = [line for line in text.splitlines()[:3] if line.strip()]
    return bool(lines) and all(_LINE.fullmatch(line) for line in lines)


@dataclass(frozen=True, slots=True)
class Classes:
    """The names of the ids.

    Attributes:
        names: by id.
        source: the file that gives them; empty if none does, and an id is the name.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    source: str = ""

    def name(self, class_id: int) -> str:
        """The name of an id; `class N` if no file gives names.

        Raises:
            UserError: an id without a name.
        """
        if not self.source:
            return f"class {class_id}"
        if class_id not in self.names:
            known = some(sorted(self.names), 3)
            raise UserError(f"class {class_id} has no name in {self.source} (which names {known}); add it there.")
        return self.names[class_id]

    def labels(self, ids: Mapping[int, int]) -> list[str]:
        """All names in the order of their ids; if no file gives names, the names that occur."""
        return (
            list(dict.fromkeys(self.names.values())) if self.source else [self.name(number) for number in sorted(ids)]
        )


@dataclass(slots=True)
class Tally:
    """Counts of the content of the files.

    Attributes:
        ids: how often each class occurs.
        keypoints: lines with keypoints, of which only the box is read.
        empty: files without a line.
    """

    ids: Counter[int] = field(default_factory=Counter)
    boxes: int = 0
    outlines: int = 0
    keypoints: int = 0
    empty: int = 0


@dataclass(frozen=True, slots=True)
class LabelLines:
    """How lines are read.

    Attributes:
        classes: the names of the ids.
        keypoints: how many numbers after a box are keypoints.
    """

    classes: Classes
    keypoints: int = 0

    def objects(self, text: str, size: tuple[int, int], tally: Tally) -> list[Labelled]:
        """The objects of one file; an invalid line is a broken shape.

        Args:
            size: height and width of the picture.
        """
        found = []
        for number, line in enumerate(text.splitlines(), start=1):
            values = line.split()
            if not values:
                continue
            label = ""
            region: Region
            try:
                class_id = _class_id(values[0])
                tally.ids[class_id] += 1
                label = self.classes.name(class_id)
                region = self._region(_shares(values[1:]), size)
            except UserError as error:
                region = Broken(str(error))
            else:
                tally.boxes += isinstance(region, Box)
                tally.outlines += isinstance(region, Polygons)
                tally.keypoints += bool(self.keypoints) and len(values) == 5 + self.keypoints
            found.append(Labelled(label, region, f"line {number}"))
        tally.empty += not found
        return found

    def _region(self, shares: np.ndarray, size: tuple[int, int]) -> Region:
        height, width = size
        count = len(shares)
        if count == 4 or (self.keypoints and count == 4 + self.keypoints):
            x, y, across, down = shares[:4].tolist()
            if across < 0 or down < 0:
                raise UserError(f"the box is {across:g} wide and {down:g} high, expected shares from 0 on.")
            left, top = (x - across / 2) * width, (y - down / 2) * height
            return Box(left, top, left + across * width, top + down * height)
        if count >= 6 and count % 2 == 0:
            return Polygons((((shares.reshape(-1, 2) * (width, height)),),))
        raise UserError(
            f"{count + 1} numbers; expected a class and four numbers of a box, or a class and pairs x y of at least "
            f"three corners{'; a fifth number is a confidence, which labels do not have' if count == 5 else ''}."
        )


def _class_id(text: str) -> int:
    class_id = entries.identity({"class": text}, "class")
    if not isinstance(class_id, int):
        raise UserError(f"the class is {entries.short(text)}, expected a whole number from 0 on.")
    return class_id


def _shares(values: list[str]) -> np.ndarray:
    """Numbers as shares of the picture's sides.

    Raises:
        UserError: something that is not a number, or pixels.
    """
    try:
        shares = np.array(values, np.float64)
    except ValueError:
        raise UserError(f"{entries.short(' '.join(values))} is not made of numbers.") from None
    if not np.isfinite(shares).all():
        raise UserError("the line holds numbers that are not finite.")
    largest = np.abs(shares).max(initial=0)
    if largest > FARTHEST:
        raise UserError(
            f"{largest:g} found, but coordinates are shares of the picture's sides, 0 to 1; divide pixels by width and "
            "height."
        )
    return shares
