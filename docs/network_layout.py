"""Where the blocks, labels and arrows of a network's diagram lie, in pixels of the figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from matplotlib.textpath import TextPath
from network_maps import LOGITS, PICTURE, Diagram, Kind, Map, Shape, kind_of
from torch import nn

WIDTH = 900
"""Width of a figure, in pixels as a page shows it."""
LINE = 13
"""Height of a line of text."""
POINTS = 7.5
"""Size of the text."""
PLUS_RADIUS = 8
MARGIN, STACK_GAP, LONGEST_ARROW = 8, 10, 44

Point = tuple[float, float]


@dataclass(slots=True)
class Box:
    """A rectangle that stands for a map; `left` is filled in once the width of all columns is known."""

    each: Map
    shape: Shape
    column: int
    width: float
    height: float
    y: float
    caption: list[str]
    size: str = ""
    left: float = 0.0

    @property
    def x(self) -> float:
        return self.left + self.width / 2

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def top(self) -> float:
        return self.y + self.height / 2

    @property
    def bottom(self) -> float:
        return self.y - self.height / 2

    @property
    def above(self) -> float:
        """Upper end of the text above the box."""
        return self.top + LINE * len(self.caption) + 3

    @property
    def below(self) -> float:
        """Lower end of the text below the box."""
        return self.bottom - (LINE + 3 if self.size else 0)


@cache
def text_width(text: str) -> float:
    """Pixels, at 100 per inch."""
    return float(TextPath((0, 0), text, size=POINTS * 100 / 72).get_extents().width)


def rate_of(network: nn.Module, name: str) -> str:
    """The largest dilation of a module's convolutions, if it is not 1."""
    if name in (PICTURE, LOGITS) or name.endswith("<"):
        return ""
    modules = [each for each in network.get_submodule(name).modules() if isinstance(each, nn.Conv2d)]
    rate = max((max(each.dilation) for each in modules), default=1)
    return f"rate {rate}" if rate > 1 else ""


def boxes_of(diagram: Diagram, network: nn.Module, shapes: Mapping[str, Shape]) -> dict[str, Box]:
    """A box per map, by name. Its height grows by `step` per doubling of the resolution, its width per doubling of the
    channels."""
    maps = {each.name: each for each in diagram.maps()}
    smallest = min(math.sqrt(height * width) for _, height, width in shapes.values())
    boxes: dict[str, Box] = {}
    for column, stack in enumerate(diagram.stacks()):
        for name in (each.name for each in stack):
            each, shape = maps[name], shapes[name]
            channels, height, width = shape
            if each.plus:
                boxes[name] = Box(each, shape, column, 2 * PLUS_RADIUS, 2 * PLUS_RADIUS, each.y or 0.0, [])
                continue
            words = [words for words in (each.words, rate_of(network, name)) if words]
            first = next(iter(each.sources), None)
            changed = first is None or shapes[first][1:] != shape[1:]
            boxes[name] = Box(
                each,
                shape,
                column,
                width=4 + 2.3 * math.log2(channels),
                height=18 + diagram.step * math.log2(math.sqrt(height * width) / smallest),
                y=each.y or 0.0,
                caption=[*words, f"{channels}"],
                size=f"{height}×{width}" if changed else "",
            )
    for stack in diagram.stacks():
        spread([boxes[each.name] for each in stack if each.y is None], boxes)
    place(boxes, len(diagram.columns))
    return boxes


def spread(stack: list[Box], boxes: Mapping[str, Box]) -> None:
    """Stacks boxes with their texts around the middle, the first at the top, or each in the row of its own source."""
    if len(stack) < 2:
        return
    sources = [boxes[next(iter(box.each.sources))] for box in stack]
    if len({source.each.name for source in sources}) == len(stack):
        for box, source in zip(stack, sources, strict=True):
            box.y = source.y
        return
    heights = [box.above - box.below for box in stack]
    top = (sum(heights) + STACK_GAP * (len(stack) - 1)) / 2
    for box, height in zip(stack, heights, strict=True):
        box.y = top - (box.above - box.top) - box.height / 2
        top -= height + STACK_GAP


def place(boxes: Mapping[str, Box], columns: int) -> None:
    """Sets the left edges: columns wide enough for their texts, with equal space between them over the whole width."""
    stacks = [[box for box in boxes.values() if box.column == column] for column in range(columns)]
    needed = [max(max(box.width, *map(text_width, box.caption), 0) for box in stack) for stack in stacks]
    for column in range(columns):  # the text of a size may extend over the maps after it that have the same size
        sizes = [text_width(box.size) for box in stacks[column] if box.size]
        following = column + 1
        while following < columns and not any(box.size for box in stacks[following]):
            following += 1
        room = sum(needed[column:following]) + 8 * (following - column - 1)
        missing = max([*sizes, 0.0]) - room
        if missing > 0:
            needed[column] += missing
    gap = min((WIDTH - 2 * MARGIN - sum(needed)) / (columns - 1), LONGEST_ARROW)
    left = (WIDTH - sum(needed) - gap * (columns - 1)) / 2
    for stack, width in zip(stacks, needed, strict=True):
        for box in stack:
            box.left = left + (width - box.width) / 2
        left += width + gap


def size_position(box: Box, boxes: Mapping[str, Box]) -> Point:
    """Middle of the upper edge of the text with the size: under the box and those after it that have the same size."""
    last = box
    for other in boxes.values():
        following = other.column == last.column + 1 and other.y == box.y and other.height == box.height
        if following and not other.size and not other.each.plus:
            last = other
    return (box.left + last.right) / 2, box.bottom


def routes(box: Box, boxes: Mapping[str, Box]) -> list[tuple[Kind, list[Point]]]:
    """The arrows to a box, each as its kind and its corners. Slanted arrows end at different heights."""
    found = []
    sources = [boxes[name] for name in box.each.sources]
    slanted = sorted((source.y for source in sources if slants(source, box)), reverse=True)
    for source, kind in zip(sources, box.each.sources.values(), strict=True):
        kind = kind_of(kind, source.shape, box.shape)
        if kind in (Kind.CONCATENATION, Kind.SUM) and source.shape[1] < box.shape[1]:
            kind = Kind.UP
        corners = route(source, box, boxes)
        if slants(source, box) and len(slanted) > 1:
            part = slanted.index(source.y) / (len(slanted) - 1) - 0.5
            corners[-1] = (box.left, box.y - 0.7 * box.height * part)
        found.append((kind, corners))
    return found


def slants(source: Box, target: Box) -> bool:
    """Whether a straight arrow leads from a stack to the next column, or into one."""
    return target.column == source.column + 1 and not target.each.plus and source.each.y is None


def route(source: Box, target: Box, boxes: Mapping[str, Box]) -> list[Point]:
    """The corners of an arrow.

    Maps of one column are joined vertically, and maps of neighbouring columns or of a row with nothing in between
    directly. Between two rows, an arrow follows the row that is farther from the middle. Between other maps of one row
    it runs above those in between.
    """
    if source.column == target.column:
        upwards = target.y > source.y
        start, end = (source.above, target.below) if upwards else (source.below, target.above)
        return [(source.x, start), (target.x, end)]
    between = [box for box in boxes.values() if source.column < box.column < target.column]
    free = all(box.above < source.y or box.below > source.y for box in between)
    if slants(source, target) or (source.y == target.y and free):
        return [(source.right, source.y), (target.left, target.y)]
    if source.y != target.y:
        if abs(target.y) > abs(source.y) and not target.each.plus:
            return [(source.x, source.below), (source.x, target.y), (target.left, target.y)]
        upwards = target.y > source.y
        end = (
            (target.bottom if upwards else target.top)
            if target.each.plus
            else (target.below if upwards else target.above)
        )
        return [(source.right, source.y), (target.x, source.y), (target.x, end)]
    lane = max(box.above for box in (*between, source, target)) + 8
    return [(source.x, source.above), (source.x, lane), (target.x, lane), (target.x, target.above)]
