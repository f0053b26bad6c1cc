"""YOLO's text files: one per picture, with a line for each object, in shares of the picture's sides.

    images/train/x.jpg + labels/train/x.txt + data.yaml        x.jpg + x.txt + classes.txt

A line is a class and a box (`0 0.5 0.5 0.2 0.3`: centre x and y, width, height), a class and a polygon
(`0 x y x y x y`) or, if data.yaml gives `kpt_shape`, a class, a box and keypoints, of which only the box is read. An
empty file is a picture without objects; a picture without a file is not labelled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from pixelwise.data.class_table import read_classes
from pixelwise.data.formats.annotations import Pictures, files_below, has_masks, label_table, pictures_of, survey_of
from pixelwise.data.formats.sources import Labelled, Source, Sources
from pixelwise.data.formats.survey import Survey
from pixelwise.data.formats.texts import Encodings, head
from pixelwise.data.formats.yolo_choice import Folders, choose
from pixelwise.data.formats.yolo_config import Config, GivenSplits, configs_of, read_config, splits_of
from pixelwise.data.formats.yolo_lines import Classes, LabelLines, Tally, are_lines
from pixelwise.data.listing import Faults, counted, picture_files, read_lines, relative, some
from pixelwise.data.names import Finder, Unmatched
from pixelwise.data.path_words import parse_path, without_suffix
from pixelwise.data.pictures import probe
from pixelwise.data.shapes import Drawing
from pixelwise.data.splits import even_sample
from pixelwise.errors import UserError

LOOKED_AT = 50
"""How many text files are opened to see whether a folder holds YOLO's."""
NAME_FILES = ("classes.txt", "obj.names", "classes.names", "class_names.txt")
"""Lists of class names in the order of the ids, used if there is no data.yaml."""


def detect(root: Path) -> bool:
    return bool(label_files(root)) and not has_masks(root)


def label_files(root: Path) -> list[Path]:
    """Text files that have the name of a picture, in any folder.

    Empty unless some of them hold YOLO's lines, or all are empty and a data.yaml names classes.
    """
    stems = {file.stem for file in picture_files(root)}
    files = [file for file in files_below(root, ".txt") if file.stem in stems]
    if any(are_lines(head(file)) for file in even_sample(files, LOOKED_AT)):
        return files
    return files if not any(file.stat().st_size for file in files) and configs_of(root, Faults()) else []


def survey(root: Path, config_file: Path | None = None) -> Survey:
    """The pictures that have a file, labelled even if it is empty, and all others without labels.

    An invalid line is a broken shape of its picture, and a file that cannot be read is a fault.

    Args:
        config_file: the data.yaml to use if there are several; None for the one that fits the text files.

    Raises:
        UserError: lists or classes.txt that cannot be read, or more than 255 classes.
    """
    faults, encodings, unmatched, tally = Faults(), Encodings(), Unmatched(), Tally()
    pictures = pictures_of(root)
    finder = Finder(root, pictures.records)
    configs = configs_of(root, faults) if config_file is None else [_given(config_file)]
    chosen = choose(_folders(root, finder, unmatched), configs, given=config_file is not None)
    if not (chosen.files or faults):
        faults.append(f"{root}: no YOLO text file that has the name of a picture here.")
    classes = faults.attempt(partial(_classes, root, chosen.config), Classes())
    lines = LabelLines(classes, chosen.config.keypoints if chosen.config else 0)
    sources = Sources(root)
    pictures_by_name = {record.name: record.picture for record in pictures.records}
    for file, names in chosen.files.items():
        text = faults.attempt(partial(encodings.read, file, relative(root, file)), "")
        for name in names:
            sources.add(name, Source(file, shapes=_objects(text, pictures_by_name[name], lines, tally)))
    given = GivenSplits()
    if chosen.config is not None:
        given = splits_of(chosen.config, root, pictures.records, finder, faults)
    unmatched.missing |= given.unmatched.missing
    unmatched.ambiguous |= given.unmatched.ambiguous
    order = faults.attempt(partial(read_classes, root), None) if chosen.config else None
    table = label_table(classes.labels(tally.ids), order)
    merged = sources.merged(table.ids, table.refused)
    guesses = [*encodings.guesses(), *chosen.guesses, *given.guesses, *merged.guesses, *table.guesses]
    return survey_of(
        root,
        "yolo",
        pictures,
        merged.drawings,
        class_names=table.names,
        by_file=given.names,
        unmatched=unmatched,
        notes=(*_notes(classes, len(chosen.files), tally), *merged.notes, *table.notes),
        faults=(*faults, *merged.faults),
        guesses=(*guesses, *_without_file(pictures, merged.drawings)),
    )


def _given(file: Path) -> Config:
    """The data.yaml that the user gave.

    Raises:
        UserError: the file is not YAML, or names no classes.
    """
    config = read_config(file)
    if config is None:
        raise UserError(f"{file}: has no key 'names', so it is not a YOLO data.yaml; give the folder of the pictures.")
    return config


def _folders(root: Path, finder: Finder, unmatched: Unmatched) -> Folders:
    """The text files by the folder of labels in which they are, each with the records that it labels."""
    folders: Folders = defaultdict(dict)
    for file in label_files(root):
        found = finder.namesake(file)
        unmatched.note(relative(root, file), file.stem, found)
        if found.names:
            folders[_folder_of(relative(root, file.with_suffix("")), found.names[0])][file] = found.names
    return folders


def _folder_of(label: str, picture: str) -> str:
    """The part that the path of a text file adds to that of its picture, without role and split.

    >>> _folder_of("segment/train/x", "images/train/x"), _folder_of("train/labels/x", "train/images/x")
    ('segment', '')
    """
    parts, others = label.split("/"), without_suffix(picture).split("/")
    while len(parts) > 1 and others and parts[-2:-1] == others[-2:-1]:
        del parts[-2], others[-2]
    return parse_path(PurePosixPath("/".join(parts))).key.rpartition("/")[0]


def _classes(root: Path, config: Config | None) -> Classes:
    """The names of the ids: data.yaml's, else the lines of classes.txt or a similar file, in any folder.

    Raises:
        UserError: a file that is not text.
    """
    if config is not None:
        return Classes(config.names, config.file.name)
    lists = [file for file in files_below(root, ".txt", ".names") if file.name.lower() in NAME_FILES]
    if not lists:
        return Classes()
    return Classes(dict(enumerate(read_lines(lists[0]))), relative(root, lists[0]))


def _objects(text: str, picture: Path, lines: LabelLines, tally: Tally) -> list[Labelled]:
    """The objects of a picture; none if the picture itself cannot be read, which is reported elsewhere."""
    try:
        header = probe(picture)
    except UserError:
        return []
    return lines.objects(text, (header.height, header.width), tally)


def _notes(classes: Classes, files: int, tally: Tally) -> list[str]:
    if not files:
        return []
    named = (
        f"in {classes.source}" if classes.source else "by their ids alone, since no data.yaml or classes.txt is there"
    )
    notes = [
        f"{counted(tally.boxes, 'box', 'boxes')} and {counted(tally.outlines, 'outline', 'outlines')} in "
        f"{counted(files, 'YOLO text file', 'YOLO text files')}, {tally.empty} of them empty, whose pictures show "
        f"no object; the classes are named {named}, background is 0."
    ]
    if tally.boxes:
        notes.append("If an object has a box and no outline, the pixels in the box are void.")
    if tally.keypoints:
        notes.append(f"Of {counted(tally.keypoints, 'object', 'objects')} with keypoints, only the boxes are read.")
    return notes


def _without_file(pictures: Pictures, drawings: Mapping[str, Drawing]) -> list[str]:
    """A sentence on pictures without a text file in folders whose other pictures have one."""
    folders = {name.rpartition("/")[0] for name in drawings}
    names = [record.name for record in pictures.records if record.name not in drawings]
    names = [name for name in names if name.rpartition("/")[0] in folders]
    if not names:
        return []
    return [
        f"{counted(len(names), 'picture has', 'pictures have')} no text file where others have one ({some(names, 3)}), "
        f"and {'counts' if len(names) == 1 else 'count'} as not labelled yet; a picture without objects needs an "
        "empty file."
    ]
