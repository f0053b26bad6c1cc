"""Writes pictures sorted into folders by class, and prepares pictures for being sorted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pixelwise.data.dataset import Dataset
from pixelwise.tasks.labelling import Asked, Known


def prepare_folders(asked: Sequence[Asked], class_names: Sequence[str], out: Path) -> list[str]:
    """Copies the pictures, with one empty folder per class beside them.

    Pictures that remain outside the folders are not labelled.
    """
    for each in asked:
        each.copy_picture(out)
    for name in class_names:
        (out / name).mkdir(parents=True, exist_ok=True)
    return [f"Move each picture in {out.name}/ into the folder of its class, and add the folders to the labelled data."]


def write_sorted(dataset: Dataset, splits: Mapping[str, Sequence[Known]], out: Path) -> str:
    """Writes the layout `classes`: `SPLIT/CLASS/NUMBER.png`."""
    for split, members in splits.items():
        for number, known in enumerate(members):
            assert known.record.class_id is not None
            known.place_picture(dataset, out / split / dataset.class_names[known.record.class_id] / f"{number:06d}")
    return "classes"
