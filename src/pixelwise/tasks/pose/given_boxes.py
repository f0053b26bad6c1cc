"""Boxes of people, read from the files that detectors write."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.formats import entries
from pixelwise.errors import UserError

PERSON = "person"
"""Only objects of this class are taken if the file has it; otherwise objects of every class."""
EDGES = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True, slots=True)
class GivenBoxes:
    """The boxes of a file.

    Attributes:
        by_picture: path of the picture as written in the file -> (N, 4) float32 xyxy.
        file: the file from which they were read.
        listed: whether the file lists all its pictures, including those without a box.
    """

    file: Path
    by_picture: dict[str, np.ndarray]
    listed: bool

    def of(self, picture: Path) -> np.ndarray:
        """The boxes of a picture, found by the longest end of its path that occurs in the file.

        Raises:
            UserError: the file lists pictures, but not this one, or it has several pictures of the same name.
        """
        parts = picture.parts
        for start in range(len(parts)):
            found = self.by_picture.get("/".join(parts[start:]))
            if found is not None:
                return found
        namesakes = [name for name in self.by_picture if name.rsplit("/", 1)[-1] == picture.name]
        if len(namesakes) == 1:
            return self.by_picture[namesakes[0]]
        if namesakes or self.listed:
            what = f"may mean {' or '.join(namesakes[:3])}" if namesakes else "is not among the pictures that it lists"
            raise UserError(f"{self.file}: {picture.name} {what}; give the file that was made from these pictures.")
        return np.zeros((0, 4), np.float32)


def read_boxes(file: Path) -> GivenBoxes:
    """Reads COCO's JSON, such as `objects.json`, or `boxes.csv`, as `pixelwise predict` writes them with a detector.

    Raises:
        UserError: the file is missing, or neither of the two.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"boxes: {file} cannot be read ({error}); give objects.json or boxes.csv.") from None
    if file.suffix.lower() == ".csv":
        return _of_table(file, text)
    try:
        content = json.loads(text)
        return _of_coco(file, entries.mapping(content))
    except ValueError as error:
        raise UserError(f"{file}: not valid JSON ({error}); write it again.") from None
    except UserError as error:
        raise UserError(f"{file}: {error} Expected COCO's JSON with images, annotations and categories.") from None


def _of_table(file: Path, text: str) -> GivenBoxes:
    rows = list(csv.DictReader(text.splitlines()))
    missing = [name for name in ("picture", *EDGES) if rows and name not in rows[0]]
    if missing:
        raise UserError(f"{file}: the column '{missing[0]}' is missing; expected picture, {', '.join(EDGES)}.")
    alone = any(row.get("class") == PERSON for row in rows)
    boxes: dict[str, list[list[float]]] = defaultdict(list)
    for line, row in enumerate(rows, start=2):
        if alone and row.get("class") != PERSON:
            continue
        try:
            boxes[row["picture"]].append([float(row[edge]) for edge in EDGES])
        except (TypeError, ValueError):
            raise UserError(f"{file}, line {line}: {', '.join(EDGES)} must be numbers of pixels.") from None
    return GivenBoxes(file, {name: np.array(own, np.float32) for name, own in boxes.items()}, listed=False)


def _of_coco(file: Path, content: dict[str, Any]) -> GivenBoxes:
    images, annotations, categories = (
        [entries.mapping(entry) for entry in entries.entries_of(content, key)]
        for key in ("images", "annotations", "categories")
    )
    names = {entries.identity(image, "id"): entries.name(image, "file_name") for image in images}
    people = {entries.identity(each, "id") for each in categories if each.get("name") == PERSON}
    boxes: dict[str, list[np.ndarray]] = {name: [] for name in names.values()}
    for number, annotation in enumerate(annotations):
        if people and entries.identity(annotation, "category_id") not in people:
            continue
        image, box = entries.identity(annotation, "image_id"), entries.numbers(annotation.get("bbox"), "bbox")
        if image not in names or box.shape != (4,):
            raise UserError(f"annotation {number} has no box, or belongs to a picture that is not listed.")
        boxes[names[image]].append(np.array([*box[:2], *(box[:2] + box[2:])], np.float32))
    return GivenBoxes(
        file, {name: np.array(own, np.float32).reshape(-1, 4) for name, own in boxes.items()}, listed=True
    )
