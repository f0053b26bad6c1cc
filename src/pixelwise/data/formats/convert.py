"""Writes a dataset of any layout in another layout. The originals are only read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pixelwise.atomic import new_folder
from pixelwise.data.dataset import UNLABELLED, Dataset
from pixelwise.data.formats import (
    coco,
    coco_people,
    folder,
    labelmap,
    labelme,
    open_dataset,
    points,
    rle_csv,
    voc,
    voc_xml,
    yolo_writer,
)
from pixelwise.data.formats.export import CLASSES, Export, plain_names
from pixelwise.data.formats.yolo_config import home_of
from pixelwise.data.order import Order
from pixelwise.data.people import PeopleCoding
from pixelwise.data.shapes import ShapeCoding
from pixelwise.errors import UserError, unknown

WRITERS: dict[str, Callable[[Export, Path], list[str]]] = {
    "folder": folder.write,
    "voc": voc.write,
    "coco": coco.write,
    "rle_csv": rle_csv.write,
    "points": points.write,
    "labelme": labelme.write,
    "voc_xml": voc_xml.write,
    "yolo": yolo_writer.write,
    "labelmap": labelmap.write,
}
"""Layout -> the function that writes an export into a new folder and returns what it assumed."""
OF_BOXES = ("coco", "voc_xml", "yolo", "labelme")
"""Formats that can hold objects of which only the box is known."""


def _writer_of_people(dataset: Dataset, to: str) -> Callable[[Export, Path], list[str]]:
    """The function that writes people with joints, if the format can hold them.

    Raises:
        UserError: a format that cannot hold joints.
    """
    if to != "coco":
        raise UserError(f"{dataset.root}: the labels are joints of people, which {to} cannot hold; write them as coco.")
    return coco_people.write


def convert(
    data: Path | str,
    to: str,
    out: Path | str,
    *,
    splits: Sequence[str] = (),
    layout: str = "auto",
    rle_order: Order = "columns",
    points_per_picture: int | None = None,
) -> list[str]:
    """Writes pictures unchanged, labels in another format, classes.txt and the splits.

    Law, for every writer: `read(write(dataset)) == dataset`, as far as the format can hold it; the sentences report
    what it cannot hold. Class ids, splits and all pixels of masks stay the same, except for masks in voc_xml and
    labelmap, and in points if only some pixels are written.
    Objects stay objects in all formats but folder and voc, and boxes without an outline in those of `OF_BOXES`.

    Args:
        data: a dataset's folder.
        to: a name in `WRITERS`.
        out: a new or empty folder.
        splits: write only the labelled pictures of these splits; if empty, all pictures, including unlabelled ones. If
            `train` is not among them, the copy has no splits, because nothing could be trained on.
        layout: the layout of `data`, or `auto`.
        rle_order: the direction in which run lengths in `data` count the pixels; they are written down the columns.
        points_per_picture: for the format `points`, how many labelled pixels of each picture to write; None for all.

    Returns:
        What was done, in sentences.

    Raises:
        UserError: an unknown format or split, an option of a different format, an `out` that holds files or is inside
            `data`, or data that cannot be read.
    """
    root, out = Path(data), Path(out)
    if to not in WRITERS:
        raise unknown("format", to, WRITERS)
    if points_per_picture is not None and (to != "points" or points_per_picture < 1):
        raise UserError(
            f"--points {points_per_picture}: the number of labelled pixels per picture is at least 1, and only the "
            f"format 'points' has it, not '{to}'; leave it out."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists already; give a new folder for the converted copy.")
    if out.resolve().is_relative_to(home_of(root).resolve()):
        raise UserError(f"{out}: lies inside the dataset {root}; give a folder elsewhere for the converted copy.")
    dataset = open_dataset(root, layout, rle_order=rle_order)
    people = isinstance(dataset.coding, PeopleCoding)
    writer = _writer_of_people(dataset, to) if people else WRITERS[to]
    if not people and dataset.knows.isdisjoint({"pixels", "objects"}):
        raise UserError(f"{root}: the pictures have no masks; conversion is only possible for masks and objects.")
    if "pixels" not in dataset.knows and to not in OF_BOXES:
        raise UserError(
            f"{root}: the objects are boxes without outlines, which {to} cannot hold; choose {', '.join(OF_BOXES)}."
        )
    labelled_splits = [split for split in dataset.splits if split != UNLABELLED]
    chosen = {split: dataset.split(split) for split in splits or labelled_splits}
    wanted = {record.name for records in chosen.values() for record in records}
    records = tuple(record for record in dataset.records if not splits or record.name in wanted)
    alone = "train" not in chosen  # a dataset of only held-out pictures has no splits
    export = Export(dataset, records, plain_names(records), {} if alone else chosen, points_per_picture)
    with new_folder(out) as partial:
        added = writer(export, partial)
        if not (partial / CLASSES).exists():
            export.write_classes(partial)
    if to not in OF_BOXES and isinstance(dataset.coding, ShapeCoding) and dataset.coding.bare_boxes:
        added.append(
            f"{dataset.coding.bare_boxes} objects of {root} have a box but no outline; {to} cannot hold them, and "
            "their pixels are void."
        )
    if to != "coco" and isinstance(dataset.coding, ShapeCoding) and dataset.coding.joints is not None:
        added.append(f"The keypoints of the objects are not written, because {to} cannot hold them; coco can.")
    labelled = sum(record.labelled for record in records)
    counts = ", ".join(f"{len(members)} {split}" for split, members in chosen.items())
    return [
        *dataset.notes,
        f"{len(records)} pictures are written as {to}, {labelled} of them labelled ({counts}), "
        f"with {len(dataset.class_names)} classes.",
        *added,
    ]
