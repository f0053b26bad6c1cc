"""Writes the objects of a mask as a label map and as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pixelwise.data.pictures import read_ids
from pixelwise.errors import UserError
from pixelwise.inference.writer import MaskWriter
from pixelwise.tasks.segment.instances import INSTANCES, label_objects

TABLE = "instances.csv"
COLUMNS = ("instance", "class", "pixels", "x0", "y0", "x1", "y1", "centre_x", "centre_y")
MAX_OBJECTS = np.iinfo(np.uint16).max
LARGEST = 50_000_000
"""The most pixels of a mask in which objects are separated; that takes about 3 GB of memory."""


def write_objects(mask_file: Path, out: Path, class_names: Sequence[str], way: str) -> list[tuple[object, ...]]:
    """Writes the label map of a mask's objects, and returns a row of the table for each object.

    Raises:
        UserError: a mask too large to be processed as a whole, or more objects than 16 bits can number.
    """
    from skimage.measure import regionprops_table

    mask = read_ids(mask_file)
    height, width = mask.shape
    if mask.size > LARGEST:
        raise UserError(
            f"{mask_file}: the mask was written, but its {width:,} x {height:,} pixels are too many to separate "
            f"objects, which needs a whole mask of at most {LARGEST:,} pixels; predict parts of the picture."
        )
    labels, classes = label_objects(mask, INSTANCES[way])
    if len(classes) > MAX_OBJECTS:
        raise UserError(
            f"{mask_file}: the mask was written, but has {len(classes):,} objects; a label map of 16 bits holds at "
            f"most {MAX_OBJECTS:,}; predict parts of the picture."
        )
    with MaskWriter(out, height, width, np.uint16) as writer:
        writer.write(labels)
    found = regionprops_table(labels, properties=("label", "area", "bbox", "centroid"))
    top, left, bottom, right = (found[f"bbox-{side}"].tolist() for side in range(4))
    y, x = ([f"{where + 0.5:.2f}" for where in found[f"centroid-{axis}"]] for axis in range(2))  # of pixel centres
    named = [class_names[class_id] for class_id in classes]
    areas = found["area"].astype(int).tolist()
    return list(zip(found["label"].tolist(), named, areas, left, top, right, bottom, x, y, strict=True))
