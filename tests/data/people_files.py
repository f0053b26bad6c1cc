"""Tiny pictures and masks in whatever folders and under whatever names people keep them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIZE = (40, 60)


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A photograph of sorts: (H, W, 3), hardly a pixel like its neighbours, another one for every number."""
    rng = np.random.default_rng(number)
    smooth = cv2.resize(rng.integers(40, 200, (4, 5, 3)).astype(np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def mask(number: int, value: int = 1, dtype: type = np.uint8, corner: tuple[int, int] = (5, 5)) -> np.ndarray:
    """One rectangle, larger for a larger number: (H, W)."""
    ids = np.zeros(SIZE, dtype)
    ids[corner[0] : corner[0] + 10 + number, corner[1] : corner[1] + 20] = value
    return ids


def save(path: Path, array: np.ndarray) -> Path:
    """Writes an array in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def write_pairs(
    root: Path, pictures: str, masks: str, count: int = 6, draw: Callable[[int], np.ndarray] = mask
) -> Path:
    """Pictures and masks under names such as `images/p{0}.png`, whose `{0}` is their number."""
    for number in range(count):
        save(root / pictures.format(number), picture(number))
        save(root / masks.format(number), draw(number))
    return root


def write_sorted(root: Path, folders: list[str], count: int = 6, name: str = "x{0}a.png") -> Path:
    """Photographs of the same names in each of the folders."""
    for place, folder in enumerate(folders):
        for number in range(count):
            save(root / folder / name.format(number), picture(100 * place + number))
    return root
