"""The lines of files that name classes, in the spellings that people use.

    background        0: background      background 0      road 128 64 128       background,road,car
    road              1: road            road 1            car #00008e           ["background", "road", "car"]

Tables with a header (`name,r,g,b`; `Pixel Value, Class`), CVAT's `road:128,64,128::`, JSON and YAML with names by id,
ids by name or a list, which may be below a key `names`, `labels` or `classes`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from pixelwise.data.listing import read_text

Colour = tuple[int, int, int]

_BYTE = r"(25[0-5]|2[0-4]\d|1?\d?\d)"
_RGB = rf"{_BYTE}[\s,]+{_BYTE}[\s,]+{_BYTE}"
_HEX = r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})"
_COLOURED = re.compile(rf"^(?P<name>.+?)[\s,:;=]+(?:[\[(]?{_RGB}[\])]?|{_HEX})$")
_COLOUR_FIRST = re.compile(rf"^{_RGB}[\s,:;]+(?P<name>\D.*)$")
_NUMBER_FIRST = re.compile(r"^(?P<number>\d{1,3})\s*(?:[:,;.=)\t]|-\s|\s)\s*(?P<name>\S.*)$")
_NUMBER_LAST = re.compile(r"^(?P<name>.*[^\W\d].*?)\s*[:,;=\t ]\s*(?P<number>\d{1,3})$")
_BELOW = ("names", "labels", "classes", "categories", "id2label")


@dataclass(frozen=True, slots=True)
class ClassLine:
    """One class: its name, and its id and colour if the file states them."""

    name: str
    number: int | None = None
    colour: Colour | None = None


def read_class_lines(file: Path) -> list[ClassLine]:
    """The classes that a file names, in its order.

    Raises:
        UserError: as in `read_text`.
        ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError: JSON, YAML or a table with another content.
    """
    text = read_text(file)
    suffix = file.suffix.lower()
    if suffix == ".json":
        return _of_content(json.loads(text))
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    if suffix in (".yaml", ".yml") or re.match(rf"[\[{{]|(?:{'|'.join(_BELOW)})\s*:", lines[0] if lines else ""):
        return _of_content(yaml.load(text, yaml.BaseLoader))
    table = _of_table(lines, certain=suffix == ".csv")
    return table or _of_cvat(lines) or _of_plain(lines)


def _of_plain(lines: Sequence[str]) -> list[ClassLine]:
    """`name`, `0 name`, `name 0`, `name r g b`, `r g b name`, or all names in one line."""
    lines = [line.rstrip(",;") for line in lines]
    if len(lines) == 1 and _coloured(lines[0]).colour is None:
        names = re.split(r"[,;\t]", lines[0])
        if len(names) == 1 and lines[0].lower().startswith("background "):
            names = lines[0].split()
        if len(names) > 1:
            return [ClassLine(_unquoted(name)) for name in names if name.strip()]
    found = [_coloured(line) for line in lines]
    if len(found) > 1:
        first = [_NUMBER_FIRST.match(line.name) for line in found]
        last = [_NUMBER_LAST.match(line.name) for line in found]
        for matches in (first, last):
            numbered = [
                replace(line, name=_unquoted(match["name"]), number=int(match["number"]))
                for match, line in zip(matches, found, strict=True)
                if match
            ]
            if len(numbered) == len(found) and (matches is first or _are_ids(numbered)):
                return numbered
    return [replace(line, name=_unquoted(line.name)) for line in found]


def _are_ids(lines: Sequence[ClassLine]) -> bool:
    """Whether numbers after names are ids: `cat 1, dog 2` or `cat 127, dog 255`, unlike `Boeing 737` and `level 2`."""
    numbers = sorted(line.number for line in lines if line.number is not None)
    through = numbers in ([*range(len(lines))], [*range(1, len(lines) + 1)])
    return len({line.name for line in lines}) == len(lines) and (through or are_shades(numbers))


def are_shades(numbers: Iterable[int]) -> bool:
    """Whether numbers are shades of grey rather than ids: 10 apart or more, and up to at least 100."""
    rising = sorted(set(numbers))
    apart = all(higher - lower >= 10 for lower, higher in pairwise(rising))
    return len(rising) > 1 and apart and 100 <= rising[-1] <= 255


def _coloured(text: str) -> ClassLine:
    """`name r g b`, `name #rrggbb` and `r g b name`; else the whole line is a name."""
    match = _COLOURED.match(text) or _COLOUR_FIRST.match(text)
    if not match:
        return ClassLine(text)
    name = match.re.groupindex["name"]
    digits = [value for group, value in enumerate(match.groups(), 1) if value is not None and group != name][-3:]
    base = 16 if "#" in text[match.end("name") :] else 10
    red, green, blue = (int(value, base) for value in digits)
    return ClassLine(match["name"].strip(), None, (red, green, blue))


def _unquoted(name: str) -> str:
    name = name.strip()
    return name[1:-1].strip() if len(name) > 2 and name[0] == name[-1] and name[0] in "\"'" else name


def _of_cvat(lines: Sequence[str]) -> list[ClassLine]:
    """`name:r,g,b:parts:actions`; empty if any line has a different form."""
    rows = [line.split(":") for line in lines]
    if not all(len(row) == 4 for row in rows):
        return []
    return [_coloured(f"{row[0]} {row[1]}") if row[1] else ClassLine(row[0]) for row in rows]


def _of_table(lines: Sequence[str], *, certain: bool) -> list[ClassLine]:
    """A table with a header: a column of names, perhaps one of ids, perhaps r, g and b; empty if there is none.

    Args:
        certain: whether the file is known to be a table; otherwise a column of ids or of colours must be present.

    Raises:
        ValueError, IndexError: cells without a number, missing cells, or a known table without a column of names.
    """
    mark = next((mark for mark in ",;\t" if lines and mark in lines[0]), "")
    if not mark and not certain:
        return []
    rows = list(csv.reader(lines, delimiter=mark or ",", skipinitialspace=True))
    header = [re.sub(r"[^a-z]", "", cell.lower()) for cell in rows[0]]

    def column(*wanted: str) -> int | None:
        return next((index for index, cell in enumerate(header) if cell in wanted), None)

    name = column("class", "name", "label", "classname", "labelname")
    number = column("pixelvalue", "value", "id", "idx", "classid", "index", "labelid")
    colour = [column(one, one[0]) for one in ("red", "green", "blue")]
    if name is None and certain:
        raise ValueError("no column of names")
    if name is None or (number is None and None in colour and not certain):
        return []
    found = []
    for row in filter(None, rows[1:]):
        rgb = tuple(int(row[index]) for index in colour if index is not None)
        found.append(
            ClassLine(
                row[name].strip(),
                None if number is None else int(row[number]),
                (rgb[0], rgb[1], rgb[2]) if len(rgb) == 3 else None,
            )
        )
    return found


def _of_content(content: Any) -> list[ClassLine]:
    """Names from a list, a mapping of ids to names, or one of names to ids, perhaps below a key such as `names`."""
    if isinstance(content, dict):
        content = next((content[key] for key in _BELOW if key in content), content)
    if isinstance(content, list):
        return [_of_entry(entry) for entry in content]
    if all(str(number).isdigit() for number in content.values()):
        return [ClassLine(str(name), int(number)) for name, number in content.items()]
    return [ClassLine(str(name), int(number)) for number, name in content.items()]


def _of_entry(entry: Any) -> ClassLine:
    """One entry of a list: a name, or a mapping with `name` and perhaps `id`."""
    if isinstance(entry, str):
        return ClassLine(entry)
    number = entry.get("id")
    return ClassLine(str(entry["name"]), None if number is None else int(number))
