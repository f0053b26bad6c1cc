"""Pictures with label maps: 0 is background, every other value is a separate object.

images/x.png + labels/x.png (each value one region, more in one picture than in another)
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from pixelwise.data.class_table import read_classes
from pixelwise.data.codings import MaskCoding
from pixelwise.data.formats import folder
from pixelwise.data.formats.export import CLASSES, Export, parts_of
from pixelwise.data.formats.mask_values import Meaning, meaning_of
from pixelwise.data.formats.pairing import pair
from pixelwise.data.formats.survey import Survey
from pixelwise.data.listing import Faults, picture_files
from pixelwise.data.pictures import write_png
from pixelwise.data.sample import VOID
from pixelwise.errors import UserError

MAX_OBJECTS = np.iinfo(np.uint16).max
"""How many objects a 16-bit label map can number."""


def detect(root: Path) -> bool:
    """Masks whose values number objects, as `mask_values.meaning_of` judges."""
    return _meaning(root).kind == "objects"


def _meaning(root: Path) -> Meaning:
    masks = [root / masks[0] for _, masks, _ in pair(root, picture_files(root)).pairs if len(masks) == 1]
    return meaning_of(masks, Faults().attempt(partial(read_classes, root), None))


def survey(root: Path) -> Survey:
    """The survey of the folder layout, but every value other than 0 is an object."""
    found, meaning = folder.survey(root), _meaning(root)
    names = found.class_names or ("background", "object")
    return replace(
        found,
        layout="labelmap",
        class_names=("background", names[0]) if len(names) == 1 else names,
        coding=MaskCoding(kind="objects"),
        notes=(
            *found.notes,
            "The masks are read as label maps: 0 is background, every other value is a separate object; if the values "
            "are class ids, say so with the layout `folder`.",
        ),
        guesses=(*found.guesses, *_guess(meaning)),
    )


def write(export: Export, out: Path) -> list[str]:
    """`images/`, `labels/` as 16-bit PNGs that number the objects from 1, and lists.

    If objects are not known, they are the connected regions of each class.

    Raises:
        UserError: more objects in a picture than 16 bits can number.
    """
    export.copy_pictures(out / "images")
    void = ignored = 0
    for record, sample in export.samples(export.records):
        assert sample.mask is not None
        ids = np.zeros(sample.mask.shape, np.uint16)
        known, number = sample.instances is not None, 0
        for part in parts_of(sample.mask, sample.instances, connected=True):
            if part.class_id == VOID or part.crowd or part.difficult or (known and not part.is_object):
                void += part.class_id == VOID
                ignored += part.class_id != VOID
                continue
            number += 1
            if number > MAX_OBJECTS:
                raise UserError(
                    f"{record.picture}: has more than {MAX_OBJECTS:,} objects, the most that a 16-bit label map "
                    "can hold; choose another format, such as coco."
                )
            ids[part.patch.window][part.patch.mask] = number
        write_png(out / "labels" / f"{export.names[record.name]}.png", ids)
    export.write_lists(out, "images/")
    names = export.dataset.class_names
    lines = names if len(names) == 2 else ("background", "object")
    (out / CLASSES).write_text("".join(f"{name}\n" for name in lines), encoding="utf-8")
    notes = ["The numbers of few objects may look like class ids; read the copy with --layout labelmap then."]
    if len(names) > 2:
        notes.append(f"Label maps hold no classes: all {len(names) - 1} are merged into one, object.")
    if void:
        notes.append(f"{void} void regions are not written and will be background.")
    if ignored:
        notes.append(f"{ignored} crowds and difficult objects are not written and will be background.")
    return notes


def _guess(meaning: Meaning) -> tuple[str, ...]:
    if meaning.kind != "objects" or not meaning.why:
        return ()
    return (
        f"The values of the masks are read as numbers of objects, because {meaning.why}; if they are class ids, give "
        "the layout `folder`, or name the classes in classes.txt.",
    )
