"""The regions of LabelMe's shapes: polygons, rectangles, circles, and masks as PNGs in base64."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pixelwise.data.formats import entries
from pixelwise.data.formats.sources import Labelled
from pixelwise.data.header import DAMAGE
from pixelwise.data.pictures import open_image
from pixelwise.data.regions import Box, Broken, Disc, Parts, Patch, Polygons, Region
from pixelwise.errors import UserError

FLAT = frozenset({"point", "points", "line", "linestrip"})
CORNERS = frozenset({"rotation", "quadrilateral"})
"""Types of other programs that list the corners of their outline in order."""
BOX, CROWD, DIFFICULT = "box", "crowd", "difficult"
"""Flags of shapes: `box` marks the box of an object whose outline is not known; the others mark objects that are
neither right nor wrong to find."""
_DATA_URL = re.compile(r"^data:[\w/+.-]*;base64,")
_NO_PNG = (binascii.Error, *DAMAGE)


@dataclass(slots=True)
class Shapes:
    """The shapes of one file, or of several.

    Attributes:
        labelled: shapes with an area; the parts of a group are one shape.
        flat: points and lines, which have no area, by type.
        corners: shapes of types that LabelMe does not have, by type, which are read as polygons.
        parts: how many shapes are parts of `groups` objects.
    """

    labelled: list[Labelled] = field(default_factory=list)
    flat: Counter[str] = field(default_factory=Counter)
    corners: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    parts: int = 0
    groups: int = 0

    def count(self, other: Shapes, file: str) -> None:
        """Adds up everything of another file except its regions."""
        self.flat += other.flat
        for kind, where in other.corners.items():
            self.corners[kind] += [f"{file}, {entry}" for entry in where]
        self.parts += other.parts
        self.groups += other.groups


def read_shapes(found: list[Any]) -> Shapes:
    """The shapes of one file; an invalid entry is a broken shape.

    Shapes with the same label and `group_id` are one object in several parts.
    """
    shapes = Shapes()
    members: dict[tuple[str, int | str], list[int]] = defaultdict(list)
    for number, entry in enumerate(found, start=1):
        where, label = f"shape {number}", ""
        region: Region | None
        flags: set[str] = set()
        try:
            entry = entries.mapping(entry)
            flags = _flags(entry)
            label = entries.name(entry, "label")
            region = _region(entry, where, shapes)
            if region is not None and entry.get("group_id") not in (None, ""):
                members[label, entries.identity(entry, "group_id")].append(len(shapes.labelled))
        except UserError as error:
            region = Broken(str(error))
        if region is not None:
            shapes.labelled.append(Labelled(label, region, where, CROWD in flags, DIFFICULT in flags))
    _join(shapes, [indices for indices in members.values() if len(indices) > 1])
    return shapes


def _join(shapes: Shapes, groups: list[list[int]]) -> None:
    """Merges each group into one shape, at the position of its first part."""
    gone = set()
    for indices in groups:
        parts = [shapes.labelled[index] for index in indices]
        numbers = ", ".join(part.entry.removeprefix("shape ") for part in parts)
        region = Parts(tuple(part.region for part in parts))
        crowd, difficult = (any(getattr(part, name) for part in parts) for name in (CROWD, DIFFICULT))
        shapes.labelled[indices[0]] = Labelled(parts[0].label, region, f"shapes {numbers}", crowd, difficult)
        gone.update(indices[1:])
        shapes.parts += len(indices)
    shapes.groups += len(groups)
    shapes.labelled = [shape for index, shape in enumerate(shapes.labelled) if index not in gone]


def _region(entry: dict[str, Any], where: str, shapes: Shapes) -> Region | None:
    """The pixels of a shape; None for points and lines, which are counted.

    Raises:
        UserError: points that do not make such a shape, or an unknown type.
    """
    kind = entry.get("shape_type") or "polygon"
    kind = kind.lower() if isinstance(kind, str) else kind
    if not isinstance(kind, str) or kind not in (*REGIONS, *FLAT, *CORNERS):
        raise UserError(
            f"the shape_type {entries.short(kind)} is unknown; known: {', '.join([*REGIONS, *sorted(FLAT)])}."
        )
    if kind in FLAT:
        shapes.flat[kind] += 1
        return None
    points = entry.get("points")
    if not isinstance(points, list):
        raise UserError(f"'points' is {entries.short(points)}, expected a list.")
    if kind in CORNERS:
        shapes.corners[kind].append(where)
        return _polygon(points, entry)
    return REGIONS[kind](points, entry)


def _flags(entry: dict[str, Any]) -> set[str]:
    """The flags that are set; some programs write `difficult` outside the flags."""
    flags = entry.get("flags")
    found = {str(name) for name, value in (flags.items() if isinstance(flags, dict) else ()) if entries.is_true(value)}
    return found | {DIFFICULT} if entries.is_true(entry.get(DIFFICULT)) else found


def _polygon(points: list[Any], entry: dict[str, Any]) -> Region:
    return Polygons(((entries.ring(points),),))


def _rectangle(points: list[Any], entry: dict[str, Any]) -> Region:
    """Two opposite corners, or all four as other programs write them, in any order if the sides are upright."""
    corners = entries.numbers(points, "rectangle")
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) not in (2, 4, 5):
        raise UserError(f"a rectangle needs two points or four corners, found {entries.short(points)}.")
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    if BOX in _flags(entry):
        return Box(float(x0), float(y0), float(x1), float(y1))
    upright = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    if len(corners) > 2 and {*map(tuple, corners.tolist())} != {*map(tuple, upright.tolist())}:
        return _polygon(points, entry)
    return Polygons(((upright,),))


def _circle(points: list[Any], entry: dict[str, Any]) -> Region:
    """The centre and a point on the rim."""
    centre, rim = _two(points, "circle")
    return Disc(float(centre[0]), float(centre[1]), float(np.hypot(*(rim - centre))))


def _mask(points: list[Any], entry: dict[str, Any]) -> Region:
    """A PNG of the area between the two points, including both."""
    corner, opposite = np.rint(_two(points, "mask")).astype(np.int64)
    left, top = corner.tolist()
    width, height = (opposite - corner + 1).tolist()
    try:
        text = "".join(_DATA_URL.sub("", entries.name(entry, "mask")).split())  # some programs break the lines
        with open_image(io.BytesIO(base64.b64decode(text, validate=True))) as image:
            found = image.size
            mask = np.array(image.convert("L")) > 0 if found == (width, height) else np.zeros(0)
    except _NO_PNG as error:
        raise UserError(f"the mask is not a PNG in base64 ({error}).") from None
    if found != (width, height):
        raise UserError(f"the mask is {found[0]} x {found[1]}, but its box {width} x {height} (width x height).")
    return Patch(top, left, mask)


def _two(points: list[Any], kind: str) -> np.ndarray:
    two = entries.numbers(points, kind)
    if two.shape != (2, 2):
        raise UserError(f"a {kind} needs two points, found {entries.short(points)}.")
    return two


REGIONS: dict[str, Callable[[list[Any], dict[str, Any]], Region]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "circle": _circle,
    "mask": _mask,
}
