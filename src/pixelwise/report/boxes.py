"""Draws boxes and heat maps over a picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pixelwise.data.draw import palette, to_rgb


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    classes: np.ndarray,
    labels: Sequence[str] | None = None,
    *,
    colours: np.ndarray | None = None,
) -> np.ndarray:
    """A picture with boxes drawn on it.

    Args:
        image: (H, W) or (H, W, C), as `data.draw.to_rgb` takes it.
        boxes: (N, 4) xyxy in pixels; parts outside the picture are cut off. The first box is drawn last, on top.
        classes: (N,) class ids, for the colours.
        labels: a text per box; None for boxes without text.
        colours: (256, 3) uint8 of `data.draw.palette`; None for the palette of the classes that occur.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: the numbers of boxes, classes and labels differ.
    """
    if len(classes) != len(boxes) or (labels is not None and len(labels) != len(boxes)):
        raise ValueError(
            f"{len(boxes)} boxes, {len(classes)} classes and {len(labels or ())} labels do not go together"
        )
    if colours is None:
        colours = palette(int(np.max(classes, initial=0)) + 1, background=None)
    picture = Image.fromarray(to_rgb(image))
    brush = ImageDraw.Draw(picture)
    line = max(1, round(max(picture.size) / 300))
    font = ImageFont.load_default(max(10, round(max(picture.size) / 40)))
    for number in reversed(range(len(boxes))):
        colour = tuple(int(value) for value in colours[classes[number]])
        # The frame lies on the outermost pixels that the box covers: a box from 2 to 5 covers pixels 2 to 4.
        left, top, right, bottom = np.rint(boxes[number]).astype(int)
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, picture.width) - 1, min(bottom, picture.height) - 1
        if right < left or bottom < top:
            continue
        brush.rectangle((left, top, right, bottom), outline=colour, width=line)
        if labels is not None and labels[number]:
            _label(brush, labels[number], (left, top), colour, font, picture.size)
    return np.asarray(picture)


def write_label(picture: np.ndarray, text: str, corner: tuple[int, int], colour: tuple[int, int, int]) -> np.ndarray:
    """A picture (H, W, 3) uint8 with text on a background of a colour, above a corner `x, y`, in the size for boxes."""
    image = Image.fromarray(picture)
    font = ImageFont.load_default(max(10, round(max(image.size) / 40)))
    _label(ImageDraw.Draw(image), text, corner, colour, font, image.size)
    return np.asarray(image)


def _label(
    brush: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[int, int],
    colour: tuple[int, ...],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """Writes text on the box's colour, above its top left corner, or inside the box at the picture's upper edge."""
    _, _, wide, tall = (int(np.ceil(edge)) for edge in brush.textbbox((0, 0), text, font=font))
    left = max(min(corner[0], size[0] - wide - 4), 0)
    top = corner[1] - tall - 4 if corner[1] >= tall + 4 else corner[1]
    brush.rectangle((left, top, left + wide + 4, top + tall + 4), fill=colour)
    light = np.dot(colour, (0.299, 0.587, 0.114)) > 140
    brush.text((left + 2, top + 2), text, fill=(20, 20, 20) if light else (255, 255, 255), font=font)


def heat_overlay(
    image: np.ndarray, heat: np.ndarray, *, window: tuple[float, float], stride: tuple[float, float], alpha: float = 0.6
) -> np.ndarray:
    """A grey picture with the heat map of its windows drawn over it.

    The value of a window is placed at the window's centre. Values are interpolated between the centres, and extended
    unchanged beyond the outermost centres.

    Args:
        image: (H, W) or (H, W, C), as `data.draw.to_rgb` takes it.
        heat: (h, w), 0..1, from `tasks.classify.sliding.heat_map`.
        window, stride: (height, width) of a window and of the step between windows, in pixels; fractional if the
            picture was reduced.
        alpha: opacity of the colour where the heat is 1.

    Returns:
        (H, W, 3) uint8.
    """
    from matplotlib import colormaps

    picture = to_rgb(image)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)[:, :, None]
    at = [
        (np.arange(size, dtype=np.float32) + 0.5 - side / 2) / step
        for size, side, step in zip(picture.shape, window, stride, strict=False)
    ]
    columns, rows = np.meshgrid(at[1], at[0])
    spread = cv2.remap(heat.astype(np.float32), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).clip(
        0, 1
    )
    tint = colormaps["inferno"](spread)[:, :, :3].astype(np.float32) * 255
    shown = alpha * spread[:, :, None]
    return np.rint(grey + shown * (tint - grey)).astype(np.uint8)
