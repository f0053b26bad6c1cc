"""Layouts on disk: one module per layout, recognised by the files in the folder.

A layout is a module with `detect(root) -> bool` and `survey(root) -> Survey`; a new one is a new file and a line below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import get_args

from pixelwise.data.dataset import UNLABELLED, Dataset
from pixelwise.data.formats import (
    camvid,
    classes,
    coco,
    folder,
    idx,
    labelmap,
    labelme,
    nuclei,
    picture_pairs,
    points,
    pose_mat,
    rle_csv,
    side_by_side,
    unpaired,
    values,
    voc,
    voc_xml,
    yolo,
)
from pixelwise.data.formats.completion import complete
from pixelwise.data.formats.left_aside import left_aside
from pixelwise.data.formats.survey import Survey
from pixelwise.data.formats.yolo_config import is_config
from pixelwise.data.labelled_list import keep_labels
from pixelwise.data.listing import picture_files
from pixelwise.data.order import Order
from pixelwise.data.record import Record
from pixelwise.data.same_pictures import SamePictures
from pixelwise.errors import UserError, unknown

LAYOUTS: dict[str, ModuleType] = {
    "camvid": camvid,
    "nuclei": nuclei,
    "voc": voc,
    "pose_mat": pose_mat,
    "values": values,
    "labelmap": labelmap,
    "coco": coco,
    "rle_csv": rle_csv,
    "points": points,
    "labelme": labelme,
    "voc_xml": voc_xml,
    "yolo": yolo,
    "idx": idx,
    "unpaired": unpaired,
    "pairs": picture_pairs,
    "classes": classes,
    "side_by_side": side_by_side,
    "folder": folder,
}
"""From the most specific layout to the one that accepts anything: the order in which `auto` tries them."""


def open_dataset(
    path: Path | str,
    layout: str = "auto",
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    labels: bool = True,
    unlabelled: Path | str | None = None,
    labelled: int | str | None = None,
    rle_order: Order = "columns",
    to_measure: bool = False,
    preferred: Sequence[str] = (),
) -> Dataset:
    """Reads a dataset's folder: pictures, the location of their labels, classes and splits. No picture is decoded.

    Args:
        path: the dataset's folder, or one of its data.yaml files for YOLO.
        layout: a name in `LAYOUTS`, or `auto`.
        val_fraction: the share of labelled pictures that is held out if the folder gives no split.
        seed: chooses which pictures those are.
        labels: whether the splits contain only labelled pictures; False for methods that need no labels.
        unlabelled: a folder of further pictures for the split `unlabelled`, whose labels are not read.
        labelled: how many training pictures keep their labels, chosen by the seed, or the path of a list of them; the
            others move to the split `unlabelled`. None for all.
        rle_order: the direction in which the run lengths of tables count the pixels.
        to_measure: whether nothing is trained on, so that a single labelled picture is enough.
        preferred: layouts that `auto` chooses wherever they are possible, since the data is used for what they hold.

    Raises:
        UserError: no such folder or layout, no pictures, no masks, fewer than two labelled pictures, or masks that
            hold no class ids (`pixelwise.data.doctor.examine` reports all errors at once); or as in `keep_labels`.
    """
    survey = survey_folder(Path(path), layout, rle_order, preferred)
    dataset = complete(survey, val_fraction=val_fraction, seed=seed, labels=labels, to_measure=to_measure)
    if labelled is not None:
        dataset = keep_labels(dataset, labelled, seed)
    return dataset if unlabelled is None else _with_unlabelled(dataset, Path(unlabelled))


def _with_unlabelled(dataset: Dataset, folder: Path) -> Dataset:
    """The dataset with the pictures of another folder in the split `unlabelled`."""
    records = tuple(
        Record(f"{UNLABELLED}/{record.name}", record.picture, position=record.position)
        for record in survey_folder(folder).records
    )
    if not records:
        raise UserError(f"{folder}: no pictures found, so there are none without labels to train on; give another.")
    names = (*dataset.splits.get(UNLABELLED, ()), *(record.name for record in records))
    return replace(
        dataset,
        records=(*dataset.records, *records),
        splits={**dataset.splits, UNLABELLED: names},
        notes=(*dataset.notes, *_known_pictures(dataset, folder, records)),
    )


def _known_pictures(dataset: Dataset, folder: Path, records: Sequence[Record]) -> Iterator[str]:
    """Sentences on unlabelled pictures that are, byte by byte, pictures of the labelled splits."""
    for split, role in (("train", "training"), ("val", "held-out validation"), ("test", "held-out test")):
        known = SamePictures(dataset.split(split) if split in dataset.splits else ())
        count = sum(record in known for record in records)
        if count:
            yield f"{count} of the {len(records)} pictures in {folder} are also among the {role} pictures."


def survey_folder(
    root: Path, layout: str = "auto", rle_order: Order = "columns", preferred: Sequence[str] = ()
) -> Survey:
    """Pairs pictures and label files without judging them.

    Args:
        root: the folder, or a data.yaml in it, which then gives the names and the splits.
        rle_order: for the layout `rle_csv`.
        preferred: see `open_dataset`; modules with a function `possible(root) -> bool`.

    Raises:
        UserError: no such folder or layout, a list file or classes.txt that cannot be read, or an order other than
            `columns` for a layout without run lengths.
    """
    if layout not in (*LAYOUTS, "auto"):
        raise unknown("layout", layout, (*LAYOUTS, "auto"))
    if rle_order not in get_args(Order):
        raise unknown("rle_order", rle_order, get_args(Order))
    config = root if is_config(root) else None
    if config is not None:
        if layout not in ("yolo", "auto"):
            raise UserError(f"{root}: of the layout 'yolo', not '{layout}'; give the folder {root.parent} instead.")
        root, layout = root.parent, "yolo"
    picture_files(root)  # raises an error if this is not a folder
    given = layout != "auto"
    if not given:
        layout = next(name for name, module in LAYOUTS.items() if module.detect(root))
        if layout not in preferred:
            layout = next((name for name in preferred if LAYOUTS[name].possible(root)), layout)
    if layout != "rle_csv" and rle_order != "columns":
        raise UserError(
            f"{root}: rle_order is '{rle_order}', but the labels are in the layout '{layout}', which has no tables of "
            "run lengths; leave it out."
        )
    if layout == "rle_csv":
        found: Survey = rle_csv.survey(root, rle_order)
    else:
        found = yolo.survey(root, config) if config is not None else LAYOUTS[layout].survey(root)
    if given and not (found.labelled or found.faults or LAYOUTS[layout].detect(root)):
        raise UserError(
            f"{root}: not in the layout '{layout}' (see docs/data.md); leave the layout out to detect it automatically."
        )
    if given:
        return found
    notes, guesses = left_aside(root, layout, len(found.labelled))
    return replace(found, notes=(*found.notes, *notes), guesses=(*found.guesses, *guesses))
