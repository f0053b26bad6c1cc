"""Pairs of pictures side by side in one file, as the data sets of pix2pix are published: left a, right b.

train/1.jpg + val/2.jpg      x.png
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pixelwise.data.formats.domains import survey_of_pairs
from pixelwise.data.formats.pairing import pair
from pixelwise.data.formats.survey import Survey
from pixelwise.data.halves import LEFT
from pixelwise.data.listing import Faults, picture_files
from pixelwise.data.path_words import parse_path, record_names
from pixelwise.data.pictures import probe, read_picture
from pixelwise.data.record import Record
from pixelwise.data.splits import even_sample
from pixelwise.errors import UserError

SAMPLE = 20
"""How many headers are looked at."""
DECODED = 8
"""How many pictures are looked at."""
SEAM = 3.0
"""Two pictures meet in the middle if neighbouring pixels differ so many times more there than elsewhere."""


def detect(root: Path) -> bool:
    """Whether all pictures are twice as wide as high, most have a seam in the middle, and none has a mask."""
    if not possible(root):
        return False
    files = picture_files(root)
    seams = []
    for file in even_sample(files, DECODED):
        try:
            seams.append(_seam(read_picture(root / file)) > SEAM)
        except UserError:  # reported when that picture is read
            continue
    return 2 * sum(seams) > len(seams) and not pair(root, files, looks=False).masked


def possible(root: Path) -> bool:
    """Whether a network that needs pairs can read the folder: all pictures are twice as wide as high."""
    files = picture_files(root)
    sound = 0
    for file in even_sample(files, SAMPLE):
        try:
            header = probe(root / file)
        except UserError:  # reported when that picture is read
            continue
        if header.width != 2 * header.height:
            return False
        sound += 1
    return sound > 0


def survey(root: Path) -> Survey:
    """The left half of every picture, with the right half as its partner."""
    files = picture_files(root)
    names = record_names(files)
    records = [Record(names[file], root / file, (root / file,), half=LEFT) for file in files]
    guess = (
        "Each picture is read as two pictures side by side, left a and right b; if it is one picture, give the layout "
        "`folder`."
    )
    return survey_of_pairs(
        root,
        "side_by_side",
        records,
        {names[file]: parse_path(file).split for file in files},
        Faults(),
        guesses=(guess,) if files else (),
    )


def _seam(image: np.ndarray) -> float:
    """How much more the two columns in the middle of a picture differ than neighbouring columns elsewhere do."""
    steps = np.abs(np.diff(image.astype(np.float32), axis=1)).mean(axis=(0, 2))
    middle = image.shape[1] // 2 - 1
    return float(steps[middle] / max(float(np.median(np.delete(steps, middle))), 0.5))
