"""The names, ids and colours of the classes, from whatever text file people keep next to their masks.

`classes.txt` takes precedence. Without it, the classes come from `class_names.txt` and `labels.txt` of LabelMe's tools,
`labelmap.txt` of CVAT, `_classes.csv`, `class_dict.csv`, `codes.txt`, `label_colors.txt`, nnU-Net's `dataset.json` and
others. `class_lines` reads their spellings.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from pixelwise.data.class_lines import ClassLine, Colour, are_shades, read_class_lines
from pixelwise.data.listing import homes_of
from pixelwise.data.pictures import PICTURE_SUFFIXES
from pixelwise.data.sample import VOID
from pixelwise.errors import UserError


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The classes of a dataset as one file lists them.

    Attributes:
        file: its path; None if there is none.
        names: by class id.
        colours: RGB -> class id; empty if the file gives no colours.
        guesses: what was decided because the file is ambiguous.
        listed: the names without those that only fill gaps between ids.
    """

    file: Path | None = None
    names: tuple[str, ...] = ()
    colours: Mapping[Colour, int] = field(default_factory=dict)
    guesses: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()

    @property
    def given(self) -> bool:
        return self.file is not None

    def palette(self) -> dict[int, int]:
        """The colours as a palette, 0xRRGGBB -> class id."""
        return {red << 16 | green << 8 | blue: class_id for (red, green, blue), class_id in self.colours.items()}


def read_classes(root: Path) -> tuple[str, ...] | None:
    """The class names in order of id, or None if no file gives them.

    Raises:
        UserError: as in `class_table`.
    """
    table = class_table(root)
    return table.names if table.given else None


def class_table(root: Path) -> ClassTable:
    """The class names of a dataset and their colours.

    `classes.txt` at the root takes precedence over the other files named above, which may be at the root or in the
    folders `train`, `annotations` and `meta`. A folder that holds the whole dataset counts as the root. If the file has
    no colours, `colors.txt` or `colours.txt` adds them, by name or else by line.

    Raises:
        UserError: a `classes.txt` or `colors.txt` that is not text, or that names no class, more than 255 classes or
            one class twice. Other files that cannot be understood are ignored, since they may hold something else.
    """
    table = _names(root)
    found = [file for home in homes_of(root) for file in _files(home, ("colors.txt", "colours.txt"))]
    colours = found[0] if found else None
    if colours is None or table.colours:
        return table
    lines = read_class_lines(colours)
    if not any(line.colour for line in lines):
        raise UserError(
            f"{colours}: no line of the form `name r g b` with numbers from 0 to 255; correct or remove it."
        )
    if not table.given:
        return _table(colours, lines)
    by_name = {line.name: line.colour for line in lines}
    if set(by_name) >= set(table.names[1:]) or len(lines) != len(table.names):
        lines = [ClassLine(name, None, by_name.get(name)) for name in table.names]
    else:
        lines = [ClassLine(name, None, line.colour) for name, line in zip(table.names, lines, strict=True)]
    colours_only = _table(colours, lines)
    return ClassTable(
        table.file, table.names, colours_only.colours, (*table.guesses, *colours_only.guesses), table.listed
    )


def _names(root: Path) -> ClassTable:
    homes = homes_of(root)
    for home in homes:
        for file in _files(home, ("classes.txt",)):
            try:
                return _table(file, read_class_lines(file))
            except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError, csv.Error):
                raise UserError(
                    f"{file}: begins like JSON, YAML or a table, but cannot be read as one; write one name per line in "
                    "order of id."
                ) from None
    for home in homes:
        for folder in (home, home / "train", home / "annotations", home / "meta"):
            for file in _files(folder, _OTHERS):
                try:
                    lines = read_class_lines(file)
                    if lines and not any(_is_no_class(line.name) for line in lines):
                        return _table(file, lines)
                except (UserError, ValueError, TypeError, LookupError, AttributeError, yaml.YAMLError, csv.Error):
                    continue  # this file has the name but is about something else
    return ClassTable()


def _files(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files with these names in any case, in the order of the names."""
    if not folder.is_dir():
        return []
    there = {file.name.lower(): file for file in sorted(folder.iterdir(), reverse=True) if file.is_file()}
    return [there[name] for name in names if name in there]


def _is_no_class(name: str) -> bool:
    """Whether a line is about files rather than classes: labels.txt may list the pictures."""
    return len(name) > 60 or "/" in name or any(suffix in name.lower() for suffix in PICTURE_SUFFIXES)


def _table(file: Path, lines: Sequence[ClassLine]) -> ClassTable:
    """Checks the lines and brings them into the order of their ids.

    Raises:
        UserError: as in `class_table`.
    """
    lines = [line for line in lines if line.name != "__ignore__"]
    void = [line.name for line in lines if line.number == VOID]
    if void and are_shades(line.number for line in lines if line.number is not None):
        lines, void = sorted(lines, key=lambda line: line.number or 0), []
        lines = [replace(line, number=None) for line in lines]
    lines = [line for line in lines if line.number != VOID]
    stated = set(lines)
    lines = _by_number(lines)
    names = tuple(line.name for line in lines)
    if not 0 < len(names) <= VOID:
        raise UserError(f"{file}: {len(names)} class names found, expected 1 to 255, one per line in order of id.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{file}: '{twice[0]}' occurs twice; every class needs its own name.")
    colours: dict[Colour, int] = {}
    guesses = [f"{file}: 255 is void, so its name, {void[0]}, is not a class."] if void else []
    for class_id, line in enumerate(lines):
        if line.colour is not None and line.colour in colours:
            first = names[colours[line.colour]]
            guesses.append(
                f"{file}: {first} and {line.name} have the same colour, rgb{line.colour}, so its pixels are read as "
                f"{first}; give {line.name} its own colour, or remove the line."
            )
        elif line.colour is not None:
            colours[line.colour] = class_id
    bare = [class_id for class_id, line in enumerate(lines) if line.colour is None]
    if colours and len(bare) == 1 and (0, 0, 0) not in colours:
        colours[0, 0, 0] = bare[0]
        guesses.append(f"{file}: {names[bare[0]]} has no colour, so black is read as {names[bare[0]]}.")
    listed = tuple(line.name for line in lines if line in stated)
    return ClassTable(file, names, colours, tuple(guesses), listed)


def _by_number(lines: Sequence[ClassLine]) -> Sequence[ClassLine]:
    """The lines in the order of the ids that they state, if all of them state one; gaps are filled with `class N`.

    If ids begin at 1, 0 is the background.
    """
    stated = {line.number: line for line in lines if line.number is not None}
    if not lines or len(stated) < len(lines):
        return lines
    stated = {number: line for number, line in stated.items() if 0 <= number < VOID}
    unnamed = [ClassLine("background"), *(ClassLine(f"class {number}") for number in range(1, VOID))]
    return [stated.get(number, unnamed[number]) for number in range(max(stated, default=-1) + 1)]


_OTHERS = (
    "class_names.txt",
    "classnames.txt",
    "labels.txt",
    "label_names.txt",
    "labelmap.txt",
    "_classes.csv",
    "class_dict.csv",
    "class_dict_seg.csv",
    "classes.csv",
    "classes.json",
    "classes.yaml",
    "classes.yml",
    "id2label.json",
    "codes.txt",
    "label_colors.txt",
    "obj.names",
    "classes.names",
    "objectinfo150.txt",
    "dataset.json",
)
