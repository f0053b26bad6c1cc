"""Shared parts of the layouts whose labels are shapes in annotation files: coco, labelme, rle_csv, voc_xml, yolo."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pixelwise.data.class_names import folded
from pixelwise.data.formats import folder
from pixelwise.data.formats.pairing import pair
from pixelwise.data.formats.pairs import Pairing
from pixelwise.data.formats.survey import SPLITS, Survey, given_splits
from pixelwise.data.listing import LIST_FOLDERS, Faults, counted, picture_files, relative, some
from pixelwise.data.names import Finder, Found, Unmatched
from pixelwise.data.path_words import SPLIT_WORDS, parse_path, without_suffix
from pixelwise.data.record import Record
from pixelwise.data.sample import VOID
from pixelwise.data.shapes import IGNORE, Drawing, ShapeCoding
from pixelwise.errors import UserError, unknown

VOID_NAMES = frozenset({IGNORE, "void"})
BACKGROUND_NAMES = frozenset({"background", "_background_", "__background__"})


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a folder whose labels are stored elsewhere.

    Attributes:
        records: without labels, sorted by name.
        by_folder: name -> split, if a folder states it.
        ignored: picture files in folders of masks.
        notes: on names that needed their suffix.
    """

    records: tuple[Record, ...]
    by_folder: Mapping[str, str]
    ignored: tuple[str, ...]
    notes: tuple[str, ...]


def pictures_of(root: Path, label_folders: Collection[str] = ()) -> Pictures:
    """All picture files except those in folders of masks.

    Args:
        label_folders: names of further folders that hold labels.
    """
    files = picture_files(root)
    masks = {
        file for file in files if parse_path(file).role == "mask" or not {*file.parts[:-1]}.isdisjoint(label_folders)
    }
    if len(masks) == len(files):  # labels/x.jpg beside labels/x.json
        masks = set()
    pairs = tuple((file, (), parse_path(file).split) for file in files if file not in masks)
    records, by_folder, _ = folder.records_of(root, Pairing(pairs))
    twins = sorted({without_suffix(record.name) for record in records} - {record.name for record in records})
    notes = [
        f"{counted(len(twins), 'name is', 'names are')} shared by pictures of different suffix, which keep it in their "
        f"names: {some(twins, 3)}."
    ]
    return Pictures(records, by_folder, tuple(map(str, sorted(masks))), tuple(notes if twins else ()))


def has_masks(root: Path) -> bool:
    """Whether pictures have masks as files that are named as such, which take precedence over annotation files."""
    return pair(root, picture_files(root), looks=False).masked > 0


def files_below(root: Path, *suffixes: str) -> tuple[Path, ...]:
    """Files of these suffixes at any depth, sorted; hidden ones are skipped."""
    return tuple(root / file for file in picture_files(root, suffixes))


def picture_of(file: Path, stated: Any, finder: Finder) -> tuple[Found, Found]:
    """The picture with an annotation file's own name, else the one that the file states; and the latter if both exist.

    If there are several of its name, `x.jpg` and `x.png`, it is the one that the file states.

    Args:
        stated: the picture's name or path in the file; anything but text states none.
    """
    own = finder.namesake(file)
    found = finder.find(file, stated) if isinstance(stated, str) and stated else Found()
    if own == Found() or (found.names and set(found.names) <= set(own.names)):
        return found, Found()
    return own, found if found.names != own.names else Found()


def misnamed_files(files: Sequence[str], key: str) -> list[str]:
    """A sentence on annotation files whose own name and whose statement under `key` mean two different pictures."""
    if not files:
        return []
    return [
        f"{counted(len(files), 'file has', 'files have')} the name of one picture but names another one in {key} "
        f"({some(files, 3)}); they are read as labels of the picture of their name. Rename them if that is wrong."
    ]


def _ignored(drawings: Mapping[str, Drawing]) -> Iterator[str]:
    """A sentence on crowds, and one on objects marked as difficult."""
    shapes = [shape for drawing in drawings.values() for shape in drawing.shapes]
    crowds, difficult = sum(shape.crowd for shape in shapes), sum(shape.difficult for shape in shapes)
    rest = "neither trained on as objects or background nor counted where objects are searched for."
    if crowds:
        be = "crowd is labelled as its class" if crowds == 1 else "crowds are labelled as their class"
        yield f"{crowds:,} {be}, beneath the single objects, and {rest}"
    if difficult:
        yield f"{counted(difficult, 'object is', 'objects are')} marked as difficult and {rest}"


def split_in(name: str) -> str:
    """The split that a file's name states, or empty.

    >>> split_in("instances_train2017")
    'train'
    """
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "")


@dataclass(frozen=True, slots=True)
class LabelTable:
    """The classes of labels that are words; pixels that no shape covers are class 0.

    Attributes:
        names: by class id.
        ids: label -> class id.
        refused: label -> why it has no class id.
        notes: what was assumed.
        guesses: on labels that may mean the same.
    """

    names: tuple[str, ...]
    ids: Mapping[str, int]
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()


def label_table(labels: Iterable[str], given: tuple[str, ...] | None) -> LabelTable:
    """The classes in the order of classes.txt, else of the labels. A label that classes.txt does not name is refused.

    Args:
        labels: the labels that occur.
        given: the names of classes.txt.

    Raises:
        UserError: more than 255 classes.
    """
    labels = list(labels)
    meaning = {label: VOID for label in labels if label.lower() in VOID_NAMES}
    meaning |= {label: 0 for label in labels if label.lower() in BACKGROUND_NAMES}
    objects = [label for label in labels if label not in meaning]
    notes = []
    refused = {}
    if given is None:
        names = ["background", *objects]
    else:
        names = [name for name in given if name != IGNORE]
        if not names or (names[0] not in BACKGROUND_NAMES and (len(names) == 1 or names[0] in objects)):
            names = ["background", *names]
            notes.append("classes.txt names no background, so it is put first as class 0: pixels that no shape covers.")
        refused = {
            label: f"{unknown('class', label, names)}; add the name to classes.txt."
            for label in objects
            if label not in (*names, *VOID_NAMES)
        }
    if len(names) > VOID:
        raise UserError(
            f"{len(names)} classes including the background found in the annotation files; 255 is the most."
        )
    ids = dict.fromkeys(VOID_NAMES, VOID) | dict.fromkeys(BACKGROUND_NAMES, 0) | meaning
    ids |= {name: class_id for class_id, name in enumerate(names)}
    if any(ids.get(label) == VOID for label in labels):
        notes.append("Shapes called __ignore__ or void are void: neither trained on nor counted.")
    return LabelTable(tuple(names), ids, refused, tuple(notes), tuple(_alike(objects)))


def _alike(labels: Sequence[str]) -> Iterator[str]:
    """A sentence on labels that differ only in capitals, blanks and underscores."""
    spellings: dict[str, list[str]] = defaultdict(list)
    for label in dict.fromkeys(labels):
        spellings[folded(label)].append(f"'{label}'")
    alike = [" and ".join(several) for several in spellings.values() if len(several) > 1]
    if alike:
        yield (
            f"Labels that differ only in capitals or blanks are separate classes ({some(alike, 3)}); if they mean the "
            "same, write them alike in the annotation files."
        )


def survey_of(
    root: Path,
    layout: str,
    pictures: Pictures,
    drawings: Mapping[str, Drawing],
    *,
    class_names: tuple[str, ...],
    by_file: Mapping[str, Iterable[str]],
    unmatched: Unmatched,
    notes: Sequence[str] = (),
    faults: Sequence[str] = (),
    guesses: Sequence[str] = (),
    list_folders: Sequence[str] = LIST_FOLDERS,
    coding: ShapeCoding | None = None,
) -> Survey:
    """The survey of pictures with shapes: a picture that has a drawing is labelled.

    Args:
        by_file: split -> names, as stated by the annotation files' names; they take precedence over folders, and lists
            of pictures take precedence over them.
        list_folders: where lists of pictures are looked for.
        coding: how the drawings are read; None for a `ShapeCoding`.
    """
    faults = Faults(faults)
    records = tuple(
        replace(record, labels=(drawing.file, *drawing.others))
        if (drawing := drawings.get(record.name)) is not None
        else record
        for record in pictures.records
    )
    notes = [*pictures.notes, *notes, *_ignored(drawings)]
    given, not_found = given_splits(root, records, {}, faults, list_folders)
    if not given:
        given = {split: tuple(sorted(set(by_file[split]))) for split in SPLITS if by_file.get(split)}
        if given and "train" not in given and {name for names in given.values() for name in names} >= set(drawings):
            notes.append(
                f"All labelled pictures are in a file named {' or '.join(given)}, which leaves none to train on, so "
                "the name is not read as a split."
            )
            given = {}
    if not given:
        given, _ = given_splits(root, records, pictures.by_folder, faults)
    return Survey(
        root=root,
        layout=layout,
        records=records,
        given=given,
        class_names=class_names,
        coding=coding or ShapeCoding(drawings),
        ignored=pictures.ignored,
        missing=(*not_found.missing, *unmatched.missing),
        ambiguous=(*not_found.ambiguous, *unmatched.ambiguous),
        faults=tuple(faults),
        guesses=(*guesses, *_blank(root)),
        notes=tuple(notes),
    )


def _blank(root: Path) -> list[str]:
    """A sentence on empty annotation files."""
    files = [file for file in files_below(root, ".json", ".csv", ".xml") if file.stat().st_size == 0]
    if not files:
        return []
    return [
        f"{counted(len(files), 'annotation file is', 'annotation files are')} empty (zero bytes), as after an "
        f"interrupted copy, and not read ({some([relative(root, file) for file in files], 3)}); copy again or remove."
    ]
