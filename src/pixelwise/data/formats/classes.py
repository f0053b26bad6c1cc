"""Pictures sorted into classes: a folder for each class, its name the class's.

cat/a.jpg + dog/b.jpg      train/cat/a.jpg + val/cat/c.jpg + train/dog/b.jpg
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from pixelwise.data.dataset import ClassCoding, Record
from pixelwise.data.formats import folder
from pixelwise.data.formats.survey import Survey, given_splits
from pixelwise.data.listing import Place, picture_files, place, read_classes, without_suffix
from pixelwise.errors import UserError


def detect(root: Path) -> bool:
    """Two folders of pictures or more, no picture outside them, and nothing that looks like a mask."""
    files = picture_files(root)
    places = [place(file) for file in files]
    classes = {_class_of(where) for where in places}
    if "" in classes or len(classes) < 2 or any(where.role == "mask" for where in places):
        return False
    return not any(mask for _, mask, _ in folder.pair(files).pairs)


def _class_of(where: Place) -> str:
    """The folder below those that say the split; empty where there is none."""
    first, slash, _ = where.key.partition("/")
    return first if slash else ""


def survey(root: Path) -> Survey:
    """Every picture below `root`, labelled if it lies in a folder.

    Class ids follow `classes.txt` where there is one, else the sorted names of the folders.

    Raises:
        UserError: a folder that classes.txt does not name, or a list file or classes.txt that cannot be read.
    """
    files = picture_files(root)
    places = {file: place(file) for file in files}
    found = sorted({name for where in places.values() if (name := _class_of(where))})
    class_names = read_classes(root) or tuple(found)
    for name in found:
        if name not in class_names:
            raise UserError(
                f"{root}: the folder '{name}' is no class of classes.txt ({', '.join(class_names)}); add it there, or "
                "move the folder away."
            )
    bare = Counter(without_suffix(str(file)) for file in files)
    records, by_folder = [], {}
    for file, where in places.items():
        name = without_suffix(str(file))
        if bare[name] > 1:
            name = str(file)
        class_name = _class_of(where)
        class_id = class_names.index(class_name) if class_name else None
        records.append(Record(name, root / file, class_id=class_id))
        by_folder[name] = where.split
    records.sort(key=lambda record: record.name)
    given, unmatched = given_splits(root, records, by_folder)
    return Survey(
        root=root,
        layout="classes",
        records=tuple(records),
        given=given,
        class_names=class_names,
        coding=ClassCoding(),
        missing=tuple(unmatched.missing),
        ambiguous=tuple(unmatched.ambiguous),
        stratify=lambda record: record.class_id,
        within=_within,
    )


def _within(record: Record) -> str:
    """`b/x` of `train/cat/b/x`."""
    where = place(PurePosixPath(record.name + ".png"))
    return where.key.partition("/")[2] or where.key
