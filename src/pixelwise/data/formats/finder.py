"""Which picture an entry of an annotation file means, where pictures of several folders have the same names."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from pixelwise.data.dataset import Record
from pixelwise.data.formats.annotations import relative
from pixelwise.data.listing import Found, Names, place, without_suffix


class Finder:
    """Finds records by what annotation files call them, with `listing.Names`."""

    def __init__(self, root: Path, records: Iterable[Record]) -> None:
        records = list(records)
        self._root = root
        self._names = Names(record.name for record in records)
        self._stems = Counter(_stem(record.name) for record in records)
        self._folders = {folder for record in records for folder in record.name.split("/")[:-1]}

    def all_of(self, file: Path, entries: Iterable[str], split: str = "") -> dict[str, Found]:
        """What each entry of a file means.

        A bare name (`2.jpg`) means the picture of the file's own split, or beside the file, if its names occur there.
        Where names repeat from folder to folder and the file has pictures in its own place, a bare name that is not
        there means no picture: that of another folder is a namesake. Where most bare names fit several pictures, those
        that fit one alone may be namesakes, too, and are as ambiguous.

        Args:
            file: the annotation file.
            entries: names or paths of pictures.
            split: the split that the file is about, or empty.
        """
        beside = relative(self._root, file.parent)
        found = {entry: self._names.find(entry, beside=beside, split=split) for entry in entries}
        bare = [entry for entry in found if not _has_folder(entry)]
        at_home = {entry for entry in bare if found[entry].names and _is_at_home(found[entry], beside, split)}
        if any(self._stems[_stem(entry)] > 1 for entry in at_home):
            found |= {entry: Found() for entry in bare if entry not in at_home and not found[entry].rivals}
        alone = [entry for entry in bare if found[entry].names]
        if sum(bool(found[entry].rivals) for entry in bare) > len(alone):
            found |= {entry: Found((), found[entry].names) for entry in alone}
        return found

    def namesake(self, file: Path) -> Found:
        """The picture of the file's own name."""
        return self._names.find(relative(self._root, file.with_suffix("")), beside=relative(self._root, file.parent))

    def find(self, file: Path, path: str) -> Found:
        """What a path in the annotation file of a single picture means.

        It starts at the file's folder. Only where that is no folder of pictures, the path may lead anywhere.
        """
        beside, path = relative(self._root, file.parent), path.replace("\\", "/")
        if path.startswith("/") or path[1:2] == ":":  # of another machine
            return self._names.find(path)
        found = self._names.find(posixpath.normpath(posixpath.join(beside, path)))
        if found == Found() and self._folders.isdisjoint(beside.split("/")):
            return self._names.find(path)
        return found


def _is_at_home(found: Found, beside: str, split: str) -> bool:
    """Whether a record is of the file's split, or lies below the file's folder."""
    name = found.names[0]
    if split and place(PurePosixPath(f"{name}.x")).split == split:
        return True
    return bool(beside) and name.startswith(f"{beside}/")


def _has_folder(entry: str) -> bool:
    return "/" in entry.replace("\\", "/").removeprefix("./")


def _stem(path: str) -> str:
    return without_suffix(path.rsplit("/", 1)[-1])
