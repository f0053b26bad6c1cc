"""Shapes that are probably mistakes: too small, doubled, with two classes, beyond the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pixelwise.data.record import Record
from pixelwise.data.regions import Box, Patch
from pixelwise.data.sample import VOID
from pixelwise.data.shapes import Shape, ShapeCoding

Drawn = tuple[Shape, Patch, int]
"""A shape, its pixels, and the number of them."""


@dataclass(frozen=True, slots=True, eq=False)
class SeenObjects:
    """The objects of a picture that cover at least one pixel of it.

    Attributes:
        boxes: (N, 4) xyxy in pixels, within the picture.
        classes: (N,) class ids.
        ignored: (N,) bool, crowds and difficult objects.
        entries: the entry of each in the file.
    """

    boxes: np.ndarray
    classes: np.ndarray
    ignored: np.ndarray
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Oddities:
    """Entries of shapes that are probably mistakes.

    Attributes:
        vanishing: shapes that cover no pixel, because they are smaller than a pixel or outside the picture.
        flat: boxes without width or height that are not among the vanishing ones.
        tiny: objects of one pixel.
        doubled: objects of one class that cover the same pixels, or nearly so, as pairs: `annotation 3 and 17`.
        contradicting: the same for two classes.
        cut_off: boxes that reach beyond the picture by more than a pixel.
        beyond: shapes that reach far beyond the picture.
        objects: all objects of the picture.
    """

    vanishing: tuple[str, ...] = ()
    flat: tuple[str, ...] = ()
    tiny: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    contradicting: tuple[str, ...] = ()
    cut_off: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()
    objects: SeenObjects | None = None


def oddities(coding: ShapeCoding, record: Record, height: int, width: int) -> Oddities:
    """Finds the shapes of a picture that are probably mistakes.

    Raises:
        UserError: as in `ShapeCoding.decode`.
    """
    drawn = [(shape, patch, int(np.count_nonzero(patch.mask))) for shape, patch in coding.drawn(record, height, width)]
    objects = [(shape, patch, pixels) for shape, patch, pixels in drawn if pixels and shape.class_id not in (0, VOID)]
    flat = {shape.entry for shape, _, _ in drawn if isinstance(shape.region, Box) and shape.region.is_flat}
    same = list(_same(objects))
    return Oddities(
        vanishing=tuple(shape.entry for shape, _, pixels in drawn if not pixels and shape.entry not in flat),
        flat=tuple(shape.entry for shape, _, _ in drawn if shape.entry in flat),
        tiny=tuple(shape.entry for shape, _, pixels in objects if pixels == 1 and not shape.crowd),
        doubled=tuple(f"{one.entry} and {two.entry}" for one, two in same if one.class_id == two.class_id),
        contradicting=tuple(f"{one.entry} and {two.entry}" for one, two in same if one.class_id != two.class_id),
        beyond=tuple(coding.beyond(record, height, width)),
        cut_off=tuple(
            shape.entry
            for shape, _, _ in objects
            if isinstance(shape.region, Box) and shape.region.overshoot(height, width) > 1
        ),
        objects=_seen(objects, height, width),
    )


SAME = 0.95
"""Two annotations mean one object if the IoU of their boxes and the ratio of their areas are at least this."""


def _seen(objects: Sequence[Drawn], height: int, width: int) -> SeenObjects:
    """The objects among shapes."""
    boxes = _boxes(objects)
    for number, (shape, _, _) in enumerate(objects):
        if isinstance(shape.region, Box):
            boxes[number] = shape.region.within(height, width)
    return SeenObjects(
        boxes,
        np.array([shape.class_id for shape, _, _ in objects], np.int64),
        np.array([shape.ignored for shape, _, _ in objects], bool),
        tuple(shape.entry for shape, _, _ in objects),
    )


def _boxes(objects: Sequence[Drawn]) -> np.ndarray:
    """(N, 4) xyxy around the pixels of the shapes that have any."""
    boxes = np.zeros((len(objects), 4))
    for number, (_, patch, _) in enumerate(objects):
        rows, columns = (np.flatnonzero(patch.mask.any(axis)) for axis in (1, 0))
        low, high = (columns[0], rows[0]), (columns[-1] + 1, rows[-1] + 1)
        boxes[number] = np.concatenate([low, high]) + np.tile([patch.left, patch.top], 2)
    return boxes


def _same(objects: Sequence[Drawn]) -> Iterator[tuple[Shape, Shape]]:
    """Pairs of shapes that are the same object, whatever their classes."""
    if len(objects) < 2:
        return
    boxes = _boxes(objects)
    pixels = np.array([count for _, _, count in objects], np.float64)
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    overlap = shared / (areas[:, None] + areas[None] - shared)
    alike = np.minimum(pixels[:, None], pixels[None]) / np.maximum(pixels[:, None], pixels[None])
    same = (overlap >= SAME) & (alike >= SAME)
    for first, second in np.argwhere(np.triu(same, 1)).tolist():
        yield objects[first][0], objects[second][0]
