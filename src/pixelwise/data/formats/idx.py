"""The files of MNIST and its relatives: pictures in one idx file, their class ids in another.

train-images-idx3-ubyte.gz + train-labels-idx1-ubyte.gz      t10k-images-idx3-ubyte + t10k-labels-idx1-ubyte
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from pixelwise.data.class_table import read_classes
from pixelwise.data.codings import ClassCoding
from pixelwise.data.formats.survey import Survey
from pixelwise.data.idx import read_idx
from pixelwise.data.listing import picture_files
from pixelwise.data.path_words import SPLIT_WORDS
from pixelwise.data.pictures import PictureFormat
from pixelwise.data.record import Record
from pixelwise.errors import UserError

_IMAGES = re.compile(r"^(?P<part>.+?)[-_.]images?[-_.]idx3[-_.]ubyte(?:\.gz)?$", re.IGNORECASE)
_LAST_SUFFIXES = frozenset({"", ".gz", ".idx3-ubyte", ".idx3_ubyte", ".ubyte"})


@dataclass(frozen=True, slots=True)
class _Part:
    """One file of pictures.

    Attributes:
        name: the file's name before `-images-idx3-ubyte`, with its folders if files are in several.
        file: its path.
        split: `train`, `val` or `test`, by a word of the name (`t10k` is `test`); empty if no word states it.
        collection: folders and name without that word: `raw/emnist-letters` of `raw/emnist-letters-train`.
    """

    name: str
    file: Path
    split: str
    collection: str


def detect(root: Path) -> bool:
    return bool(_parts(root))


def _parts(root: Path) -> list[_Part]:
    """The files of pictures at any depth; an unpacked file takes precedence over a packed one."""
    found: dict[PurePosixPath, Path] = {}
    for file in picture_files(root, _LAST_SUFFIXES):
        match = _IMAGES.match(file.name)
        if match:
            found.setdefault(file.parent / match["part"], root / file)
    several = len({key.parent for key in found}) > 1
    return [_part(str(key) if several else key.name, key, file) for key, file in found.items()]


def _part(name: str, key: PurePosixPath, file: Path) -> _Part:
    words = re.split(r"([-_. ]+)", key.name)
    splits = [word for word in words if word.lower() in _SPLIT_WORDS]
    if splits:
        words.remove(splits[-1])
    folders = (folder for folder in key.parent.parts if folder.lower() not in _SPLIT_WORDS)
    collection = "/".join((*folders, "".join(words).strip("-_. ")))
    return _Part(name, file, _SPLIT_WORDS[splits[-1].lower()] if splits else "", collection)


_SPLIT_WORDS = {**SPLIT_WORDS, "t10k": "test"}


def _labels_of(images: Path) -> Path:
    """The file of class ids next to a file of pictures, packed or not.

    Raises:
        UserError: there is none.
    """
    stem = re.sub(r"(?i)images?(?=[-_.]idx3)", "labels", images.name.removesuffix(".gz"), count=1).replace(
        "idx3", "idx1"
    )
    for name in (stem, f"{stem}.gz", stem.replace("labels", "label"), f"{stem.replace('labels', 'label')}.gz"):
        if (images.parent / name).is_file():
            return images.parent / name
    raise UserError(f"{images}: no {stem} or {stem}.gz next to it; put the file with its class ids there.")


def survey(root: Path) -> Survey:
    """Every picture of every file. Words in the files' names state their split (`t10k`: `test`), else they have none.

    Raises:
        UserError: files that are missing, damaged or do not fit together, files of several collections, or class ids
            beyond classes.txt.
    """
    parts = _parts(root)
    collections = sorted({part.collection for part in parts if part.split})
    if len(collections) > 1:
        raise UserError(
            f"{root}: files of several collections found ({', '.join(map(repr, collections))}), whose class ids "
            "have different meanings; give the folder of one of them, or put each into a separate folder."
        )
    records: list[Record] = []
    given: dict[str, tuple[str, ...]] = {}
    found: set[int] = set()
    for part in parts:
        own, ids = _records_of(part)
        records += own
        found |= ids
        if part.split:
            given[part.split] = (*given.get(part.split, ()), *(record.name for record in own))
    top = max(found, default=0)
    class_names = read_classes(root) or tuple(map(str, range(top + 1)))
    if top >= len(class_names):
        raise UserError(
            f"{root}: class id {top} found, but classes.txt names {len(class_names)} classes; add the others."
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
        notes=tuple(_notes(parts, found)),
    )


def _records_of(part: _Part) -> tuple[list[Record], set[int]]:
    """The pictures of one file, and the class ids that occur.

    Raises:
        UserError: files that are missing, damaged or do not fit together.
    """
    images, labels_file = read_idx(part.file), _labels_of(part.file)
    labels = read_idx(labels_file)
    if images.ndim != 3 or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise UserError(
            f"{part.file}: {' x '.join(map(str, images.shape))} values of {images.dtype}, and "
            f"{' x '.join(map(str, labels.shape))} in {labels_file.name}; expected pictures x height x width bytes "
            "and as many class ids."
        )
    if labels.min(initial=0) < 0:
        raise UserError(f"{labels_file}: class ids down to {labels.min()} found, expected 0 and above.")
    digits = len(str(max(len(images) - 1, 1)))
    records = [
        Record(f"{part.name}/{position:0{digits}d}", part.file, (labels_file,), class_id=class_id, position=position)
        for position, class_id in enumerate(labels.tolist())
    ]
    return records, set(np.unique(labels).tolist())


def _notes(parts: list[_Part], found: set[int]) -> Iterator[str]:
    if found and min(found) > 0:
        yield (
            f"The class ids go from {min(found)} to {max(found)}, so no picture has a class below {min(found)}; ids "
            "are kept unchanged."
        )
    if any("emnist" in part.file.name.lower() for part in parts):
        yield (
            "EMNIST's files store pictures with rows and columns exchanged. They are read as stored, so rows and "
            "columns must be exchanged in pictures that are predicted later, too."
        )
