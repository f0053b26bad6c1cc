"""Class ids as colours: palettes, coloured masks, and masks laid over pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from pixelwise.data.sample import VOID

BACKGROUND_NAMES = frozenset({"background", "bg", "none", "nothing", "other", "unlabelled", "unlabeled", "void"})
BACKGROUND_COLOUR = (30, 32, 38)
VOID_COLOUR = (128, 128, 128)

# Okabe and Ito 2008, Color Universal Design, in an order that keeps the first few colours far apart.
OKABE_ITO = ((230, 159, 0), (0, 114, 178), (0, 158, 115), (213, 94, 0), (86, 180, 233), (204, 121, 167), (240, 228, 66))

# Machado, Oliveira and Fernandes 2009, table 1, severity 1.0: linear RGB as seen without red and without green cones.
PROTANOPIA = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))
DEUTERANOPIA = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))


def background_class(class_names: Sequence[str]) -> int | None:
    """The id of the background: 0 if the first class is named as one (`background`, `other`, ...), else None."""
    return 0 if class_names and class_names[0].strip().lower() in BACKGROUND_NAMES else None


def palette(num_classes: int, background: int | None = 0) -> np.ndarray:
    """Colours that people with and without red-green colour blindness can distinguish.

    The first seven are Okabe and Ito's. Each later one is chosen from a grid of colours that are neither dull nor
    glaring: the colour farthest from all before it in CIELAB, where the smallest distance among three kinds of eye
    counts (normal, protanope, deuteranope). So a class keeps its colour when others are added.

    Args:
        num_classes: 1 to 255.
        background: the class that gets a dark neutral colour, if any.

    Returns:
        (256, 3) uint8 RGB; ids from `num_classes` on, void among them, are mid-grey.
    """
    colours = np.full((256, 3), VOID_COLOUR, np.uint8)
    classes = [class_id for class_id in range(num_classes) if class_id != background]
    colours[classes] = _distinct(255)[: len(classes)]
    if background is not None:
        colours[background] = BACKGROUND_COLOUR
    return colours


@lru_cache(maxsize=1)
def _distinct(count: int) -> np.ndarray:
    levels = np.linspace(0, 255, 13).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _to_lab(grid)
    chroma = np.hypot(lab[0, :, 1], lab[0, :, 2])
    usable = (lab[0, :, 0] > 30) & (lab[0, :, 0] < 90) & (chroma > 25) & (chroma < 95)
    candidates, lab = grid[usable], lab[:, usable]
    chosen = [np.array(colour, np.uint8) for colour in OKABE_ITO]
    taken = _to_lab(np.array([*OKABE_ITO, BACKGROUND_COLOUR, VOID_COLOUR], np.uint8))
    distance = np.linalg.norm(lab[:, :, None] - taken[:, None], axis=-1).min(axis=(0, 2))
    while len(chosen) < count:
        best = int(distance.argmax())
        chosen.append(candidates[best])
        distance = np.minimum(distance, np.linalg.norm(lab - lab[:, best : best + 1], axis=-1).min(axis=0))
    return np.stack(chosen)


def _to_lab(colours: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 sRGB -> (3, N, 3) CIELAB as three kinds of eye see the colours."""
    encoded = colours.astype(np.float32) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.stack([linear @ np.array(eye).T for eye in (np.eye(3), PROTANOPIA, DEUTERANOPIA)])
    return cv2.cvtColor(np.clip(seen, 0, 1).astype(np.float32), cv2.COLOR_LRGB2Lab)


def colourise(mask: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """(H, W) ids 0..255 and (256, 3) colours -> (H, W, 3) uint8."""
    return colours[mask]


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Turns any picture into RGB that can be looked at.

    Args:
        image: (H, W) or (H, W, C). One channel is shown as grey, two as red and green, and of more channels the first
            three are shown. uint8 is kept; any other type is stretched from its 1st to its 99th percentile, all
            channels alike, and non-finite values are black.

    Returns:
        (H, W, 3) uint8.
    """
    planes = image[:, :, None] if image.ndim == 2 else image[:, :, :3]
    if planes.dtype != np.uint8:
        planes = _stretch(planes.astype(np.float32))
    if planes.shape[2] == 1:
        return np.repeat(planes, 3, axis=2)
    if planes.shape[2] == 2:
        return np.concatenate([planes, np.zeros_like(planes[:, :, :1])], axis=2)
    return np.ascontiguousarray(planes)


def _stretch(planes: np.ndarray) -> np.ndarray:
    finite = np.isfinite(planes)
    low, high = np.percentile(planes[finite], (1, 99)) if finite.any() else (0.0, 1.0)
    scaled = (np.where(finite, planes, low) - low) * (255 / (high - low) if high > low else 0.0)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def overlay(
    image: np.ndarray,
    mask: np.ndarray,
    colours: np.ndarray,
    alpha: float = 0.5,
    outline: bool = True,
    background: int | None = 0,
) -> np.ndarray:
    """Tints a picture by class.

    Args:
        image: (H, W) or (H, W, C), as `to_rgb` takes it.
        mask: (H, W) class ids; void stays untinted.
        colours: (256, 3) uint8, from `palette`.
        alpha: opacity of the colour, 0..1.
        outline: draw the inner edge of every region in its full colour.
        background: the class that stays untinted, if any.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: sizes that differ.
    """
    picture = to_rgb(image)
    if picture.shape[:2] != mask.shape:
        raise ValueError(f"picture is {picture.shape[:2]} but mask is {mask.shape}")
    opacity = np.full(256, alpha, np.float32)
    opacity[VOID] = 0
    if background is not None:
        opacity[background] = 0
    shown = opacity[mask]
    if outline and alpha > 0:
        shown[_edges(mask, max(1, round(max(mask.shape) / 500))) & (shown > 0)] = 1
    tinted = picture + shown[:, :, None] * (colours[mask].astype(np.float32) - picture)
    return np.rint(tinted).astype(np.uint8)


def _edges(mask: np.ndarray, width: int) -> np.ndarray:
    """(H, W) bool: pixels less than `width + 1` rows and columns from another id; the picture's border is no edge."""
    ids = mask.astype(np.uint8)
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    return cv2.dilate(ids, kernel) != cv2.erode(ids, kernel)


def contact_sheet(images: Sequence[np.ndarray], columns: int, gap: int = 6) -> np.ndarray:
    """Arranges pictures in rows on white, each reduced to fit the size of the first.

    Args:
        images: (H, W, 3) uint8 each, at least one.
        columns: pictures per row.
        gap: white pixels between and around the pictures.

    Returns:
        (H', W', 3) uint8.
    """
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for index, image in enumerate(images):
        scale = min(height / image.shape[0], width / image.shape[1])
        if scale != 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        row, column = divmod(index, columns)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet
