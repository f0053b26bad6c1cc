"""The region of a COCO annotation: polygons, run lengths, or only a box."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np

from pixelwise.data.formats import entries
from pixelwise.data.regions import Box, Parts, Polygons, Region, RunLengths
from pixelwise.errors import UserError


def region_of(annotation: dict[str, Any]) -> Region:
    """The outline or, if there is none, the box.

    Raises:
        UserError: there is neither, or something that is not a region.
    """
    segmentation, bbox = (entries.parsed(annotation.get(key)) for key in ("segmentation", "bbox"))
    if isinstance(segmentation, dict):
        return _counts(segmentation)
    if isinstance(segmentation, list) and segmentation and all(isinstance(part, dict) for part in segmentation):
        return Parts(tuple(map(_counts, segmentation)))
    if isinstance(segmentation, list) and segmentation:
        return Polygons(tuple((entries.ring(ring),) for ring in _rings(segmentation)))
    if segmentation not in (None, "", []):
        raise UserError(f"the segmentation is {entries.short(segmentation)}, expected polygons or an encoding.")
    if bbox in (None, "", []):
        raise UserError("neither an outline (segmentation) nor a box (bbox).")
    return _box(bbox)


def _rings(segmentation: list[Any]) -> list[Any]:
    """The polygons of a list of polygons, of the numbers of a single polygon, or of its points.

    >>> _rings([1, 1, 5, 1, 5, 4]) == _rings([[1, 1, 5, 1, 5, 4]]) == [[1, 1, 5, 1, 5, 4]]
    True
    """
    if not any(isinstance(ring, list) for ring in segmentation):
        return [segmentation]
    are_points = all(
        isinstance(ring, list) and len(ring) == 2 and not any(isinstance(value, list) for value in ring)
        for ring in segmentation
    )
    return [segmentation] if are_points and len(segmentation) > 2 else segmentation


def _counts(encoding: dict[str, Any]) -> RunLengths:
    size, counts = encoding.get("size"), encoding.get("counts")
    sides = dict(zip(("height", "width"), size, strict=True)) if isinstance(size, list) and len(size) == 2 else {}
    stated = entries.size(sides, "height", "width")
    if stated is None:
        raise UserError(f"the size of the run-length encoding is {entries.short(size)}, expected [height, width].")
    if isinstance(counts, str):
        return RunLengths(_unquoted(counts), stated)
    if counts is None:
        raise UserError("the key 'counts' is missing.")
    if not isinstance(counts, list) or not all(map(_is_count, counts)):
        raise UserError("the run-length encoding holds something other than whole numbers from 0 on.")
    return RunLengths(np.array(counts, np.int64), stated)


def _is_count(value: Any) -> bool:
    """Whether a value is a whole number from 0 on, including 7.0."""
    whole = type(value) is int or (type(value) is float and value.is_integer())
    return whole and 0 <= value < 1 << 62


def _unquoted(counts: str) -> str:
    """The compressed string, also if Python's bytes were written as text: `b'231'`."""
    if counts[:2] in ("b'", 'b"'):
        try:
            found = ast.literal_eval(counts)
        except (ValueError, SyntaxError):
            return counts
        return found.decode("latin-1") if isinstance(found, bytes) else counts
    return counts


def _box(bbox: Any) -> Box:
    try:
        edges = entries.numbers(bbox, "bbox")
    except UserError:
        edges = np.zeros(0)
    if edges.shape != (4,) or edges[2:].min() < 0:
        raise UserError(f"the bbox is {entries.short(bbox)}, expected [left, top, width, height] in pixels.")
    left, top, width, height = edges.tolist()
    return Box(left, top, left + width, top + height)
