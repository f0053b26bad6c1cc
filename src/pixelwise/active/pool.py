"""The pictures of a pool, without those that are labelled already."""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelwise.data.dataset import Dataset
from pixelwise.data.formats import survey_folder
from pixelwise.data.formats.survey import Survey
from pixelwise.data.idx import read_idx
from pixelwise.data.listing import counted, some
from pixelwise.data.record import Record
from pixelwise.data.same_pictures import SamePictures
from pixelwise.errors import UserError


@dataclass(frozen=True, slots=True)
class Pool:
    """Pictures to choose from.

    Attributes:
        root: the folder.
        records: the pictures without labels, sorted by name.
        notes: sentences on the pictures that were left out.
    """

    root: Path
    records: tuple[Record, ...]
    notes: tuple[str, ...]

    def name(self, record: Record) -> str:
        """The picture in tables: its path below the root, with its position if the file holds many."""
        path = record.picture.relative_to(self.root).as_posix()
        return path if record.position is None else f"{path}#{record.position}"


def open_pool(folder: Path, labelled: Dataset | None, needs: Set[str], class_names: Collection[str]) -> Pool:
    """The pictures of a folder that have labels neither in this folder nor in the data of a run. No label is read.

    Args:
        labelled: the data of the run. Pictures with the same content as a labelled one count as labelled.
        needs: what must be known from the labels so that they count, see `Task.needs`.
        class_names: the classes of the network. Folders with other names do not label pictures.

    Raises:
        UserError: no such folder, no pictures, or none without labels.
    """
    survey = survey_folder(folder)
    if not survey.records:
        raise UserError(f"{folder}: no pictures found, so there is nothing to suggest; give another folder.")
    notes = []
    inside = [record for record in survey.records if _has_label(record, survey, needs, class_names)]
    if inside:
        notes.append(_left_out(len(inside), "labels in this folder", [record.name for record in inside]))
    labelled_names = {record.name for record in inside}
    free = [record for record in survey.records if record.name not in labelled_names]
    known = SamePictures(() if labelled is None else (record for record in labelled.records if record.labelled))
    twice = [record for record in free if record in known]
    if twice:
        notes.append(_left_out(len(twice), "labels in the data of the run", [record.name for record in twice]))
        names = {record.name for record in twice}
        free = [record for record in free if record.name not in names]
    if not free:
        raise UserError(
            f"{folder}: all {len(survey.records)} pictures are labelled already, so there is nothing to suggest; give "
            "a folder with pictures that have no labels."
        )
    return Pool(folder, tuple(free), tuple(notes))


def pixels_of(record: Record) -> Path | np.ndarray:
    """The file of a picture, or its pixels (H, W, 1) if it is one of many in a file."""
    return record.picture if record.position is None else read_idx(record.picture)[record.position][:, :, None]


def _has_label(record: Record, survey: Survey, needs: Set[str], class_names: Collection[str]) -> bool:
    """Whether a picture has labels of the kind that the network's task needs."""
    if not record.labelled or not needs <= ({"pixels"} if survey.coding is None else survey.coding.knows):
        return False
    return record.class_id is None or (survey.class_names or ())[record.class_id] in class_names


def _left_out(count: int, where: str, names: list[str]) -> str:
    return f"{counted(count, 'picture has', 'pictures have')} {where} and will not be suggested ({some(names, 3)})."
