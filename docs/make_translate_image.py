"""Draws the figure of the page about translation: trains pix2pix in both directions on embedded pairs, a minute each.

python docs/make_translate_image.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from figures import save
from matplotlib.figure import Figure

import pixelwise
from pixelwise.data.formats import open_dataset
from pixelwise.data.pair_scenes import write_pair_scenes

SHOWN = 5
SIDE = 1.25
"""Inches of a picture."""
NAMES = 1.1
"""Inches of the names of the rows."""
OPTIONS = {"model.depth": 6}


def translated(minutes: float = 1.0) -> Figure:
    """Held-out scenes with their maps, both as they are and as the other is translated into them."""
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "digits"
        write_pair_scenes(data, train=300, val=40)
        dataset = open_dataset(data)
        samples = [dataset.load(record) for record in dataset.split("val")[:SHOWN]]
        made = {}
        for direction in ("a-to-b", "b-to-a"):
            run = pixelwise.train(
                "pix2pix",
                data=data,
                minutes=minutes,
                out=Path(place) / direction,
                overrides={**OPTIONS, "model.direction": direction},
            )
            predict = pixelwise.load(run.path)
            inputs = [sample.image if direction == "a-to-b" else sample.partner for sample in samples]
            made[direction] = [predict(picture).picture for picture in inputs]
    rows = {
        "scene": [sample.image for sample in samples],
        "scene to map": made["a-to-b"],
        "map": [sample.partner for sample in samples],
        "map to scene": made["b-to-a"],
    }
    return _drawn(rows)


def _drawn(rows: dict[str, list[np.ndarray]]) -> Figure:
    width, height = NAMES + SIDE * SHOWN, SIDE * len(rows)
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(left=NAMES / width, right=0.995, bottom=0.005, top=0.995, wspace=0.04, hspace=0.04)
    grid = figure.subplots(len(rows), SHOWN)
    for line, (name, pictures) in zip(grid, rows.items(), strict=True):
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    return figure


if __name__ == "__main__":
    save(translated(), "translated.png", dpi=110)
