"""Converts pictures and figures into text that becomes part of a page."""

from __future__ import annotations

import base64
import io

import cv2
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from pixelwise.report import figures


def svg(figure: Figure, label: str) -> Markup:
    """A figure as an `<svg>` element; `label` describes it and is unique on the page."""
    return Markup(figures.inline_svg(figure, label))  # matplotlib escapes the text in it


def png(mask: np.ndarray, colours: np.ndarray) -> str:
    """(H, W) uint8 ids in (256, 3) uint8 colours as a data address."""
    image = Image.fromarray(mask).convert("P")
    image.putpalette(colours.tobytes())
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def fitted_size(picture: np.ndarray, long_side: int, *, enlarge: bool = False) -> tuple[int, int]:
    """(width, height) at which the longer side of a picture (H, W, ...) has `long_side` pixels.

    Args:
        enlarge: whether smaller pictures are enlarged; otherwise they keep their size.
    """
    height, width = picture.shape[:2]
    scale = long_side / max(height, width)
    if not enlarge:
        scale = min(scale, 1.0)
    return max(1, round(width * scale)), max(1, round(height * scale))


def resized(picture: np.ndarray, size: tuple[int, int], enlarging: int = cv2.INTER_LINEAR) -> np.ndarray:
    """(H, W, 3) uint8 resized to (width, height); pixels are averaged if the picture shrinks.

    Args:
        enlarging: OpenCV's interpolation if the picture grows; `cv2.INTER_NEAREST` shows pixels as squares.
    """
    if size == (picture.shape[1], picture.shape[0]):
        return np.ascontiguousarray(picture)
    shrinks = size[0] * size[1] < picture.shape[0] * picture.shape[1]
    return np.ascontiguousarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else enlarging))
