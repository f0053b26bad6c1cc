"""The objects in a Pascal VOC XML file: boxes, and polygons if a program has added them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

import numpy as np

from pixelwise.data.formats import entries
from pixelwise.data.formats.sources import Labelled
from pixelwise.data.listing import counted
from pixelwise.data.regions import Box, Broken, Polygons, Region
from pixelwise.errors import UserError

EDGES = ("xmin", "ymin", "xmax", "ymax")
_ROOT = re.compile(r"<annotation[\s>]")
_COORDINATE = re.compile(r"[xy]\d*")


def is_annotation(text: str) -> bool:
    """Whether a text is the annotation of one picture, rather than XML of another kind."""
    return bool(_ROOT.search(text))


@dataclass(frozen=True, slots=True)
class Corners:
    """How the files of a dataset count pixels, by how many of their left and upper edges are 0 or 1.

    Attributes:
        zeros: edges at 0, where no picture of Pascal VOC has a pixel.
        ones: edges at 1, Pascal VOC's first pixel.
    """

    zeros: int = 0
    ones: int = 0

    @classmethod
    def of(cls, contents: Iterable[Element]) -> Corners:
        """Counts the edges of all boxes."""
        found = [
            _edge(box, name) for content in contents for box in content.iterfind("object/bndbox") for name in EDGES[:2]
        ]
        return cls(found.count(0), found.count(1))

    @property
    def first(self) -> int:
        """The number of the first pixel. If it is 0, xmax and ymax are edges rather than the last pixels."""
        return 0 if self.zeros > self.ones else 1

    def guesses(self) -> Iterator[str]:
        """A sentence if 0 occurs."""
        if not self.zeros:
            return
        edges = (
            f"{counted(self.zeros, 'box begins', 'boxes begin')} at 0 and {self.ones} at 1, Pascal VOC's first pixel"
        )
        if self.first == 0:
            yield (
                f"{edges}, so all are read as boxes from xmin to xmax and ymin to ymax in coordinates that begin at 0, "
                "as many programs write them. If the files count pixels from 1, write 1 for 0 in them."
            )
        else:
            yield (
                f"{edges}, so 0 is read as 1, and a box covers its pixels xmin to xmax. If the files count from 0, add "
                "1 to xmin and ymin."
            )

    def box(self, xmin: float, ymin: float, xmax: float, ymax: float) -> Box:
        """The box in continuous coordinates."""
        left, top = (max(edge - 1, 0) if self.first and edge >= 0 else edge for edge in (xmin, ymin))
        return Box(left, top, xmax, ymax)


@dataclass(slots=True)
class Tally:
    """What the files hold.

    Attributes:
        parts: boxes of parts of objects, which are not read.
        deleted: objects that LabelMe's web tool keeps as deleted.
        empty: files without any object.
    """

    labels: set[str] = field(default_factory=set)
    boxes: int = 0
    outlines: int = 0
    parts: int = 0
    deleted: int = 0
    empty: int = 0


def objects_of(content: Element, corners: Corners, tally: Tally) -> list[Labelled]:
    """The objects of one file; an invalid object is a broken shape."""
    found = []
    for number, element in enumerate(content.iterfind("object"), start=1):
        if entries.is_true(element.findtext("deleted")):
            tally.deleted += 1
            continue
        label = ""
        region: Region
        try:
            label = entries.name({"name": element.findtext("name")}, "name")
            region = _region(element, corners)
        except UserError as error:
            region = Broken(str(error))
        else:
            tally.labels.add(label)
            tally.boxes += isinstance(region, Box)
            tally.outlines += isinstance(region, Polygons)
        tally.parts += len(element.findall("part"))
        difficult = entries.is_true(element.findtext("difficult"))
        found.append(Labelled(label, region, f"object {number}", difficult=difficult))
    tally.empty += not found
    return found


def _region(element: Element, corners: Corners) -> Region:
    """The polygons of an object or, if there are none, its box.

    Raises:
        UserError: there is neither, or something that is not a region.
    """
    polygons = element.findall("polygon")
    if polygons:
        return Polygons(tuple((_ring(polygon),) for polygon in polygons))
    box = element.find("bndbox")
    if box is None:
        there = ", ".join(child.tag for child in element) or "nothing"
        raise UserError(f"neither a box (bndbox) nor an outline (polygon); found {there}.")
    edges = {name: _edge(box, name) for name in EDGES}
    for name, value in edges.items():
        if value is None or abs(value) > entries.FARTHEST:
            raise UserError(f"{name} is {entries.short(box.findtext(name))}, expected a number of pixels.")
    xmin, ymin, xmax, ymax = (value for value in edges.values() if value is not None)
    found = corners.box(xmin, ymin, xmax, ymax)
    if found.right < found.left or found.bottom < found.top:
        raise UserError(
            f"the box runs from x {xmin:g}, y {ymin:g} to x {xmax:g}, y {ymax:g}, backwards; write the smaller "
            "number into xmin and ymin."
        )
    return found


def _edge(box: Element, name: str) -> float | None:
    """A number of a box; None if there is none."""
    try:
        value = float(box.findtext(name) or "")
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _ring(polygon: Element) -> np.ndarray:
    """The corners (N, 2), from `<pt><x>1</x><y>2</y></pt>` or `<x1>1</x1><y1>2</y1>`.

    Raises:
        UserError: not pairs of finite numbers, or fewer than three.
    """
    values = [(each.text or "").strip() for each in polygon.iter() if _COORDINATE.fullmatch(each.tag)]
    return entries.ring(values)
