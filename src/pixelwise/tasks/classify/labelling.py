"""Prepares pictures for being sorted into folders by class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pixelwise.tasks.labelling import Asked


def prepare_folders(asked: Sequence[Asked], class_names: Sequence[str], out: Path) -> list[str]:
    """Copies the pictures, with one empty folder per class beside them.

    Pictures that remain outside the folders are not labelled.
    """
    for each in asked:
        each.copy_picture(out)
    for name in class_names:
        (out / name).mkdir(parents=True, exist_ok=True)
    return [f"Move each picture in {out.name}/ into the folder of its class, and add the folders to the labelled data."]
