"""The layout of the Data Science Bowl 2018 (Caicedo et al. 2019): one mask file per nucleus.

    stage1_train/ID/images/ID.png + stage1_train/ID/masks/*.png

Next to such folders there may be pictures with label maps (`images/x.png` + `labels/x.png`, 16 bits).
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from pixelwise.data.class_table import read_classes
from pixelwise.data.codings import MaskCoding
from pixelwise.data.formats import folder
from pixelwise.data.formats.pairing import pair
from pixelwise.data.formats.survey import Survey, given_splits
from pixelwise.data.listing import Faults, picture_files
from pixelwise.data.pictures import PictureFormat, read_picture
from pixelwise.data.record import Record

DARK = 0.45
"""Below this mean brightness (0..1) a picture is fluorescent: nuclei shine on black."""
COLOURFUL = 0.05
"""From this mean distance between the strongest and the weakest channel (0..1) on, a picture is stained."""


def detect(root: Path) -> bool:
    return bool(_objects(picture_files(root)))


def survey(root: Path) -> Survey:
    """One record per folder of objects, and one per picture with a label map."""
    faults = Faults()
    files = picture_files(root)
    objects = _objects(files)
    inside = {str(above) for above in objects}
    pairing = pair(root, [file for file in files if str(file.parent.parent) not in inside])
    records, by_folder, notes = folder.records_of(root, pairing)
    records += tuple(
        Record(str(picture.with_suffix("")), root / picture, tuple(root / mask for mask in masks))
        for picture, masks in objects.values()
    )
    records = tuple(sorted(records, key=lambda record: record.name))
    given, unmatched = given_splits(root, records, by_folder, faults)
    return Survey(
        root=root,
        layout="nuclei",
        records=records,
        given=given,
        class_names=faults.attempt(partial(read_classes, root), None) or ("background", "nucleus"),
        coding=MaskCoding(kind="objects"),
        orphans=tuple(map(str, pairing.orphans)),
        ignored=tuple(map(str, pairing.ignored)),
        missing=tuple(unmatched.missing),
        ambiguous=tuple(unmatched.ambiguous),
        faults=tuple(faults),
        guesses=pairing.guesses,
        stratify=lambda record: kind_of(record.picture),
        notes=(
            *notes,
            f"{len(objects)} pictures have one mask file per object, "
            f"{len(records) - len(objects)} have a label map or none; every object is a nucleus.",
        ),
    )


def _objects(
    files: tuple[PurePosixPath, ...],
) -> dict[PurePosixPath, tuple[PurePosixPath, tuple[PurePosixPath, ...]]]:
    """Folder -> its only picture and the files of its objects.

    A folder counts if `images/` below it holds one picture and `masks/` holds either the objects of a picture with the
    folder's name, or several files none of which has the picture's name; otherwise it is the folder layout.
    """
    pictures: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    masks: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for file in files:
        if len(file.parts) >= 3 and file.parts[-2] in ("images", "masks"):
            (pictures if file.parts[-2] == "images" else masks)[file.parent.parent].append(file)
    return {
        above: (found[0], tuple(masks[above]))
        for above, found in sorted(pictures.items())
        if len(found) == 1 and _are_objects(found[0], masks.get(above, []))
    }


def _are_objects(picture: PurePosixPath, masks: list[PurePosixPath]) -> bool:
    if picture.stem == picture.parts[-3]:
        return bool(masks)
    return len(masks) > 1 and not any(mask.stem.startswith(picture.stem) for mask in masks)


def kind_of(picture: Path) -> tuple[str, str]:
    """How a microscope picture was made, by its mean brightness and colour: dark or bright, grey or coloured.

    Dark ones are fluorescent, bright coloured ones stained, bright grey ones taken in plain light. On the pictures of
    the 2018 bowl, the three kinds are clearly separated.

    Raises:
        UserError: the picture cannot be read.
    """
    image = read_picture(picture, PictureFormat(3, "uint8"))
    small = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR), np.float32) / 255
    colour = float((small.max(axis=2) - small.min(axis=2)).mean())
    return "dark" if small.mean() < DARK else "bright", "coloured" if colour >= COLOURFUL else "grey"
