"""Writes a dataset as YOLO text files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from pixelwise.data.formats.export import Export, LabelledPart
from pixelwise.data.formats.outlines import joined_ring
from pixelwise.data.sample import VOID
from pixelwise.data.shapes import IGNORE

DECIMALS = 9
"""Precision of shares of the picture's sides: far less than a pixel of any picture."""


def write(export: Export, out: Path) -> list[str]:
    """`images/`, `labels/` with a text file per labelled picture, `data.yaml` and lists of the splits.

    A line is an object or, if objects are not known, a connected region of one class: a polygon, or a box if no outline
    is known. Holes and further parts are joined to the polygon by bridges of zero width. The ids are one less than
    those of the classes, because the background has none; void is written as a class. Crowds are left out, and
    difficult objects are written like any other.
    """
    export.copy_pictures(out / "images")
    ids = {class_id: class_id - 1 for class_id in range(1, len(export.dataset.class_names))}
    ids[VOID] = len(ids)
    crowds = difficult = bridged = void = 0
    for record, sample in export.samples(export.records):
        lines = []
        for part in export.parts(sample, connected=sample.instances is None):
            if part.crowd or (sample.instances is not None and not part.is_object and part.class_id != VOID):
                crowds += 1
                continue
            difficult += part.difficult
            void += part.class_id == VOID
            shares = _shares(part, *sample.image.shape[:2])
            bridged += part.box is None and _has_bridge(shares)
            lines.append(f"{ids[part.class_id]} {' '.join(map(_text, shares.ravel().tolist()))}\n")
        file = out / "labels" / f"{export.names[record.name]}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(lines), encoding="utf-8")
    export.write_lists(out, "./images/", suffix=True)
    names = [*export.dataset.class_names[1:], *([IGNORE] if void else [])]
    content = {"path": ".", **{split: f"{split}.txt" for split in export.splits}, "names": dict(enumerate(names))}
    (out / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    counts = (
        (bridged, "objects have holes or several parts, which are joined to one polygon by bridges of zero width."),
        (crowds, "crowds are not written, and will be background."),
        (difficult, "difficult objects are written like any other."),
    )
    notes = [f"{count} {what}" for count, what in counts if count]
    return [*notes, *([f"Void is written as the class {IGNORE}, which other programs do not know."] if void else [])]


def _shares(part: LabelledPart, height: int, width: int) -> np.ndarray:
    """Centre and sides of a box (2, 2), or the corners of a polygon (N, 2), as shares of the picture's sides."""
    if part.box is None:
        return joined_ring(part.patch) / (width, height)
    left, top, right, bottom = part.edges
    return np.array([[(left + right) / 2, (top + bottom) / 2], [right - left, bottom - top]]) / (width, height)


def _has_bridge(corners: np.ndarray) -> bool:
    """Whether a polygon returns to one of its corners."""
    return len(np.unique(corners, axis=0)) < len(corners)


def _text(share: float) -> str:
    return f"{share:.{DECIMALS}f}".rstrip("0").rstrip(".")
