"""Small pairs of pictures for tests: a picture of discs, and the same discs in other colours."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pixelwise.data.pictures import write_png


def discs(seed: int, size: tuple[int, int] = (40, 48), *, deep: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) or (H, W, 3): a picture with bright discs, and the same discs dark on a bright ground.

    Args:
        deep: 16-bit grey pictures with values that 8 bits cannot hold, instead of 8-bit colour.
    """
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    for _ in range(3):
        centre = tuple(int(value) for value in rng.integers(6, (size[1] - 6, size[0] - 6)))
        cv2.circle(mask, centre, int(rng.integers(4, 9)), 1, -1)
    noise, mask = rng.integers(0, 20, size), mask.astype(np.int64)
    if deep:
        first = (3000 + 400 * mask + noise).astype(np.uint16)
        return first, (21_001 - 9000 * mask + 3 * noise).astype(np.uint16)
    first = np.stack([60 + 120 * mask + noise, 80 + noise, 40 + 60 * mask + noise], 2).astype(np.uint8)
    second = np.where(mask[:, :, None] > 0, (200, 30, 30), (20, 40, 220)).astype(np.uint8)
    return first, second


def write_pairs(
    root: Path, layout: str, *, train: int = 6, val: int = 2, size: tuple[int, int] = (40, 48), deep: bool = False
) -> None:
    """Writes discs in one of the layouts `side_by_side`, `pairs` or `unpaired`.

    The latter has no pairs: the pictures of b show other discs.
    """
    for number, (split, count) in enumerate((("train", train), ("val", val))):
        for index in range(count):
            first, second = discs(100 * number + index, size, deep=deep)
            if layout == "side_by_side":
                write_png(root / split / f"{index}.png", np.concatenate([first, second], axis=1))
            elif layout == "pairs":
                write_png(root / split / "a" / f"{index}.png", first)
                write_png(root / split / "b" / f"{index}.png", second)
            else:
                _, other = discs(1000 + 100 * number + index, size, deep=deep)
                write_png(root / f"{split}A" / f"{index}.png", first)
                write_png(root / f"{split}B" / f"other{index}.png", other)
