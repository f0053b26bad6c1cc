"""Embedded data for translation: scenes of handwritten digits, and the same scenes as maps in two colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pixelwise.atomic import write_text
from pixelwise.data.draw import BACKGROUND_COLOUR, OKABE_ITO
from pixelwise.data.pictures import write_png
from pixelwise.data.scenes import scene

COLOURS = {"background": BACKGROUND_COLOUR, "digit": OKABE_ITO[0]}
"""What a map shows -> its colour."""


def write_pair_scenes(
    out: Path | str, train: int = 240, val: int = 60, size: tuple[int, int] = (128, 128), seed: int = 0
) -> None:
    """Writes scenes side by side with maps of where digits are; the same bytes for the same arguments.

    `train/`, `val/` (left the scene, right the map) and `colors.txt`, from which label accuracy is measured. The scenes
    are those of `scenes.write_scenes` with the same seed and size.

    Args:
        train, val: the number of scenes in each split.
        size: height and width of each picture in pixels.

    Raises:
        UserError: as in `scenes.scene`.
        OSError: as the system raises it.
    """
    out = Path(out)
    colours = np.array(list(COLOURS.values()), np.uint8)
    for number, (split, count) in enumerate((("train", train), ("val", val))):
        for index in range(count):
            sample = scene((seed, number, index), size, pool=split)
            assert sample.mask is not None
            drawn = colours[(sample.mask > 0).astype(np.uint8)]
            pair = np.concatenate([sample.image, drawn], axis=1)
            write_png(out / split / f"{index:04d}.png", pair)
    lines = (f"{name} {' '.join(map(str, colour))}\n" for name, colour in COLOURS.items())
    write_text(out / "colors.txt", "".join(lines))
