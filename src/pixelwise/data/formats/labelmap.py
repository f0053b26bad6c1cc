"""Pictures with label maps: 0 is background, every other value an object of its own.

images/x.png + labels/x.png (16 bits, or more values than classes)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pixelwise.data.class_table import read_classes
from pixelwise.data.dataset import MaskCoding
from pixelwise.data.formats import folder
from pixelwise.data.formats.pairing import pair
from pixelwise.data.formats.survey import Survey
from pixelwise.data.listing import picture_files
from pixelwise.data.pictures import probe, read_ids
from pixelwise.data.splits import even_sample
from pixelwise.errors import UserError

FEWEST_OBJECTS = 40
"""8-bit masks with more distinct values than this, numbered without gaps, are label maps unless classes.txt says no."""


def detect(root: Path) -> bool:
    """Looks at 20 masks spread over the dataset: 16 bits or more, or many values without gaps, and no ids of named
    classes."""
    masks = [root / masks[0] for _, masks, _ in pair(root, picture_files(root)).pairs if len(masks) == 1]
    try:
        names = read_classes(root)
        sample = even_sample(masks, 20)
        deep = 2 * sum(probe(mask).dtype not in {"uint8", "bool"} for mask in sample) > len(sample)
        if deep and (names is None or len(names) <= 2):
            return True
        values = [np.bincount(np.clip(read_ids(mask), 0, 65535).ravel(), minlength=256) for mask in sample]
    except UserError:  # colour or damaged masks: told by the layout that reads them
        return False
    top = max((int(np.flatnonzero(counts)[-1]) for counts in values), default=0)
    if deep and names is not None:
        return top >= len(names) and top != 255
    return (names is None or top >= len(names)) and any(map(_numbers_objects, values))


def _numbers_objects(counts: np.ndarray) -> bool:
    """Many ids and hardly a gap; soft-edged 0/255 masks have many values as well, but most of their pixels are 255."""
    present = np.flatnonzero(counts[1:])
    dense = len(present) > FEWEST_OBJECTS and len(present) >= 0.9 * (present[-1] + 1)
    return bool(dense and counts[255] <= 0.05 * counts.sum())


def survey(root: Path) -> Survey:
    """As the folder layout, with every value but 0 an object.

    Raises:
        UserError: a list file or classes.txt that cannot be read.
    """
    found = folder.survey(root)
    names = found.class_names or ("background", "object")
    return replace(
        found,
        layout="labelmap",
        class_names=("background", names[0]) if len(names) == 1 else names,
        coding=MaskCoding(kind="objects"),
        notes=(
            *found.notes,
            "The masks are read as label maps: 0 is background, every other value an object of its own; if the values "
            "are class ids, say so with the layout `folder`.",
        ),
    )
