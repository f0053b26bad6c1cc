"""Draws the figures of the pages about one network, from the network itself.

python docs/make_network_images.py            # all of them
python docs/make_network_images.py segnet     # one

A block is a map. Its height grows with the logarithm of the resolution, its width with the logarithm of the channels.
All numbers are those of a pass through the network; `network_tables.py` lists only modules and connections.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping

from figures import IMAGES, save
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle
from network_layout import (
    LINE,
    MARGIN,
    PLUS_RADIUS,
    POINTS,
    WIDTH,
    Box,
    Point,
    boxes_of,
    routes,
    size_position,
    text_width,
)
from network_maps import Diagram, Kind, Part, kind_of, traced
from network_tables import DIAGRAMS
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixelwise.errors import unknown

# Okabe and Ito's colours, which differ in lightness, too.
FILLS = {Part.PICTURE: "#bbbbbb", Part.ENCODER: "#56b4e9", Part.DECODER: "#e69f00", Part.HEAD: "#009e73"}
INK = "#333333"
STROKES = {
    Kind.LAYERS: ("#888888", "-", 1.0),
    Kind.DOWN: ("#d55e00", "-", 1.4),
    Kind.UP: ("#7a3b9a", "-", 2.2),
    Kind.CONCATENATION: (INK, "-", 1.2),
    Kind.SUM: (INK, (0, (5, 2)), 1.2),
    Kind.INDICES: (INK, (0, (1, 1.6)), 1.4),
}
"""Kind of a connection -> colour, dashes and width of its arrow."""
HEAD_LENGTH = 8
COLOURS = 48
"""Of the stored picture, which has flat areas only."""


def network_figure(diagram: Diagram) -> Figure:
    """The diagram of a network."""
    network, shapes = traced(diagram)
    boxes = boxes_of(diagram, network, shapes)
    arrows = [arrow for box in boxes.values() for arrow in routes(box, boxes)]
    heights = [y for _, corners in arrows for _, y in corners]
    top = max(*(box.above for box in boxes.values()), *heights) + MARGIN
    bottom = min(*(box.below for box in boxes.values()), *heights) - MARGIN - 2 * LINE
    figure = Figure(figsize=(WIDTH / 100, (top - bottom) / 100))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(bottom, top))
    axes.axis("off")
    for kind, corners in sorted(arrows, key=lambda arrow: list(Kind).index(arrow[0])):  # layers below all others
        draw_arrow(axes, kind, corners)
    for box in boxes.values():
        draw_box(axes, box, boxes)
    parts = {part for box in boxes.values() for part, _ in pieces(box, boxes)}
    names = {part: diagram.legend(part) for part in Part if part in parts}
    draw_legend(axes, names, {kind for kind, _ in arrows}, bottom + LINE)
    return figure


def draw_box(axes: Axes, box: Box, boxes: Mapping[str, Box]) -> None:
    """A rectangle with channels above and the size below it; the pieces of a concatenation in their own colours."""
    if box.each.plus:
        axes.add_patch(Circle((box.x, box.y), PLUS_RADIUS, facecolor="white", edgecolor=INK, linewidth=1, zorder=3))
        for across, along in ((4, 0), (0, 4)):
            axes.plot(
                [box.x - across, box.x + across], [box.y - along, box.y + along], color=INK, linewidth=1, zorder=4
            )
        return
    left = box.left
    for part, channels in pieces(box, boxes):
        width = box.width * channels / box.shape[0]
        axes.add_patch(
            Rectangle(
                (left, box.bottom), width, box.height, facecolor=FILLS[part], edgecolor="white", linewidth=0.5, zorder=3
            )
        )
        left += width
    axes.add_patch(
        Rectangle((box.left, box.bottom), box.width, box.height, fill=False, edgecolor=INK, linewidth=0.7, zorder=3)
    )
    for row, words in enumerate(reversed(box.caption)):
        label(axes, (box.x, box.top + 2 + row * LINE), words, "bottom")
    if box.size:
        x, y = size_position(box, boxes)
        label(axes, (x, y - 3), box.size, "top")


def pieces(box: Box, boxes: Mapping[str, Box]) -> list[tuple[Part, int]]:
    """The parts that the channels of a map come from, and their numbers, from left to right."""
    kinds = box.each.sources
    joined = {name: boxes[name].shape[0] for name, kind in kinds.items() if kind is Kind.CONCATENATION}
    if not joined:
        return [(box.each.part, box.shape[0])]
    rest = box.shape[0] - sum(joined.values())
    return [(boxes[name].each.part, joined[name]) if name in joined else (box.each.part, rest) for name in kinds]


def label(axes: Axes, place: Point, words: str, vertical: str) -> None:
    axes.text(*place, words, ha="center", va=vertical, fontsize=POINTS, color=INK, zorder=5)


def draw_arrow(axes: Axes, kind: Kind, corners: list[Point]) -> None:
    """A line through the corners and a solid head at its end, whatever the dashes of the line."""
    colour, dashes, width = STROKES[kind]
    (x0, y0), (x1, y1) = corners[-2:]
    length = math.hypot(x1 - x0, y1 - y0)
    along = ((x1 - x0) / length, (y1 - y0) / length)
    base = (x1 - HEAD_LENGTH * along[0], y1 - HEAD_LENGTH * along[1])
    half = 2.6 + width
    wings = [(base[0] - sign * half * along[1], base[1] + sign * half * along[0]) for sign in (1, -1)]
    xs, ys = zip(*corners[:-1], base, strict=True)
    axes.plot(
        xs, ys, color=colour, linestyle=dashes, linewidth=width, solid_capstyle="butt", dash_capstyle="butt", zorder=2
    )
    axes.add_patch(Polygon([(x1, y1), *wings], color=colour, linewidth=0, zorder=2))


def draw_legend(axes: Axes, parts: Mapping[Part, str], kinds: set[Kind], y: float) -> None:
    """One line: the colours of the parts, each with its name, and the arrows that occur."""
    entries: list[tuple[Part | Kind, str]] = [*parts.items(), *((kind, kind.value) for kind in Kind if kind in kinds)]
    x = float(MARGIN)
    for entry, words in entries:
        if isinstance(entry, Part):
            axes.add_patch(Rectangle((x, y - 5), 10, 10, facecolor=FILLS[entry], edgecolor=INK, linewidth=0.7))
            x += 15
        else:
            draw_arrow(axes, entry, [(x, y), (x + 26, y)])
            x += 31
        axes.text(x, y, words, ha="left", va="center", fontsize=POINTS, color=INK)
        x += text_width(words) + 16


def description(diagram: Diagram) -> str:
    """The maps and connections of a figure in words. They are stored in its file and tell whether it is up to date."""
    _, shapes = traced(diagram)
    lines = []
    for each in diagram.maps():
        channels, height, width = shapes[each.name]
        sources = (
            f"{name} ({kind_of(kind, shapes[name], shapes[each.name]).value})" for name, kind in each.sources.items()
        )
        lines.append(f"{each.name}: {channels} x {height} x {width} from {', '.join(sources) or 'the user'}")
    return "\n".join(lines)


def main(names: list[str]) -> None:
    for name in names or DIAGRAMS:
        if name not in DIAGRAMS:
            raise unknown("diagram", name, DIAGRAMS)
        file = f"{name}.png"
        save(network_figure(DIAGRAMS[name]), file, dpi=200)
        facts = PngInfo()
        facts.add_text("Description", description(DIAGRAMS[name]))
        with Image.open(IMAGES / file) as drawn:
            flat = drawn.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        flat.save(IMAGES / file, optimize=True, pnginfo=facts)


if __name__ == "__main__":
    main(sys.argv[1:])
