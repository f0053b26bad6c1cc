"""Pictures sorted into classes: one folder per class, named after the class.

cat/a.jpg + dog/b.jpg      train/cat/a.jpg + val/cat/c.jpg + train/dog/b.jpg      train/cat/images/a.jpg + test/d.jpg
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePosixPath

from pixelwise.data.class_table import ClassTable, class_table
from pixelwise.data.codings import ClassCoding
from pixelwise.data.formats.appearance import second_are_masks
from pixelwise.data.formats.pairing import pair
from pixelwise.data.formats.survey import Survey, given_splits
from pixelwise.data.listing import Faults, counted, picture_files, some
from pixelwise.data.path_words import MASK_PARTS, PICTURE_WORDS, SPLIT_WORDS, parse_path, record_names, words_of
from pixelwise.data.record import Record

MAX_STRAYS = 0.1
"""The folders are classes only if there are at most this many pictures outside them per picture inside."""

MAX_PER_SAMPLE = 4
"""If no folder holds more pictures than this, each folder may be a sample rather than a class."""

CONTAINERS = PICTURE_WORDS - {"photo", "photos", "picture", "pictures", "pics"}
"""Names of folders that hold any pictures and are not classes."""


@dataclass(frozen=True, slots=True)
class _Shelf:
    """The position of a picture: its split and class, empty if there is none, and the path below both."""

    split: str
    class_name: str
    within: str


def detect(root: Path) -> bool:
    """Whether there are two folders of classes or more, hardly a picture outside them, and no pictures with masks.

    Words such as `mask` or `train` in the folders' names are not sufficient: masks must look like masks, and a folder
    of a split must be among folders of other splits.
    """
    files = picture_files(root)
    shelves = _sorted_in(files)
    sorted_files = [file for file, shelf in shelves.items() if shelf.class_name]
    class_names = {shelves[file].class_name for file in sorted_files}
    # In addition to several sorted splits, other folders may hold anything.
    among = {"train"} if len({shelves[file].split for file in sorted_files} - {""}) > 1 else {"", "train"}
    strays = [file for file, shelf in shelves.items() if not shelf.class_name and shelf.split in among]
    if len(class_names) < 2 or any(name.lower() in CONTAINERS for name in class_names):
        return False
    if len(strays) > max(1, MAX_STRAYS * len(sorted_files)):
        return False
    return not _hold_masks(root, files, set(sorted_files)) and not _one_looks_like_masks(root, sorted_files, shelves)


def _hold_masks(root: Path, files: Sequence[PurePosixPath], sorted_files: Collection[PurePosixPath]) -> bool:
    """Whether most pictures have a mask that is named as one (and looks like one, if only its folder is named so).

    If the masks are next to the folders of classes, more than a few pictures must have one, because pictures
    without defects have none.
    """
    pairing = pair(root, files)
    pairs = [(picture, masks[0]) for picture, masks, _ in pairing.pairs if masks]
    least = 0.5 if any(mask in sorted_files for _, mask in pairs) else MAX_STRAYS
    if not pairs or len(pairs) < least * len(pairing.pairs):
        return False
    roles = {parse_path(file).role for file in files}
    beside = all(picture.parent == mask.parent for picture, mask in pairs)
    if beside or {"picture", "mask"} <= roles or pairing.guesses:
        return True
    return second_are_masks([(root / picture, root / mask) for picture, mask in pairs])


def _one_looks_like_masks(root: Path, files: Sequence[PurePosixPath], shelves: Mapping[PurePosixPath, _Shelf]) -> bool:
    """Whether a folder is named like a folder of masks and its files look like masks of the other folders' files."""
    named = [file for file in files if MASK_PARTS & set(words_of(shelves[file].class_name))]
    others = [file for file in files if not MASK_PARTS & set(words_of(shelves[file].class_name))]
    if not named or not others:
        return False
    step = max(len(others) // len(named), 1)
    return second_are_masks(
        [(root / other, root / mask) for other, mask in zip(others[::step], named, strict=False)], strict=True
    )


def _sorted_in(files: Sequence[PurePosixPath]) -> dict[PurePosixPath, _Shelf]:
    """Reads splits and classes from the folders and their neighbours.

    Folders that all files share are skipped. The next folders are splits if all their names say so, if two with such
    names contain folders in turn, or if one does and the others hold few pictures; otherwise they are the classes.
    """
    shared = _shared(files)
    parts = {file: file.parts[shared:] for file in files}
    by_top: dict[str, list[PurePosixPath]] = defaultdict(list)
    for file, rest in parts.items():
        by_top[rest[0] if len(rest) > 1 else ""].append(file)
    tops = [top for top in by_top if top]
    splits = {top: split for top in tops if (split := _split_of(top))}
    sorted_below = [top for top in splits if len({file.parent for file in by_top[top]}) > 1]
    elsewhere = sum(len(by_top[top]) for top in tops if top not in splits)
    several = len({splits[top] for top in sorted_below}) > 1
    if splits and (len(splits) == len(tops) or several or (sorted_below and 2 * elsewhere < len(files))):
        return {
            file: _shelf(rest[1:], splits.get(rest[0], "")) for file, rest in parts.items() if rest[0] in splits
        } | {file: _Shelf("", "", "/".join(rest)) for file, rest in parts.items() if rest[0] not in splits}
    return {file: _shelf(rest, "") for file, rest in parts.items()}


def _shared(files: Sequence[PurePosixPath]) -> int:
    """How many folders at the top all files share, up to a folder that names a split."""
    columns = zip(*(file.parent.parts for file in files), strict=False)
    common = (column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))
    return sum(1 for _ in takewhile(lambda folder: not _split_of(folder), common))


def _split_of(folder: str) -> str:
    """The split that a folder's name states, if it states nothing else except for a number (`test1`, `train2017`)."""
    where = parse_path(PurePosixPath(re.sub(r"[_\-. ]?\d+$", "", folder) or folder) / "x")
    return where.split if where.key == "x" else ""


def _shelf(parts: Sequence[str], split: str) -> _Shelf:
    """The class is the first folder. Below a split, a folder called `images` or similar, or after the split again, is
    not a class."""
    while split and len(parts) > 1 and _split_of(parts[0]) == split:
        parts = parts[1:]
    if split and len(parts) > 1 and parse_path(PurePosixPath(parts[0]) / "x") == parse_path(PurePosixPath("images/x")):
        parts = parts[1:]
    if len(parts) < 2:
        return _Shelf(split, "", "/".join(parts))
    return _Shelf(split, parts[0], "/".join(parts[1:]))


def survey(root: Path) -> Survey:
    """Every picture below `root`, labelled if it lies in the folder of a class.

    Class ids follow `classes.txt` or a similar file if there is one, else the sorted names of the folders.
    """
    faults = Faults()
    shelves = _sorted_in(picture_files(root))
    table = faults.attempt(partial(class_table, root), ClassTable())
    found = sorted({shelf.class_name for shelf in shelves.values()} - {""})
    class_names = table.listed if table.given else tuple(found)
    unknown_names = [name for name in found if name not in class_names]
    if unknown_names:
        faults.append(
            f"{root}: {counted(len(unknown_names), 'folder is', 'folders are')} no class ({some(unknown_names)}) of "
            f"{table.file and table.file.name} ({some(class_names)}); add the names there, or move the pictures away."
        )
    records, within, by_folder = [], {}, {}
    names = record_names(shelves)
    ignored = []
    for file, shelf in shelves.items():
        if not shelf.class_name and not shelf.split:
            ignored.append(str(file))
            continue
        name = names[file]
        class_id = class_names.index(shelf.class_name) if shelf.class_name in class_names else None
        records.append(Record(name, root / file, class_id=class_id))
        within[name], by_folder[name] = shelf.within, shelf.split
    records.sort(key=lambda record: record.name)
    given, unmatched = given_splits(root, records, by_folder, faults)
    return Survey(
        root=root,
        layout="classes",
        records=tuple(records),
        given=given,
        class_names=class_names,
        coding=ClassCoding(),
        ignored=tuple(ignored),
        missing=tuple(unmatched.missing),
        ambiguous=tuple(unmatched.ambiguous),
        faults=tuple(faults),
        guesses=_guesses(found, shelves.values()),
        stratify=lambda record: record.class_id,
        within=lambda record: within[record.name],
    )


def _guesses(found: Sequence[str], shelves: Collection[_Shelf]) -> tuple[str, ...]:
    """Sentences on folders that are read as classes although their names, or names below them, suggest otherwise."""
    guesses = []
    halves = [name for name in found if SPLIT_WORDS.keys() & set(words_of(name))]  # trainA and testB
    odd = [
        name
        for name in found
        if _split_of(name) or MASK_PARTS & set(words_of(name)) or (name in halves and len(halves) > 1)
    ]
    if odd:
        guesses.append(
            f"The folders {some(found)} are read as classes of pictures, {some(odd)} among them; if "
            f"{'it holds' if len(odd) == 1 else 'they hold'} a split or masks, give the layout (`--layout folder` for "
            "pictures with masks), or put the folders of classes into train/ and val/."
        )
    sizes = Counter(shelf.class_name for shelf in shelves if shelf.class_name)
    if len(sizes) > MAX_PER_SAMPLE and max(sizes.values()) <= MAX_PER_SAMPLE:
        guesses.append(
            f"The folders {some(found)} are read as classes, but none holds more than {max(sizes.values())} pictures; "
            "if each is a sample with its pictures and masks, put the pictures into images/ and the masks into masks/ "
            "under the same names."
        )
    classes_with: dict[str, set[str]] = defaultdict(set)
    for shelf in shelves:
        if shelf.class_name and "/" in shelf.within:
            classes_with[shelf.within].add(shelf.class_name)
    if sum(len(names) > 1 for names in classes_with.values()) > 0.8 * max(len(classes_with), 1):
        guesses.append(
            f"The folders {some(found)} hold files of the same names in the same sub-folders and are read as classes; "
            "if they hold different versions of the same pictures, give the folder of one version."
        )
    return tuple(guesses)
