"""Finds the picture that an entry of a list or an annotation file means."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from pixelwise.data.listing import relative
from pixelwise.data.path_words import parse_path, without_suffix
from pixelwise.data.record import Record

_LABEL_FILE = re.compile(r"\.(json|xml|txt)$", re.IGNORECASE)
"""What a list's entries may add to the name of a picture, if the list names the label files."""


@dataclass(frozen=True, slots=True)
class Found:
    """The result of looking up an entry of a list or an annotation file.

    Attributes:
        names: the record; several if they differ only in their suffix; empty if none was found.
        rivals: the records that the entry matches equally well, if there are several; `names` is empty then.
    """

    names: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()


@dataclass(slots=True)
class Unmatched:
    """Entries of list and annotation files that mean no picture here, or several: `train.txt: x.png`, in order."""

    missing: dict[str, None] = field(default_factory=dict)
    ambiguous: dict[str, None] = field(default_factory=dict)

    def note(self, file: str, entry: str, found: Found) -> None:
        """Keeps an entry that was not found."""
        if found.rivals:
            self.ambiguous[f"{file}: {entry} ({' or '.join(found.rivals[:3])})"] = None
        elif not found.names:
            self.missing[f"{file}: {entry}"] = None


class Names:
    """Finds records by the paths that people write into list and annotation files.

    An entry may lack the suffix or have another one, use backslashes, `%20` or decomposed accents, be the address of a
    server, or begin with folders of another machine. In this order, an entry means

    1. the record of exactly that path below the dataset's root, or below the folder of the file that holds the entry;
    2. the record whose path ends in the entry; of several, the one of the file's own split, then the one below the
       file's own folder or the nearest folder above it;
    3. the same after dropping leading folders of the entry that exist nowhere in the dataset, if the remainder is the
       record's whole path apart from folders that name its role or split (`images`, `train`);
    4. the record of the same path after removing those folders on both sides (`images/x` of `images/train/x`);
    5. the same without regard to upper and lower case (`img_1.jpg` of `IMG_1.JPG`).

    A folder that exists in the dataset is never dropped: `b/2.jpg` does not mean `a/2.jpg`.

    >>> Names(["images/a/1", "images/b/1"]).find("/old/disk/images/b/1.png").names
    ('images/b/1',)
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._of_path: dict[str, set[str]] = defaultdict(set)
        self._of_tail: dict[str, set[str]] = defaultdict(set)
        self._of_key: dict[str, set[str]] = defaultdict(set)
        self._folders: set[str] = set()
        self._split: dict[str, str] = {}
        self._of_lower: dict[str, set[str]] = defaultdict(set)
        names = list(names)
        self._common = _common_folders(names)
        for name in names:
            path = _spelled(name)
            self._of_lower[name.lower()].add(name)
            where = parse_path(PurePosixPath(path + ".x"))
            self._split[name] = where.split
            self._folders.update(path.split("/")[:-1])
            for spelling in {path, without_suffix(path)}:
                self._of_path[spelling].add(name)
                for tail in _tails(spelling):
                    self._of_tail[tail].add(name)
            for key in {where.key, without_suffix(where.key)}:
                self._of_key[key.removeprefix(self._common)].add(name)
        self._lower = self if self._of_lower.keys() == set(names) else Names(self._of_lower)

    def find(self, entry: str, *, beside: str = "", split: str = "") -> Found:
        """The record that `entry` means.

        Args:
            beside: the folder of the file that holds the entry, relative to the root; empty for the root itself.
            split: the split that this file describes, or empty.
        """
        found = self._as_written(entry, beside, split)
        if found != Found():
            return found
        found = self._lower._as_written(entry.lower(), beside.lower(), split)
        names = tuple(sorted(name for lower in found.names or found.rivals for name in self._of_lower[lower]))
        return Found(names) if found.names and self._alike(names) else Found((), names)

    def _as_written(self, entry: str, beside: str, split: str) -> Found:
        """The record that `entry` means if upper and lower case differ."""
        spellings = [_spelled(text) for text in _spellings(entry)]
        for spelling in dict.fromkeys(each for one in spellings for each in (one, without_suffix(one))):
            if spelling and (found := self._find(spelling, _spelled(beside), split)) != Found():
                return found
        return Found()

    def _find(self, path: str, beside: str, split: str) -> Found:
        for exact in (path, posixpath.normpath(posixpath.join(beside, path))):
            if self._alike(self._of_path.get(exact, ())):
                return Found(tuple(sorted(self._of_path[exact])))
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        path = "/".join(parts)
        if path in self._of_tail:
            return self._nearest(self._of_tail[path], beside, split)
        known = next((index for index, part in enumerate(parts[:-1]) if part in self._folders), len(parts) - 1)
        tail = "/".join(parts[known:])
        if known and tail in self._of_tail:
            found = {name for name in self._of_tail[tail] if self._says_no_more(name, tail)}
            if found:
                return self._nearest(found, beside, split)
        where = parse_path(PurePosixPath("/".join(parts[known:]) + ".x"))
        return self._nearest(
            {
                name
                for name in self._of_key.get(where.key.removeprefix(self._common), ())
                if not (where.split and self._split[name] and where.split != self._split[name])
            },
            beside,
            split or where.split,
        )

    def _says_no_more(self, name: str, tail: str) -> bool:
        """Whether the folders of a record before `tail` only name its role or split, or are shared by all records."""
        path = _spelled(name)
        head = (path if path.endswith(tail) else without_suffix(path)).removesuffix(tail).removeprefix(self._common)
        return not head.strip("/") or "/" not in parse_path(PurePosixPath(head) / "x").key

    def _nearest(self, names: Collection[str], beside: str, split: str) -> Found:
        """One of several records: of the split, then below the folder or the nearest folder above it."""
        left = set(names)
        left = {name for name in left if split and self._split[name] == split} or left
        for folder in _upwards(beside):
            below = {name for name in left if _spelled(name).startswith(f"{folder}/")}
            if below:
                left = below
                break
        ordered = tuple(sorted(left))
        return Found(ordered) if self._alike(left) else Found((), ordered)

    @staticmethod
    def _alike(names: Collection[str]) -> bool:
        return len({without_suffix(name) for name in names}) == 1


def _spelled(path: str) -> str:
    """A path in the form used for comparisons: composed accents, no `./` before it, no `/` around it."""
    return unicodedata.normalize("NFC", path).removeprefix("./").strip("/")


def _spellings(entry: str) -> list[str]:
    """The paths that an entry may stand for, the most literal first.

    >>> _spellings("https://server/b/1%202.jpg?version=3")[-1]
    'https://server/b/1 2.jpg'
    """
    before, _, query = entry.partition("?")
    if query.startswith("d="):  # Label Studio's address of a file in a folder of its server
        entry = before = query.removeprefix("d=")
    paths = (entry, unquote(entry), before, unquote(before), _LABEL_FILE.sub("", entry))
    return list(dict.fromkeys(path.replace("\\", "/") for path in paths))


def _upwards(folder: str) -> list[str]:
    """A folder and those above it, without the root: `["a/b", "a"]` for `a/b`."""
    parts = folder.split("/") if folder else []
    return ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _tails(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _common_folders(names: Sequence[str]) -> str:
    """The folder that all names are in, such as `data/`; empty if there is none, or if it names a role or a split."""
    columns = zip(*(_spelled(name).split("/")[:-1] for name in names), strict=False)
    shared = (column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))
    return "".join(
        f"{folder}/" for folder in takewhile(lambda one: parse_path(PurePosixPath(one) / "x").key != "x", shared)
    )


class Finder:
    """Finds records by the names that annotation files use, with `Names`."""

    def __init__(self, root: Path, records: Iterable[Record]) -> None:
        records = list(records)
        self._root = root
        self._names = Names(record.name for record in records)
        self._stems = Counter(_stem(record.name) for record in records)
        self._paths = {path for record in records for path in _upwards(record.name.rpartition("/")[0])}
        self._folders = {path.rpartition("/")[2] for path in self._paths}

    def all_of(self, file: Path, entries: Iterable[str], split: str = "") -> dict[str, Found]:
        """The records that the entries of a file mean.

        A bare name (`2.jpg`) means the picture of the file's own split, or at the file's home (`_home`), if the names
        in the file occur there. If names repeat from folder to folder and the file has pictures at its home, a bare
        name that is missing there means no picture: a picture of that name in another folder is a different one. If
        most bare names fit several pictures, those that fit only one are treated as ambiguous, too.

        Args:
            file: the annotation file.
            entries: names or paths of pictures.
            split: the split that the file describes, or empty.
        """
        beside, home = relative(self._root, file.parent), self._home(file)
        found = {
            entry: self._names.find(entry, beside=beside if _has_folder(entry) else home, split=split)
            for entry in entries
        }
        bare = [entry for entry in found if not _has_folder(entry)]
        at_home = {entry for entry in bare if found[entry].names and _is_at_home(found[entry], home, split)}
        if any(self._stems[_stem(entry)] > 1 for entry in at_home):
            found |= {entry: Found() for entry in bare if entry not in at_home and not found[entry].rivals}
        alone = [entry for entry in bare if found[entry].names]
        if sum(bool(found[entry].rivals) for entry in bare) > len(alone):
            found |= {entry: Found((), found[entry].names) for entry in alone}
        return found

    def namesake(self, file: Path) -> Found:
        """The picture with the file's own name."""
        return self._names.find(relative(self._root, file.with_suffix("")), beside=relative(self._root, file.parent))

    def find(self, file: Path, path: str) -> Found:
        """The record that a path in the annotation file of a single picture means.

        The path starts at the file's folder, or ends at the file's home (`_home`). It may lead anywhere only if no
        folder above the file has the name of a folder of pictures.
        """
        beside, path = relative(self._root, file.parent), path.replace("\\", "/")
        if path.startswith("/") or path[1:2] == ":":  # of another machine
            return self._names.find(path)
        found = self._names.find(posixpath.normpath(posixpath.join(beside, path)))
        if found == Found() and self._folders.isdisjoint(beside.split("/")):
            return self._names.find(path)
        home = self._home(file)
        if found == Found() and home:
            near = self._names.find(path, beside=home)
            return near if near.names and _is_at_home(near, home, "") else found
        return found

    def _home(self, file: Path) -> str:
        """The folder of the pictures that a file describes: one with the file's own name, else the nearest above it.

        Empty for the root.
        """
        named = [path for path in self._paths if path.rpartition("/")[2] == file.stem]
        above = (folder for folder in _upwards(relative(self._root, file.parent)) if folder in self._paths)
        return named[0] if len(named) == 1 else next(above, "")


def _is_at_home(found: Found, home: str, split: str) -> bool:
    """Whether a record is of the file's split, or lies below the file's home."""
    name = found.names[0]
    if split and parse_path(PurePosixPath(f"{name}.x")).split == split:
        return True
    return bool(home) and name.startswith(f"{home}/")


def _has_folder(entry: str) -> bool:
    return "/" in entry.replace("\\", "/").removeprefix("./")


def _stem(path: str) -> str:
    """The part of the name that pictures in several folders share, in the form in which entries may spell it."""
    return without_suffix(_spelled(path).rsplit("/", 1)[-1]).lower()
