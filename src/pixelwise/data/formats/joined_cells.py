"""Tables in which one cell holds picture and class: `x.jpg_1`, `x_1`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pixelwise.data.formats.tables import Row
from pixelwise.data.names import Finder, Found

_JOINED = re.compile(r"(?P<picture>.+\.(?:png|jpe?g|tiff?|bmp|webp))_(?P<label>.+)", re.IGNORECASE)


def parted(rows: Sequence[Row], finder: Finder, file: Path) -> list[Row]:
    """The rows with picture and class separated.

    Without a suffix, the picture is the longest part before a `_` that names one. If `a_3` is missing, that would make
    `a_3_1` the class `3_1` of `a`. So if a class occurs with only one picture, and its end is a class of several
    pictures, the row belongs to a picture that does not exist.
    """
    apart = [_parted(row, finder, file) for row in rows]
    pictures: dict[str, set[str]] = defaultdict(set)
    for row in apart:
        pictures[row.label].add(row.picture)
    return [_of_the_lost(row, pictures) if len(pictures[row.label]) == 1 else row for row in apart]


def _parted(row: Row, finder: Finder, file: Path) -> Row:
    match = _JOINED.fullmatch(row.picture)
    if match:
        return replace(row, picture=match["picture"], label=match["label"])
    parts = row.picture.split("_")
    heads = ["_".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]
    picture = next((head for head in heads if finder.find(file, head) != Found()), heads[0] if heads else row.picture)
    return replace(row, picture=picture, label=row.picture.removeprefix(picture).removeprefix("_"))


def _of_the_lost(row: Row, pictures: dict[str, set[str]]) -> Row:
    """The row; if its class ends in a class of several pictures, the beginning of the class moves to the picture."""
    parts = row.label.split("_")
    for start in range(1, len(parts)):
        label = "_".join(parts[start:])
        if len(pictures.get(label, ())) > 1:
            return replace(row, picture="_".join([row.picture, *parts[:start]]), label=label)
    return row
