"""The names of the classes, their ids and their colours, from whatever text file people keep beside their masks.

    classes.txt     background        0: background      road 128 64 128       background,road,car
                    road              1: road            car 0 0 142

Other files count where there is no `classes.txt`: `class_names.txt` and `labels.txt` of LabelMe's tools, `labelmap.txt`
of CVAT (`road:128,64,128::`), `_classes.csv` and `class_dict.csv` (`name,r,g,b`), `codes.txt`, `label_colors.txt`
(`128 64 128 road`), the `labels` of nnU-Net's `dataset.json`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.data.listing import read_lines, read_text
from pixelwise.data.pictures import PICTURE_SUFFIXES
from pixelwise.data.sample import VOID
from pixelwise.errors import UserError

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ClassTable:
    """What one file says of the classes.

    Attributes:
        file: where it stands; None where there is none.
        names: by class id.
        colours: RGB -> class id; empty where the file gives no colours.
        guesses: what was decided where the file leaves it open.
    """

    file: Path | None = None
    names: tuple[str, ...] = ()
    colours: Mapping[Colour, int] = field(default_factory=dict)
    guesses: tuple[str, ...] = ()

    @property
    def given(self) -> bool:
        return self.file is not None

    def palette(self) -> dict[int, int]:
        """0xRRGGBB -> class id."""
        return {red << 16 | green << 8 | blue: class_id for (red, green, blue), class_id in self.colours.items()}


@dataclass(frozen=True, slots=True)
class _Line:
    """One class: its name, and its id and colour where the file states them."""

    name: str
    number: int | None = None
    colour: Colour | None = None


def read_classes(root: Path) -> tuple[str, ...] | None:
    """The class names in order of id, or None where no file gives them.

    Raises:
        UserError: as `class_table`.
    """
    table = class_table(root)
    return table.names if table.given else None


def class_table(root: Path) -> ClassTable:
    """The class names of a dataset and their colours.

    `classes.txt` at the root counts first, then the other files named above, at the root or in the folders `train` and
    `annotations`. Where that file has no colours, `colors.txt` or `colours.txt` adds them, by name or else by line.

    Raises:
        UserError: a `classes.txt` or `colors.txt` that is not text, names no class, more than 255, or one twice. Other
            files that cannot be understood are taken for something else.
    """
    table = _names(root)
    colours = next((root / name for name in ("colors.txt", "colours.txt") if (root / name).is_file()), None)
    if colours is None or table.colours:
        return table
    lines = _text_lines(colours)
    if not any(line.colour for line in lines):
        raise UserError(
            f"{colours}: no line of the form `name r g b` with numbers from 0 to 255; correct or remove it."
        )
    if not table.given:
        return _table(colours, lines)
    by_name = {line.name: line.colour for line in lines}
    if set(by_name) >= set(table.names[1:]) or len(lines) != len(table.names):
        lines = [_Line(name, None, by_name.get(name)) for name in table.names]
    else:
        lines = [_Line(name, None, line.colour) for name, line in zip(table.names, lines, strict=True)]
    colours_only = _table(colours, lines)
    return ClassTable(table.file, table.names, colours_only.colours, (*table.guesses, *colours_only.guesses))


def _names(root: Path) -> ClassTable:
    if (root / "classes.txt").is_file():
        return _table(root / "classes.txt", _text_lines(root / "classes.txt"))
    for folder in (root, root / "train", root / "annotations"):
        for name, read in _OTHERS.items():
            if not (folder / name).is_file():
                continue
            try:
                lines = read(folder / name)
                if lines and not any(_is_no_class(line.name) for line in lines):
                    return _table(folder / name, lines)
            except (UserError, ValueError, TypeError, KeyError, csv.Error):
                continue  # a file of that name about something else
    return ClassTable()


def _is_no_class(name: str) -> bool:
    """Whether a line is about files rather than classes: labels.txt may list the pictures."""
    return len(name) > 60 or "/" in name or any(suffix in name.lower() for suffix in PICTURE_SUFFIXES)


def _table(file: Path, lines: Sequence[_Line]) -> ClassTable:
    """Checks the lines and brings them into the order of their ids.

    Raises:
        UserError: as `class_table`.
    """
    lines = _by_number([line for line in lines if line.name != "__ignore__"])
    names = tuple(line.name for line in lines)
    if not 0 < len(names) <= VOID:
        raise UserError(f"{file}: {len(names)} class names found, expected 1 to 255, one per line in order of id.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{file}: '{twice[0]}' stands there twice; every class needs a name of its own.")
    colours: dict[Colour, int] = {}
    guesses = []
    for class_id, line in enumerate(lines):
        if line.colour is not None and line.colour in colours:
            first = names[colours[line.colour]]
            guesses.append(
                f"{file}: {first} and {line.name} have the same colour, rgb{line.colour}, so its pixels are read as "
                f"{first}; give {line.name} a colour of its own, or remove the line."
            )
        elif line.colour is not None:
            colours[line.colour] = class_id
    bare = [class_id for class_id, line in enumerate(lines) if line.colour is None]
    if colours and len(bare) == 1 and (0, 0, 0) not in colours:
        colours[0, 0, 0] = bare[0]
        guesses.append(f"{file}: {names[bare[0]]} has no colour, so black is read as {names[bare[0]]}.")
    return ClassTable(file, names, colours, tuple(guesses))


def _by_number(lines: Sequence[_Line]) -> Sequence[_Line]:
    """Lines in the order of the ids that they state, where all of them do; ids between them are called `class N`.

    Ids from 1 on leave 0 to the background.
    """
    stated = {line.number: line for line in lines if line.number is not None}
    if not lines or len(stated) < len(lines):
        return lines
    stated = {number: line for number, line in stated.items() if 0 <= number < VOID}
    unnamed = [_Line("background"), *(_Line(f"class {number}") for number in range(1, VOID))]
    return [stated.get(number, unnamed[number]) for number in range(max(stated, default=-1) + 1)]


def _text_lines(file: Path) -> list[_Line]:
    """Lines of a plain list: `name`, `0 name`, `0: name`, `name r g b`, `r g b name`, or all names in one line."""
    lines = [line.rstrip(",;") for line in read_lines(file)]
    if len(lines) == 1 and re.search(r"[,;\t]", lines[0]) and _colour_line(lines[0]).colour is None:
        return [_Line(name.strip()) for name in re.split(r"[,;\t]", lines[0]) if name.strip()]
    found = [_colour_line(line) for line in lines]
    numbered = [re.match(r"^(\d{1,3})\s*[:,;.=)\s\t]\s*(?P<name>\S.*)$", line.name) for line in found]
    if len(found) > 1 and all(numbered):
        pairs = zip(numbered, found, strict=True)
        return [_Line(match["name"].strip(), int(match[1]), line.colour) for match, line in pairs if match]
    return found


def _colour_line(text: str) -> _Line:
    """`name r g b` and `r g b name`, with blanks, commas, colons or tabs between; else the whole line is a name."""
    number = r"(25[0-5]|2[0-4]\d|1?\d?\d)"
    three = rf"{number}[\s,]+{number}[\s,]+{number}"
    match = re.match(rf"^(?P<name>.+?)[\s,:;=]+[\[(]?{three}[\])]?$", text)
    match = match or re.match(rf"^{three}[\s,:;]+(?P<name>\D.*)$", text)
    if not match:
        return _Line(text)
    red, green, blue = (int(value) for value in match.groups() if value != match["name"])
    return _Line(match["name"].strip(), None, (red, green, blue))


def _cvat(file: Path) -> list[_Line]:
    """`name:r,g,b:parts:actions`."""
    rows = [line.split(":") for line in read_lines(file)]
    if not all(len(row) == 4 for row in rows):
        return _text_lines(file)
    return [_colour_line(f"{row[0]} {row[1]}") if row[1] else _Line(row[0]) for row in rows]


def _csv(file: Path) -> list[_Line]:
    """A table with a header: a column of names, perhaps one of ids, perhaps r, g and b."""
    rows = list(csv.reader(read_text(file).splitlines(), skipinitialspace=True))
    header = [re.sub(r"[^a-z]", "", cell.lower()) for cell in rows[0]]

    def column(*wanted: str) -> int | None:
        return next((index for index, cell in enumerate(header) if cell in wanted), None)

    name = column("class", "name", "label", "classname")
    number = column("pixelvalue", "value", "id", "classid", "index")
    colour = [column(one, one[0]) for one in ("red", "green", "blue")]
    if name is None:
        raise ValueError("no column of names")
    lines = []
    for row in rows[1:]:
        if row:
            rgb = tuple(int(row[index]) for index in colour if index is not None)
            lines.append(
                _Line(
                    row[name].strip(),
                    None if number is None else int(row[number]),
                    (rgb[0], rgb[1], rgb[2]) if len(rgb) == 3 else None,
                )
            )
    return lines


def _of_mapping(content: Any) -> list[_Line]:
    """Names from a list, a mapping of ids to names, or one of names to ids."""
    if isinstance(content, list):
        return [_Line(str(name)) for name in content]
    if all(isinstance(value, int) for value in content.values()):
        return [_Line(str(name), value) for name, value in content.items()]
    return [_Line(str(name), int(number)) for number, name in content.items()]


def _json(file: Path) -> list[_Line]:
    return _of_mapping(json.loads(read_text(file))["labels"])


_OTHERS: Mapping[str, Callable[[Path], list[_Line]]] = {
    "class_names.txt": _text_lines,
    "classnames.txt": _text_lines,
    "labels.txt": _text_lines,
    "label_names.txt": _text_lines,
    "labelmap.txt": _cvat,
    "_classes.csv": _csv,
    "class_dict.csv": _csv,
    "classes.csv": _csv,
    "codes.txt": _text_lines,
    "label_colors.txt": _text_lines,
    "obj.names": _text_lines,
    "classes.names": _text_lines,
    "dataset.json": _json,
}
