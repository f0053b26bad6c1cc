"""A few handwritten digits in folders by class: the embedded data for what can be shown on few pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pixelwise.data.pictures import write_png


def write_digits(out: Path | str, train: int = 10, val: int | None = None) -> None:
    """Writes scikit-learn's 8x8 digits as `train/CLASS/NUMBER.png` and `val/CLASS/NUMBER.png`, always the same ones.

    Args:
        train: digits of each class to train on.
        val: digits of each class to validate on; None for all remaining ones, 1,697 with 100 to train on.

    Raises:
        OSError: as the system raises it.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    for class_id in range(10):
        images = np.rint(digits.images[digits.target == class_id] * (255 / 16)).astype(np.uint8)
        end = None if val is None else train + val
        for split, some in (("train", images[:train]), ("val", images[train:end])):
            for number, image in enumerate(some):
                write_png(Path(out) / split / str(class_id) / f"{number:03d}.png", image)
