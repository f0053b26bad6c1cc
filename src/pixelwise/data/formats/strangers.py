"""Label files that no layout has read, so that messages can report what was found instead of labels."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pixelwise.data.formats.tables import columns_of
from pixelwise.data.formats.voc_objects import is_annotation
from pixelwise.data.formats.yolo_lines import are_lines
from pixelwise.data.listing import counted, some

_HEAD = 4096
_ABOUT_ALL = {
    ".txt": re.compile(r"readme.*|licen[cs]e|classes|class_names|labels|labelmap|train|val|test|trainval|dataset"),
    ".json": re.compile(r"classes|class_names|labelmap|dataset"),
}
"""Suffix -> names of files that describe the whole dataset and hold no labels."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of file.

    Attributes:
        what: what it looks like, for a sentence.
        fits: whether the beginning of a file belongs to this kind.
        advice: what to do.
    """

    what: str
    fits: Callable[[bytes], bool]
    advice: str


def _voc(head: bytes) -> bool:
    return is_annotation(head.decode("utf-8", "replace"))


def _yolo(head: bytes) -> bool:
    return are_lines(head.decode("utf-8", "replace"))


_ARRAYS = _Kind("arrays", lambda head: True, "save each mask as a PNG of class ids under its picture's name in masks/")
_VOLUMES = _Kind("volumes", lambda head: True, "save each slice as a picture, and its mask as a PNG of class ids")
_LINES = _Kind("in no format that is read", lambda head: True, "export the labels as COCO's or LabelMe's JSON")
_MAPS = _Kind("outlines on a map", lambda head: True, "rasterise them to one mask per picture")
_KINDS: Mapping[str, tuple[_Kind, ...]] = {
    ".xml": (
        _Kind("boxes in Pascal VOC's format", _voc, "leave the layout out, or give voc_xml"),
        _Kind("annotations", lambda head: True, "export them as COCO's JSON, LabelMe's JSON or masks"),
    ),
    ".txt": (
        _Kind(
            "boxes or outlines in YOLO's format",
            _yolo,
            "give each the name of its picture, and leave the layout out or give yolo",
        ),
    ),
    ".json": (_LINES,),
    ".jsonl": (_LINES,),
    ".ndjson": (_LINES,),
    ".geojson": (_MAPS,),
    ".shp": (_MAPS,),
    ".kml": (_MAPS,),
    ".npy": (_ARRAYS,),
    ".npz": (_ARRAYS,),
    ".mat": (_ARRAYS,),
    ".h5": (_ARRAYS,),
    ".hdf5": (_ARRAYS,),
    ".nii": (_VOLUMES,),
    ".gz": (_Kind("compressed files", lambda head: True, "unpack them"),),
    ".zip": (_Kind("archives", lambda head: True, "unpack them"),),
    ".tar": (_Kind("archives", lambda head: True, "unpack them"),),
    ".parquet": (_Kind("tables", lambda head: True, "write pictures and masks as files"),),
    ".tfrecord": (_Kind("records", lambda head: True, "write pictures and masks as files"),),
    ".csv": (
        _Kind(
            "tables without a column for the picture and one for run lengths",
            lambda head: columns_of(head.decode("utf-8", "replace")) is None,
            "see docs/data.md for the names of the columns",
        ),
        _Kind(
            "run lengths under the name of a template for submitting predictions",
            lambda head: True,
            "rename them if they are labels of these pictures",
        ),
    ),
}


def labels_not_read(root: Path) -> str:
    """A sentence on files below `root` that look like labels of an unsupported kind; empty if there are none."""
    found: dict[tuple[str, _Kind], list[str]] = defaultdict(list)
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            suffix = Path(name).suffix.lower()
            about_all = suffix in _ABOUT_ALL and _ABOUT_ALL[suffix].fullmatch(Path(name).stem.lower())
            if name.startswith(".") or suffix not in _KINDS or about_all:
                continue
            file = Path(folder) / name
            kind = _kind_of(file, suffix)
            if kind is not None:
                found[suffix, kind].append(file.relative_to(root).as_posix())
    sentences = [
        f"{counted(len(files), 'file', 'files')} with the suffix {suffix} ({some(files, 2)}), {kind.what}: "
        f"{kind.advice}."
        for (suffix, kind), files in sorted(found.items(), key=lambda item: -len(item[1]))
    ]
    return f"Found, but not read: {' '.join(sentences)}" if sentences else ""


def _kind_of(file: Path, suffix: str) -> _Kind | None:
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return None
    return next((kind for kind in _KINDS[suffix] if kind.fits(head)), None)
