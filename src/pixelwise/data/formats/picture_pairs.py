"""Pairs of pictures in two folders, under the same names.

a/x.png + b/x.png      train/A/x.jpg + train/B/x.png      A/train/x.jpg + B/train/x.jpg
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from pixelwise.data.formats.domains import Place, joined, placed, survey_of_pairs
from pixelwise.data.formats.pairing import pair
from pixelwise.data.formats.survey import Survey
from pixelwise.data.listing import Faults, picture_files
from pixelwise.data.path_words import record_names
from pixelwise.data.pictures import read_picture
from pixelwise.data.record import Record
from pixelwise.data.splits import even_sample
from pixelwise.errors import UserError

SAMPLE = 8
"""How many pairs are looked at."""
SIDE = 64
RELATED = 0.1
"""Pictures of the same name are pairs if the correlation of their edges exceeds that of other pictures by this."""


def detect(root: Path) -> bool:
    """Whether there are folders called a and b without masks, most pictures in a have one of the same name in b, and
    the edges of such pictures lie in the same places; a and b may also be two classes, or two parts of other data."""
    places, _ = placed(root)
    pairs, _ = _paired(places)
    inputs = sum(place.domain == "a" for place in places.values())
    if not pairs or 2 * len(pairs) < inputs or joined(list(places)):
        return False
    return _related(root, pairs) and not pair(root, picture_files(root), looks=False).masked


def possible(root: Path) -> bool:
    """Whether a network that needs pairs can read the folder: there are folders called a and b with equal names."""
    return bool(_paired(placed(root)[0])[0])


def survey(root: Path) -> Survey:
    """Every picture of a with the picture of b that has its name."""
    places, others = placed(root)
    pairs, orphans = _paired(places)
    inputs = [file for file, place in places.items() if place.domain == "a"]
    names, partner = record_names(inputs), dict(pairs)
    records = [Record(names[file], root / file, (root / partner[file],) if file in partner else ()) for file in inputs]
    guess = (
        "Pictures of the same name in the folders a and b are read as pairs; if a and b are classes, give the layout "
        "`classes`."
    )
    return survey_of_pairs(
        root,
        "pairs",
        records,
        {names[file]: places[file].split for file in inputs},
        Faults(),
        orphans=orphans,
        ignored=others,
        guesses=(guess,) if pairs else (),
    )


def _paired(
    places: dict[PurePosixPath, Place],
) -> tuple[list[tuple[PurePosixPath, PurePosixPath]], list[PurePosixPath]]:
    """Pictures of a with their partners in the same split, and the pictures of b that are nobody's partner."""
    partners: dict[tuple[str, str], PurePosixPath] = {}
    for file, place in places.items():
        if place.domain == "b":
            partners.setdefault((place.split, place.key), file)
    pairs = [
        (file, partners[place.split, place.key])
        for file, place in places.items()
        if place.domain == "a" and (place.split, place.key) in partners
    ]
    used = {partner for _, partner in pairs}
    return pairs, [file for file, place in places.items() if place.domain == "b" and file not in used]


def _related(root: Path, pairs: Sequence[tuple[PurePosixPath, PurePosixPath]]) -> bool:
    first, second = [], []
    for one, other in even_sample(pairs, SAMPLE):
        try:
            edges = _edges(root / one), _edges(root / other)
        except UserError:  # reported when that picture is read
            continue
        first.append(edges[0])
        second.append(edges[1])
    if not first:
        return False
    own = np.mean([np.vdot(one, other) for one, other in zip(first, second, strict=True)])
    if len(first) == 1:
        return bool(own > RELATED)
    foreign = np.mean([np.vdot(one, second[number - 1]) for number, one in enumerate(first)])
    return bool(own - foreign > RELATED)


def _edges(file: Path) -> np.ndarray:
    """(64, 64) length of the gradient of a picture, zero mean and unit length; zeros for a flat picture."""
    image = read_picture(file)
    grey = cv2.resize(image.mean(axis=2, dtype=np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    edges = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    edges -= edges.mean()
    length = float(np.linalg.norm(edges))
    return edges / length if length > 0 else edges
