"""Annotation files of a layout that is not read, because another one in the same folder takes precedence."""

from __future__ import annotations

from pathlib import Path

from pixelwise.data.formats import coco, labelme, points, rle_csv, voc_xml, yolo
from pixelwise.data.listing import relative, some

_KINDS = {
    "coco": ("COCO's files", coco.outline_files),
    "labelme": ("LabelMe's files", labelme.candidates),
    "points": ("tables of labelled pixels", points.table_files),
    "rle_csv": ("tables of run lengths", rle_csv.table_files),
    "voc_xml": ("Pascal VOC's XML files", voc_xml.annotation_files),
    "yolo": ("YOLO's text files", yolo.label_files),
}
_ONE_PER_PICTURE = ("labelme", "voc_xml", "yolo")


def left_aside(root: Path, layout: str, labelled: int) -> tuple[list[str], list[str]]:
    """Sentences on annotation files of other layouts, as notes and as guesses.

    Some layouts have one file per picture. More such files than labelled pictures mean lost labels, which is a guess.

    Args:
        layout: the layout that is read.
        labelled: how many pictures have labels in it.
    """
    notes: list[str] = []
    guesses: list[str] = []
    for name, (kind, files_of) in _KINDS.items():
        files = [] if name == layout else files_of(root)
        if files:
            note = (
                f"Not read, because there are labels of the layout '{layout}': {kind} "
                f"({some([relative(root, file) for file in files], 3)}); --layout {name} reads them instead."
            )
            (guesses if name in _ONE_PER_PICTURE and len(files) > labelled else notes).append(note)
    return notes, guesses
