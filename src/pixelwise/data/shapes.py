"""Labels that are shapes rather than pixels: polygons, runs, discs and patches, drawn at the picture's size.

One rule for all outlines: a pixel belongs to a shape if its centre (x + 0.5, y + 0.5) lies inside by the even-odd rule;
a centre exactly on the outline belongs to the side to its right (then below). So shapes that share an edge
neither overlap nor leave a gap, and a polygon along the pixels' edges covers exactly these pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from pixelwise.data import rle
from pixelwise.data.dataset import Coding, Record
from pixelwise.data.sample import VOID, Instances
from pixelwise.errors import UserError

IGNORE = "__ignore__"
"""LabelMe's name for what has no label; here the same in every format of shapes."""


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A part of a picture's pixels, and a region of its own: `mask` (h, w) bool with its corner at (top, left)."""

    top: int
    left: int
    mask: np.ndarray

    def draw(self, height: int, width: int) -> Patch:
        """Itself.

        Raises:
            UserError: it reaches beyond the picture.
        """
        bottom, right = self.top + self.mask.shape[0], self.left + self.mask.shape[1]
        if self.top < 0 or self.left < 0 or bottom > height or right > width:
            raise UserError(
                f"the mask covers columns {self.left} to {right} and rows {self.top} to {bottom}, "
                f"but the picture is {width} x {height} (width x height)."
            )
        return self

    @property
    def window(self) -> tuple[slice, slice]:
        """Where it lies: `picture[patch.window]` has the shape of `mask`."""
        return (
            slice(self.top, self.top + self.mask.shape[0]),
            slice(self.left, self.left + self.mask.shape[1]),
        )


class Region(Protocol):
    """Anything that covers pixels of a picture."""

    def draw(self, height: int, width: int) -> Patch:
        """The pixels covered in a picture of that size.

        Raises:
            UserError: it cannot be of a picture of that size.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """The union of polygons. What lies outside of the picture is cut off.

    Attributes:
        polygons: each a tuple of rings (N, 2) `x, y` in pixels; by the even-odd rule, rings within a ring are holes.
    """

    polygons: tuple[tuple[np.ndarray, ...], ...]

    def draw(self, height: int, width: int) -> Patch:
        corners = np.concatenate([ring for rings in self.polygons for ring in rings])
        low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
        left, top = np.clip(low, 0, (width, height)).astype(int).tolist()
        right, bottom = np.clip(high, (left, top), (max(left, width), max(top, height))).astype(int).tolist()
        covered = np.zeros((bottom - top, right - left), bool)
        for rings in self.polygons:
            covered |= fill([ring - (left, top) for ring in rings], *covered.shape)
        return Patch(top, left, covered)


@dataclass(frozen=True, slots=True, eq=False)
class Disc:
    """All pixels whose centre is not farther than `radius` from (x, y)."""

    x: float
    y: float
    radius: float

    def draw(self, height: int, width: int) -> Patch:
        left, right = (int(np.clip(edge, 0, width)) for edge in (self.x - self.radius, self.x + self.radius + 1))
        top, bottom = (int(np.clip(edge, 0, height)) for edge in (self.y - self.radius, self.y + self.radius + 1))
        ys, xs = np.mgrid[top:bottom, left:right] + 0.5
        return Patch(top, left, (xs - self.x) ** 2 + (ys - self.y) ** 2 <= self.radius**2)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Runs as in csv files: (R, 2) 1-based starts down the columns, and lengths."""

    pairs: np.ndarray

    def draw(self, height: int, width: int) -> Patch:
        return Patch(0, 0, rle.from_pairs(self.pairs, height, width))


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Runs as in COCO's files: (R,) counts, or the compressed string, of a mask of `size` (height, width)."""

    counts: np.ndarray | str
    size: tuple[int, int]

    def draw(self, height: int, width: int) -> Patch:
        if self.size != (height, width):
            raise UserError(
                f"the run-length encoding is of a picture of {self.size[1]} x {self.size[0]}, but this one is "
                f"{width} x {height} (width x height)."
            )
        counts = rle.decompress(self.counts) if isinstance(self.counts, str) else self.counts
        return Patch(0, 0, rle.decode(counts, height, width))


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """An object somewhere between four edges, in pixels; which pixels are its own is not known."""

    left: float
    top: float
    right: float
    bottom: float

    def draw(self, height: int, width: int) -> Patch:
        """All pixels whose centre lies between the edges."""
        left, right = (int(np.clip(np.ceil(edge - 0.5), 0, width)) for edge in (self.left, self.right))
        top, bottom = (int(np.clip(np.ceil(edge - 0.5), 0, height)) for edge in (self.top, self.bottom))
        return Patch(top, left, np.ones((max(bottom - top, 0), max(right - left, 0)), bool))

    def within(self, height: int, width: int) -> np.ndarray:
        """(4,) float32 xyxy, cut off at the picture's borders."""
        edges = np.array([self.left, self.top, self.right, self.bottom], np.float32)
        return edges.clip(0, (width, height, width, height))


@dataclass(frozen=True, slots=True, eq=False)
class Broken:
    """An entry that holds no region. It keeps its picture from being read, and no other one."""

    why: str

    def draw(self, height: int, width: int) -> Patch:
        """
        Raises:
            UserError: always.
        """
        raise UserError(self.why)


def fill(rings: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """The pixels whose centres lie inside of closed rings (N, 2) `x, y`, by the even-odd rule: (H, W) bool."""
    toggles = np.zeros((height, width + 1), bool)
    for ring in rings:
        start = np.asarray(ring, np.float64)
        end = np.roll(start, -1, axis=0)
        # Always from the upper to the lower end, so that a shared edge is rounded alike from both its sides.
        flip = (start[:, 1] > end[:, 1])[:, None]
        upper, lower = np.where(flip, end, start), np.where(flip, start, end)
        # Rows whose centre y + 0.5 lies in [upper, lower): the first and one behind the last.
        first = np.clip(np.ceil(upper[:, 1] - 0.5), 0, height).astype(np.int64)
        stop = np.clip(np.ceil(lower[:, 1] - 0.5), 0, height).astype(np.int64)
        edges = np.repeat(np.arange(len(start)), stop - first)
        before = np.cumsum(stop - first) - (stop - first)
        rows = np.arange(len(edges)) - before[edges] + first[edges]
        upper, lower = upper[edges], lower[edges]
        along = (rows + 0.5 - upper[:, 1]) / (lower[:, 1] - upper[:, 1])
        x = upper[:, 0] + along * (lower[:, 0] - upper[:, 0])
        columns = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
        np.logical_xor.at(toggles, (rows, columns), True)
    inside: np.ndarray = np.logical_xor.accumulate(toggles, axis=1)[:, :width]
    return inside


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One labelled region.

    Attributes:
        class_id: 255 for void.
        region: its pixels.
        crowd: many objects in one region: it has a class, but is no object.
        entry: where it stands in the file, for error messages: `annotation 17`.
    """

    class_id: int
    region: Region
    crowd: bool = False
    entry: str = ""

    @property
    def painted(self) -> int:
        """What its pixels become in a mask."""
        return VOID if isinstance(self.region, Box) else self.class_id


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """All shapes of one picture.

    Attributes:
        file: what they were read from.
        shapes: in the file's order; none for a picture that shows only background.
        size: (height, width) of the picture by the file, where it says so.
        others: further files that add shapes to this picture.
    """

    file: Path
    shapes: tuple[Shape, ...] = ()
    size: tuple[int, int] | None = None
    others: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ShapeCoding(Coding):
    """Shapes by the name of the record. Pixels that no shape covers are of class 0.

    Crowds are painted first, then the larger before the smaller, so that small things stay on top of what they lie on;
    among equals the later is on top. Below them all, a box without an outline is void: something there is an object.
    """

    drawings: Mapping[str, Drawing] = field(default_factory=dict)
    kind: ClassVar[str] = "shapes"
    knows: ClassVar[frozenset[str]] = frozenset({"pixels", "objects", "outlines"})

    @property
    def bare_boxes(self) -> int:
        """How many shapes are boxes without an outline."""
        return sum(isinstance(shape.region, Box) for drawing in self.drawings.values() for shape in drawing.shapes)

    def decode(self, record: Record, height: int, width: int) -> tuple[np.ndarray, Instances | None]:
        """The mask as (H, W) uint8 class ids, and the objects: every shape that is neither crowd nor class 0 nor void.

        An object is what can be seen of it; one that others hide altogether is left out. Of boxes without an outline,
        which come last, it is not known what can be seen.

        Raises:
            UserError: shapes that cannot be of a picture of that size.
        """
        mask = np.zeros((height, width), np.uint8)
        ids = np.zeros((height, width), np.int32)
        classes = []
        bare: list[tuple[int, np.ndarray]] = []
        for number, (shape, patch) in enumerate(self._in_order(record, height, width), start=1):
            mask[patch.window][patch.mask] = shape.painted
            classes.append(shape.class_id)
            is_object = not shape.crowd and shape.class_id not in (0, VOID)
            if not isinstance(shape.region, Box):
                ids[patch.window][patch.mask] = number if is_object else 0
            elif is_object and patch.mask.any():
                bare.append((shape.class_id, shape.region.within(height, width)))
        seen = np.unique(ids)
        outlined = Instances.from_label_map(ids, np.array(classes, np.int64)[seen[seen > 0] - 1])
        if not bare:
            return mask, outlined
        boxes = np.stack([box for _, box in bare])
        bare_classes = np.array([class_id for class_id, _ in bare], np.int64)
        return mask, Instances(
            np.concatenate([outlined.boxes, boxes]), np.concatenate([outlined.classes, bare_classes]), outlined.ids
        )

    def decode_mask(self, record: Record, height: int, width: int) -> np.ndarray:
        """The mask alone.

        Raises:
            UserError: as `decode`.
        """
        mask = np.zeros((height, width), np.uint8)
        for shape, patch in self._in_order(record, height, width):
            mask[patch.window][patch.mask] = shape.painted
        return mask

    def vanishing(self, record: Record, height: int, width: int) -> list[str]:
        """The entries of shapes that cover no pixel: smaller than a pixel, or outside of the picture.

        Raises:
            UserError: as `decode`.
        """
        return [shape.entry for shape, patch in self._in_order(record, height, width) if not patch.mask.any()]

    def _in_order(self, record: Record, height: int, width: int) -> list[tuple[Shape, Patch]]:
        """The shapes and their pixels in the order of painting."""
        drawing = self.drawings[record.name]
        if drawing.size is not None and drawing.size != (height, width):
            raise UserError(
                f"{drawing.file}: {record.picture.name} is {drawing.size[1]} x {drawing.size[0]} by this file, but the "
                f"picture is {width} x {height} (width x height); its shapes were drawn on another version of it."
            )
        drawn = []
        for shape in drawing.shapes:
            try:
                drawn.append((shape, shape.region.draw(height, width)))
            except UserError as error:
                raise UserError(f"{drawing.file}, {shape.entry} ({record.picture.name}): {error}") from None

        def place(pair: tuple[Shape, Patch]) -> tuple[bool, bool, int]:
            shape, patch = pair
            return not isinstance(shape.region, Box), not shape.crowd, -int(np.count_nonzero(patch.mask))

        return sorted(drawn, key=place)
