"""Labels as regions of a picture with a class, rather than as a file of pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from pixelwise.data.codings import Coding
from pixelwise.data.joints import Joints
from pixelwise.data.people import Person
from pixelwise.data.pictures import probe
from pixelwise.data.record import Record
from pixelwise.data.regions import Box, Broken, Patch, Region, extent, reach
from pixelwise.data.sample import VOID, Instances
from pixelwise.data.wording import Wording
from pixelwise.errors import UserError

IGNORE = "__ignore__"
"""LabelMe's name for regions without a label; pixelwise uses it in every format of shapes."""


BEYOND = 1.25
"""An outline that reaches up to this many times the picture's side may be a careless outline of this same picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One labelled region.

    Attributes:
        class_id: 255 for void.
        region: its pixels.
        crowd: many objects in one region, which has a class but is not an object.
        difficult: an object that need not be found, for example because it is hardly visible.
        entry: its position in the file, for error messages: `annotation 17`.
        keypoints: (J, 3) x, y and whether each joint is annotated, see `Instances`; None if it has none.
    """

    class_id: int
    region: Region
    crowd: bool = False
    entry: str = ""
    difficult: bool = False
    keypoints: np.ndarray | None = None

    @property
    def ignored(self) -> bool:
        """Whether finding it is neither right nor wrong."""
        return self.crowd or self.difficult

    @property
    def painted(self) -> int:
        """The value of its pixels in a mask."""
        return VOID if isinstance(self.region, Box) else self.class_id


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """All shapes of one picture.

    Attributes:
        file: the file that they were read from.
        shapes: in the file's order; none for a picture that shows only background.
        size: (height, width) of the picture, if the file states it.
        others: further files that add shapes to this picture.
    """

    file: Path
    shapes: tuple[Shape, ...] = ()
    size: tuple[int, int] | None = None
    others: tuple[Path, ...] = ()


_SHAPES = Wording(missing="entry in the annotation files")
_BOXES = replace(
    _SHAPES,
    label="labels of objects that can be read",
    counted="objects",
    labels="boxes of objects",
    by_hand="Correct the entries that `pixelwise check DATA` names.",
)


@dataclass(frozen=True, slots=True, eq=False)
class ShapeCoding(Coding):
    """Shapes by the name of the record. Pixels that no shape covers are of class 0.

    Crowds are painted first, then larger shapes before smaller ones, so that small things are not covered; of two
    shapes of one size the later one is on top. Boxes without an outline are void, below all shapes, because an object
    is somewhere in them.

    Attributes:
        joints: the joints of the objects that have keypoints; None if none has.
        boxes_alone: whether all shapes are boxes without an outline.
    """

    drawings: Mapping[str, Drawing] = field(default_factory=dict)
    joints: Joints | None = None
    boxes_alone: bool = field(init=False, default=False)
    kind: ClassVar[str] = "shapes"
    blank: ClassVar[int] = 0  # the value of pixels that no shape covers

    def __post_init__(self) -> None:
        shapes = [shape for drawing in self.drawings.values() for shape in drawing.shapes]
        alone = bool(shapes) and all(isinstance(shape.region, Box) for shape in shapes)
        object.__setattr__(self, "boxes_alone", alone)  # computed once, because many pictures are decoded

    @property
    def knows(self) -> frozenset[str]:
        """Words of `KNOWLEDGE`; if no shape has an outline, only the objects are known."""
        joints = frozenset() if self.joints is None else frozenset({"keypoints"})
        return frozenset({"objects"} if self.boxes_alone else {"pixels", "objects", "outlines"}) | joints

    @property
    def task(self) -> str:
        """The task that the labels fit: `detect` if only boxes are known."""
        return "detect" if self.boxes_alone else "segment"

    @property
    def wording(self) -> Wording:
        return _BOXES if self.boxes_alone else _SHAPES

    @property
    def bare_boxes(self) -> int:
        """How many shapes are boxes without an outline."""
        return sum(isinstance(shape.region, Box) for drawing in self.drawings.values() for shape in drawing.shapes)

    def decode(self, record: Record, height: int, width: int) -> tuple[np.ndarray, Instances | None]:
        """The mask as (H, W) uint8 class ids, and the objects: every shape that is neither class 0 nor void.

        An object consists of its visible pixels; one that others hide completely is left out. For boxes without an
        outline, which come last, the visible pixels are not known; if no picture has outlines, there is no label map.
        Crowds and difficult objects are separate, as `Instances.ignored`, and whole.

        Raises:
            UserError: shapes that cannot belong to a picture of that size.
        """
        mask = np.zeros((height, width), np.uint8)
        counted, ignored = _Objects(height, width, self.joints), _Objects(height, width, self.joints)
        for shape, patch in self.drawn(record, height, width):
            mask[patch.window][patch.mask] = shape.painted
            if shape.class_id in (0, VOID) or shape.ignored:
                counted.hide(shape, patch)
            if shape.class_id not in (0, VOID):
                (ignored if shape.ignored else counted).add(shape, patch)
        objects, left = counted.found(), ignored.found() if ignored.shapes else None
        if self.boxes_alone:
            objects, left = replace(objects, ids=None), None if left is None else replace(left, ids=None)
        return mask, replace(objects, ignored=left)

    def people_of(self, name: str) -> tuple[Person, ...]:
        """The objects of a record that have keypoints, without drawing anything."""
        return tuple(
            Person(shape.keypoints, extent(shape.region), entry=shape.entry)
            for shape in (self.drawings[name].shapes if name in self.drawings else ())
            if shape.keypoints is not None and not shape.ignored
        )

    def decode_mask(self, record: Record, height: int, width: int) -> np.ndarray:
        """The mask alone.

        Raises:
            UserError: as in `decode`.
        """
        mask = np.full((height, width), self.blank, np.uint8)
        for shape, patch in self.drawn(record, height, width):
            mask[patch.window][patch.mask] = shape.painted
        return mask

    def beyond(self, record: Record, height: int, width: int) -> list[str]:
        """The entries of shapes that reach far beyond the picture, and how far they reach."""
        found = []
        for shape in self.drawings[record.name].shapes:
            end = reach(shape.region)
            if end is not None and (end[0] > BEYOND * width or end[1] > BEYOND * height):
                found.append(f"{shape.entry} (to {end[0]:.0f}, {end[1]:.0f} of {width} x {height})")
        return found

    def faults(self, record: Record, size: tuple[int, int] | None) -> list[str]:
        """Everything that prevents the shapes of a picture from being drawn, each with file and entry.

        Args:
            size: (height, width) of the picture; None if it cannot be read, so that only entries without a region are
                reported.
        """
        drawing = self.drawings[record.name]
        if size is None:
            return [
                _sentence(record, drawing, shape, shape.region.why)
                for shape in drawing.shapes
                if isinstance(shape.region, Broken)
            ]
        found = []
        if drawing.size is not None and drawing.size != size:
            found.append(_other_size(record, drawing, size))
        for shape in drawing.shapes:
            try:
                shape.region.draw(*size)
            except UserError as error:
                found.append(_sentence(record, drawing, shape, str(error)))
        return found

    def drawn(self, record: Record, height: int, width: int) -> list[tuple[Shape, Patch]]:
        """The shapes and their pixels in the order in which they are painted.

        Raises:
            UserError: as in `decode`.
        """
        drawing = self.drawings[record.name]
        if drawing.size is not None and drawing.size != (height, width):
            raise UserError(_other_size(record, drawing, (height, width)))
        drawn = []
        for shape in drawing.shapes:
            try:
                drawn.append((shape, shape.region.draw(height, width)))
            except UserError as error:
                raise UserError(_sentence(record, drawing, shape, str(error))) from None

        def key(pair: tuple[Shape, Patch]) -> tuple[bool, bool, int]:
            shape, patch = pair
            return not isinstance(shape.region, Box), not shape.crowd, -int(np.count_nonzero(patch.mask))

        return sorted(drawn, key=key)


class _Objects:
    """Collects the objects of a picture while its shapes are painted one after the other.

    Args:
        joints: the joints of the objects that have keypoints; None if none has.

    Attributes:
        shapes: the shapes that were added.
    """

    def __init__(self, height: int, width: int, joints: Joints | None) -> None:
        self.shapes: list[Shape] = []
        self._joints = joints
        self._ids = np.zeros((height, width), np.int32)
        self._bare: list[int] = []

    def hide(self, shape: Shape, patch: Patch) -> None:
        """Hides earlier objects behind this shape, unless it is a box, whose pixels are not known."""
        if not isinstance(shape.region, Box):
            self._ids[patch.window][patch.mask] = 0

    def add(self, shape: Shape, patch: Patch) -> None:
        """Adds an object on top of the others; a box without a pixel is not an object."""
        if isinstance(shape.region, Box) and not patch.mask.any():
            return
        self.shapes.append(shape)
        if isinstance(shape.region, Box):
            self._bare.append(len(self.shapes) - 1)
        else:
            self._ids[patch.window][patch.mask] = len(self.shapes)

    def found(self) -> Instances:
        """The objects that are at least partly visible, then the boxes."""
        seen = np.unique(self._ids)
        order = [*(seen[seen > 0] - 1).tolist(), *self._bare]
        shapes = [self.shapes[number] for number in order]
        outlined = Instances.from_label_map(self._ids)
        boxes = [region.within(*self._ids.shape) for shape in shapes if isinstance(region := shape.region, Box)]
        objects = Instances(
            boxes=np.concatenate([outlined.boxes, *(box[None] for box in boxes)]),
            classes=np.array([shape.class_id for shape in shapes], np.int64),
            ids=outlined.ids,
            crowd=np.array([shape.crowd for shape in shapes], bool) if any(shape.ignored for shape in shapes) else None,
        )
        return self._with_joints(objects, shapes)

    def _with_joints(self, objects: Instances, shapes: Sequence[Shape]) -> Instances:
        """The objects with the keypoints of their shapes; zeros for shapes that have none."""
        if self._joints is None:
            return objects
        count = len(self._joints)
        nothing = np.zeros((count, 3), np.float32)
        keypoints = np.array([nothing if s.keypoints is None else s.keypoints for s in shapes], np.float32)
        return replace(objects, keypoints=keypoints.reshape(len(shapes), count, 3), sides=self._joints.sides)


def _sentence(record: Record, drawing: Drawing, shape: Shape, why: str) -> str:
    return f"{drawing.file}, {shape.entry} ({record.picture.name}): {why}"


def _other_size(record: Record, drawing: Drawing, size: tuple[int, int]) -> str:
    """The sentence for a picture whose size differs from the one in its annotation file."""
    assert drawing.size is not None
    (height, width), (stated_height, stated_width) = size, drawing.size
    stated = f"{drawing.file}: {record.picture.name} is {stated_width} x {stated_height} in this file"
    if drawing.size == (width, height) and probe(record.picture).rotated:
        return (
            f"{stated}, which is its size before the EXIF orientation turns it upright, to {width} x {height} (width x "
            "height). pixelwise cannot tell whether the shapes were drawn before or after that. Export the annotations "
            "again with the size of the upright picture, or save the picture upright and check its shapes."
        )
    return (
        f"{stated}, but the picture is {width} x {height} (width x height); its shapes were drawn on another version "
        "of it."
    )
