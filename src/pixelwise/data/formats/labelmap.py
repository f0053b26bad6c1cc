"""Pictures with label maps: 0 is background, every other value an object of its own.

images/x.png + labels/x.png (each value one region, more in one picture than in another)
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from pixelwise.data.class_table import read_classes
from pixelwise.data.codings import MaskCoding
from pixelwise.data.formats import folder
from pixelwise.data.formats.mask_values import Meaning, meaning_of
from pixelwise.data.formats.pairing import pair
from pixelwise.data.formats.survey import Survey
from pixelwise.data.listing import Faults, picture_files


def detect(root: Path) -> bool:
    """Masks whose values number objects, as `mask_values.meaning_of` judges."""
    return _meaning(root).kind == "objects"


def _meaning(root: Path) -> Meaning:
    masks = [root / masks[0] for _, masks, _ in pair(root, picture_files(root)).pairs if len(masks) == 1]
    return meaning_of(masks, Faults().attempt(partial(read_classes, root), None))


def survey(root: Path) -> Survey:
    """As the folder layout, with every value but 0 an object."""
    found, meaning = folder.survey(root), _meaning(root)
    names = found.class_names or ("background", "object")
    return replace(
        found,
        layout="labelmap",
        class_names=("background", names[0]) if len(names) == 1 else names,
        coding=MaskCoding(kind="objects"),
        notes=(
            *found.notes,
            "The masks are read as label maps: 0 is background, every other value an object of its own; if the values "
            "are class ids, say so with the layout `folder`.",
        ),
        guesses=(*found.guesses, *_guess(meaning)),
    )


def _guess(meaning: Meaning) -> tuple[str, ...]:
    if meaning.kind != "objects" or not meaning.why:
        return ()
    return (
        f"The values of the masks are taken for numbers of objects, because {meaning.why}; if they are class ids, give "
        "the layout `folder`, or name the classes in classes.txt.",
    )
