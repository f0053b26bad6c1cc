"""Makes the pictures of the guide from a finished demo.

pixelwise demo --out demo && python docs/make_images.py demo
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

import pixelwise
from pixelwise.data.draw import colourise, palette
from pixelwise.data.pictures import write_png
from pixelwise.report.figures import contact_sheet

SCENES = ("val-0007", "val-0008", "val-0038")


def main(demo: Path) -> None:
    """A row a scene: the picture, its true mask, and the predicted one."""
    predict = pixelwise.load(demo / "run")
    dataset = pixelwise.open_dataset(demo / "scenes")
    colours = palette(len(dataset.class_names))
    panels: list[np.ndarray] = []
    for record in dataset.split("val"):
        if not record.name.endswith(SCENES):
            continue
        sample = dataset.load(record)
        for mask in (None, sample.mask, predict(sample.image).mask):
            panel = sample.image if mask is None else colourise(mask, colours)
            panels.append(cv2.resize(panel, None, fx=1.25, fy=1.25, interpolation=cv2.INTER_AREA))
    write_png(Path(__file__).parent / "images" / "demo.png", contact_sheet(panels, columns=3))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
