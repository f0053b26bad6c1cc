"""Removes or replaces the background of objects with the help of the mask."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from pixelwise.data.fit import resized
from pixelwise.data.listing import picture_files
from pixelwise.data.pictures import PictureFormat, as_dtype, read_picture
from pixelwise.errors import UserError

SOFT_EDGE = 0.8
"""Standard deviation in pixels of the soft seam: a hard cut would show where objects were cut out."""


def remove_background(image: np.ndarray, background: np.ndarray, colour: float | np.ndarray = 0) -> np.ndarray:
    """(H, W, C) with one colour wherever `background` (H, W) is true."""
    removed = image.copy()
    removed[background] = colour
    return removed


def replace_background(
    image: np.ndarray, background: np.ndarray, rng: np.random.Generator, folder: str = ""
) -> np.ndarray:
    """(H, W, C) with another background wherever `background` (H, W) is true, with a soft seam.

    Args:
        folder: the pictures to take the background from; empty for plain, shaded and noisy surfaces in the picture's
            range.

    Raises:
        UserError: a folder without pictures.
    """
    height, width, channels = image.shape
    other = _surface(image, rng) if not folder else _cutting(folder, (height, width, channels), image.dtype, rng)
    share = cv2.GaussianBlur(background.astype(np.float32), (0, 0), SOFT_EDGE)[:, :, None]
    # Inside the objects the picture stays exactly as it is.
    mixed = np.where(share > 0, image + share * (other.astype(np.float32) - image), image)
    return as_dtype(mixed, image.dtype)


def _surface(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A surface between two random colours in the picture's range: plain, sloping, or in patches of a random size."""
    height, width, channels = image.shape
    low, high = float(image.min()), float(image.max())
    first, second = rng.uniform(low, high, (2, channels))
    kind = rng.integers(3)
    if kind == 0:
        share = np.zeros((height, width), np.float32)
    elif kind == 1:
        angle = rng.uniform(0, 2 * np.pi)
        xs, ys = np.meshgrid(np.linspace(-0.5, 0.5, width), np.linspace(-0.5, 0.5, height))
        share = 0.5 + 0.7 * (np.cos(angle) * xs + np.sin(angle) * ys)
    else:
        size = np.exp(rng.uniform(np.log(1), np.log(max(min(height, width) / 3, 2))))
        rough = rng.random((max(int(height / size), 2), max(int(width / size), 2))).astype(np.float32)
        share = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    share = np.clip(share, 0, 1)[:, :, None]
    return np.clip(first + share * (second - first) + rng.normal(0, 0.02 * (high - low), image.shape), low, high)


def _cutting(folder: str, shape: tuple[int, int, int], dtype: np.dtype, rng: np.random.Generator) -> np.ndarray:
    """A random part of a random picture, enlarged if the picture is too small."""
    height, width, channels = shape
    files = _pictures(folder)
    picture = _read(files[rng.integers(len(files))], channels, str(dtype))
    factor = max(height / picture.shape[0], width / picture.shape[1], 1.0) * rng.uniform(1, 1.3)
    rows, columns = max(round(picture.shape[0] * factor), height), max(round(picture.shape[1] * factor), width)
    picture = resized(picture, rows, columns)
    top, left = rng.integers(rows - height + 1), rng.integers(columns - width + 1)
    return picture[top : top + height, left : left + width]


@lru_cache(maxsize=8)
def _pictures(folder: str) -> tuple[Path, ...]:
    files = tuple(Path(folder) / file for file in picture_files(Path(folder)))
    if not files:
        raise UserError(
            f"augment.backgrounds: {folder} holds no pictures (PNG, JPEG, TIFF, BMP or WebP); give another."
        )
    return files


@lru_cache(maxsize=64)
def _read(file: Path, channels: int, dtype: str) -> np.ndarray:
    return read_picture(file, PictureFormat(channels, dtype))
