"""Small data sets of pictures sorted into classes, for tests."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from pixelwise.data.pictures import write_png

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def write_digits(root: Path, classes: int = 3, each: int = 12, *, splits: tuple[str, ...] = ("",)) -> Path:
    """scikit-learn's 8 x 8 digits as `SPLIT/CLASS/NUMBER.png`, `each` of a class in every split, none twice."""
    digits = load_digits()
    for class_id in range(classes):
        images = (digits.images[digits.target == class_id] * 15.9).astype(np.uint8)
        for number, split in enumerate(splits):
            for index in range(number * each, (number + 1) * each):
                write_png(root / split / f"digit{class_id}" / f"{index:03d}.png", images[index])
    return root


def idx_bytes(array: np.ndarray) -> bytes:
    """An array as an idx file, from the format's description."""
    head = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim])
    return head + struct.pack(f">{array.ndim}i", *array.shape) + array.astype(array.dtype.newbyteorder(">")).tobytes()
