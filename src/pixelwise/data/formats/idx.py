"""MNIST's own files and those of its relatives: pictures in one idx file, their class ids in another.

train-images-idx3-ubyte.gz + train-labels-idx1-ubyte.gz      t10k-images-idx3-ubyte + t10k-labels-idx1-ubyte
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from pixelwise.data.class_table import read_classes
from pixelwise.data.dataset import ClassCoding, Record
from pixelwise.data.formats.survey import Survey
from pixelwise.data.idx import read_idx
from pixelwise.data.listing import SPLIT_WORDS
from pixelwise.data.pictures import PictureFormat
from pixelwise.errors import UserError

_IMAGES = re.compile(r"^(?P<part>.+?)[-_.]images?[-_.]idx3[-_.]ubyte(?:\.gz)?$", re.IGNORECASE)


def detect(root: Path) -> bool:
    return bool(_image_files(root))


def _image_files(root: Path) -> dict[str, Path]:
    """`train`, `t10k`, ... -> the file with its pictures; an unpacked one is taken before a packed one."""
    found: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        match = _IMAGES.match(path.name)
        if match and path.is_file():
            found.setdefault(match["part"], path)
    return found


def _labels_of(images: Path) -> Path:
    """The file of class ids beside a file of pictures, packed or not.

    Raises:
        UserError: there is none.
    """
    stem = re.sub(r"(?i)images?", "labels", images.name.removesuffix(".gz"), count=1).replace("idx3", "idx1")
    for name in (stem, f"{stem}.gz", stem.replace("labels", "label"), f"{stem.replace('labels', 'label')}.gz"):
        if (images.parent / name).is_file():
            return images.parent / name
    raise UserError(f"{images}: no {stem} or {stem}.gz beside it; put the file with its class ids there.")


def survey(root: Path) -> Survey:
    """Every picture of every file. `t10k` is the split `test`; names of other parts say their split, else they have
    none.

    Raises:
        UserError: files that are missing, damaged or do not fit together, or class ids beyond classes.txt.
    """
    records: list[Record] = []
    given: dict[str, tuple[str, ...]] = {}
    top = 0
    for part, file in _image_files(root).items():
        images, labels_file = read_idx(file), _labels_of(file)
        labels = read_idx(labels_file)
        if images.ndim != 3 or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
            raise UserError(
                f"{file}: {' x '.join(map(str, images.shape))} values of {images.dtype}, and "
                f"{' x '.join(map(str, labels.shape))} in {labels_file.name}; expected pictures x height x width bytes "
                "and as many class ids."
            )
        if labels.min(initial=0) < 0:
            raise UserError(f"{labels_file}: class ids down to {labels.min()} found, expected 0 and above.")
        top = max(top, int(labels.max(initial=0)))
        digits = len(str(max(len(images) - 1, 1)))
        names = tuple(f"{part}/{place:0{digits}d}" for place in range(len(images)))
        records += [
            Record(name, file, (labels_file,), class_id=class_id, place=place)
            for place, (name, class_id) in enumerate(zip(names, labels.tolist(), strict=True))
        ]
        split = "test" if part.lower() == "t10k" else SPLIT_WORDS.get(part.lower(), "")
        if split:
            given[split] = (*given.get(split, ()), *names)
    class_names = read_classes(root) or tuple(map(str, range(top + 1)))
    if top >= len(class_names):
        raise UserError(
            f"{root}: class id {top} found, but classes.txt names {len(class_names)} classes; add the rest."
        )
    return Survey(
        root=root,
        layout="idx",
        records=tuple(sorted(records, key=lambda record: record.name)),
        given=given,
        class_names=class_names,
        coding=ClassCoding(),
        stratify=lambda record: record.class_id,
        form=PictureFormat(1, "uint8"),
    )
