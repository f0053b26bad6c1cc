"""Pictures with a table of labelled pixels ("click labels"); all other pixels are void.

    images/x.png + points.csv     picture,x,y,class            x.png,120,45,road

One row per pixel: its column x and its row y, counted from 0 at the top left, and its class. Coordinates with fractions
are positions in the picture, and the pixel is the one around them: 120.7 is in column 120.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pixelwise.data.class_names import is_background
from pixelwise.data.class_table import read_classes
from pixelwise.data.formats.annotations import (
    VOID_NAMES,
    LabelTable,
    files_below,
    has_masks,
    pictures_of,
    split_in,
    survey_of,
)
from pixelwise.data.formats.export import Export
from pixelwise.data.formats.sources import Labelled, Source, Sources
from pixelwise.data.formats.survey import Survey
from pixelwise.data.formats.tables import (
    CLASS_COLUMNS,
    DELIMITERS,
    PICTURE_COLUMNS,
    first_of,
    is_nothing,
    lines_of,
    plain_names,
    read_table,
)
from pixelwise.data.formats.texts import Encodings, head
from pixelwise.data.listing import Faults, counted, relative, some
from pixelwise.data.names import Finder, Unmatched
from pixelwise.data.points import PointCoding
from pixelwise.data.regions import Broken, Points
from pixelwise.data.sample import VOID
from pixelwise.data.shapes import IGNORE
from pixelwise.errors import UserError, unknown

TABLE = "points.csv"
COLUMNS = ("picture", "x", "y", "class")
MAX_ROWS = 5_000_000
"""Rows that the writer refuses to exceed: about 100 MB of text."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """The positions of a table's columns."""

    picture: int
    x: int
    y: int
    label: int
    delimiter: str


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of a table: a pixel and its class, which is empty if none was written yet; or why it cannot be read."""

    line: int
    picture: str
    x: int = 0
    y: int = 0
    label: str = ""
    trouble: str = ""


def detect(root: Path) -> bool:
    return bool(table_files(root)) and not has_masks(root)


def table_files(root: Path) -> list[Path]:
    """The tables of labelled pixels."""
    return list(_tables(root))


def _tables(root: Path) -> dict[Path, _Columns]:
    """The tables with `points` as a word of their name, and with a column each for picture, x, y and class."""
    named = (file for file in files_below(root, ".csv", ".tsv") if "points" in re.split(r"[\W_\d]+", file.stem.lower()))
    return {file: columns for file in named if (columns := _columns_of(head(file))) is not None}


def _columns_of(text: str) -> _Columns | None:
    for delimiter in DELIMITERS:
        try:
            _, first = next(lines_of(text, delimiter), (0, []))
        except csv.Error:
            continue
        header = plain_names(first)
        picture, label = first_of(header, ("picture", *PICTURE_COLUMNS)), first_of(header, CLASS_COLUMNS)
        x, y = first_of(header, ("x",)), first_of(header, ("y",))
        if min(picture, label, x, y) >= 0:
            return _Columns(picture, x, y, label, delimiter)
    return None


def survey(root: Path) -> Survey:
    """The pictures that the tables name, and all others without labels.

    A row that cannot be understood is a broken shape of its picture, and a table that cannot be read is a fault. Rows
    without a class are counted in a note, since they wait for a person to fill them in.

    Raises:
        UserError: no table of labelled pixels, or lists that cannot be read.
    """
    tables = _tables(root)
    if not tables:
        raise UserError(f"{root}: no {TABLE} with the columns {', '.join(COLUMNS)}, one row per labelled pixel.")
    faults, encodings, unmatched = Faults(), Encodings(), Unmatched()
    pictures = pictures_of(root)
    finder = Finder(root, pictures.records)
    sources = Sources(root)
    by_file: dict[str, list[str]] = defaultdict(list)
    labels: dict[str, None] = {}
    notes: list[str] = []
    for file, columns in tables.items():
        name, split = relative(root, file), split_in(file.stem)
        rows = faults.attempt(partial(_rows_of, file, name, columns, encodings), list[_Row]())
        found = finder.all_of(file, (row.picture for row in rows), split)
        empty = [row for row in rows if not (row.label or row.trouble)]
        of_record: dict[str, list[_Row]] = defaultdict(list)
        for row in rows:
            means = found[row.picture]
            unmatched.note(name, row.picture or f"line {row.line} (no picture)", means)
            for record in means.names:
                if row.label or row.trouble:
                    of_record[record].append(row)
        for record, members in of_record.items():
            by_file[split].append(record)
            sources.add(record, Source(file, shapes=_shapes(members)))
            labels |= dict.fromkeys(row.label for row in members if not row.trouble)
        if empty:
            waiting = counted(len(empty), "row has", "rows have")
            notes.append(f"{name}: {waiting} no class yet and no effect (the first is line {empty[0].line}).")
        labelled = len(rows) - len(empty)
        notes.append(f"{name}: {labelled:,} labelled pixels in {len(of_record)} pictures; all others are void.")
    if not (faults or sources):
        faults.append(_nothing_labelled(root, next(iter(tables)), unmatched))
    table = _classes(labels, faults.attempt(partial(read_classes, root), None))
    merged = sources.merged(table.ids, table.refused)
    return survey_of(
        root,
        "points",
        pictures,
        merged.drawings,
        class_names=table.names,
        by_file=by_file,
        unmatched=unmatched,
        notes=(*notes, *merged.notes, *table.notes),
        faults=(*faults, *merged.faults),
        guesses=(*encodings.guesses(), *merged.guesses),
        coding=PointCoding(merged.drawings),
    )


def _nothing_labelled(root: Path, table: Path, unmatched: Unmatched) -> str:
    """Why the tables label no pixel."""
    missing = [entry.partition(": ")[2] for entry in unmatched.missing]
    if missing:
        return (
            f"{table}: none of the {len(missing)} pictures it names ({some(missing, 2)}) is in {root}; write the "
            "pictures' names into the column of pictures."
        )
    return f"{table}: no row has a class yet, so no pixel is labelled; write the names of the classes into the table."


def _rows_of(file: Path, name: str, columns: _Columns, encodings: Encodings) -> list[_Row]:
    """The rows of a table.

    Raises:
        UserError: the file is not text, or not a csv file.
    """
    return [_row(line, cells, columns) for line, cells in read_table(file, name, columns.delimiter, encodings)]


def _row(line: int, cells: Sequence[str], columns: _Columns) -> _Row:
    needed = max(columns.picture, columns.x, columns.y) + 1
    cells = [*cells, *[""] * (max(needed, columns.label + 1) - len(cells))]
    picture, label = cells[columns.picture], cells[columns.label]
    try:
        x, y = (float(cells[column]) for column in (columns.x, columns.y))
        column, row = int(np.floor(x)), int(np.floor(y))
    except (ValueError, OverflowError):
        found = f"'{cells[columns.x]}', '{cells[columns.y]}'"
        return _Row(line, picture, trouble=f"x and y are {found}, but the numbers of a column and a row are expected.")
    label = "" if is_nothing(label) else re.sub(r"^(\d+)\.0*$", r"\1", label)
    return _Row(line, picture, column, row, label)


def _shapes(rows: Sequence[_Row]) -> list[Labelled]:
    """The rows of one picture: a region per class, and a broken one per row that is unreadable or contradicts one."""
    shapes = [Labelled("", Broken(row.trouble), f"line {row.line}") for row in rows if row.trouble]
    first: dict[tuple[int, int], _Row] = {}
    of_class: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        if row.trouble:
            continue
        other = first.setdefault((row.x, row.y), row)
        if other.label != row.label:
            why = (
                f"the pixel x {row.x}, y {row.y} is '{row.label}' here and '{other.label}' in line {other.line}; "
                "remove one of the two."
            )
            shapes.append(Labelled("", Broken(why), f"line {row.line}"))
        elif other is row:
            of_class[row.label].append(row)
    for label, members in of_class.items():
        region = Points(np.array([(row.x, row.y) for row in members], np.int64))
        low, high = members[0].line, members[-1].line
        shapes.append(Labelled(label, region, f"line {low}" if low == high else f"lines {low} to {high}"))
    return shapes


def _classes(labels: Iterable[str], given: tuple[str, ...] | None) -> LabelTable:
    """The classes in the order of classes.txt, else sorted, a background first; whole numbers are ids.

    A label that is neither in classes.txt nor an id of it is refused.
    """
    labels = sorted(labels)
    ids = {label: VOID for label in labels if label.lower() in VOID_NAMES}
    named = [label for label in labels if label not in ids]
    if given is None and named and all(re.fullmatch(r"\d{1,3}", label) for label in named):
        top = max((int(label) for label in named if int(label) != VOID), default=0)
        given = tuple(f"class {number}" for number in range(min(top, VOID - 1) + 1))
    if given is None:
        given = tuple(sorted(named, key=lambda label: (not is_background(label), label)))
        if len(given) > VOID:
            raise UserError(f"{len(given)} classes found in {TABLE}; 255 is the most.")
    names = tuple(name for name in given if name != IGNORE)
    ids |= {name: class_id for class_id, name in enumerate(names)}
    numbers = {str(class_id): class_id for class_id in range(len(names))} | {str(VOID): VOID}
    ids |= {label: numbers[label] for label in named if label in numbers and label not in ids}
    refused = {
        label: f"{unknown('class', label, names)}; add the name to classes.txt." for label in named if label not in ids
    }
    return LabelTable(names, ids, refused)


def write(export: Export, out: Path) -> list[str]:
    """`images/` and `points.csv`, with a row for every labelled pixel, or for `Export.points` of each picture.

    Pixels are drawn at random without replacement, and the same ones every time. A picture that is void everywhere has
    one row of the class `__ignore__`.

    Raises:
        UserError: more than `MAX_ROWS` rows.
    """
    labelled = [record for record in export.records if record.labels]
    sizes = [export.dataset.size(record) for record in labelled]
    rows = sum(height * width if export.points is None else export.points for height, width in sizes)
    if rows > MAX_ROWS:
        raise UserError(
            f"{export.dataset.root}: up to {rows:,} rows of single pixels, at most {MAX_ROWS:,} expected; give "
            "--points with the number of pixels per picture, or choose another format."
        )
    export.copy_pictures(out / "images")
    written = 0
    with (out / TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, record in enumerate(labelled):
            mask = export.dataset.load_mask(record)
            ys, xs = np.nonzero(mask != VOID)
            if export.points is not None and len(ys) > export.points:
                chosen = np.random.default_rng(number).choice(len(ys), export.points, replace=False)
                ys, xs = ys[np.sort(chosen)], xs[np.sort(chosen)]
            if not len(ys):
                ys, xs = np.zeros(1, int), np.zeros(1, int)
            picture = export.picture(record)
            for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
                writer.writerow((picture, x, y, export.label(int(mask[y, x]))))
            written += len(ys)
    export.write_lists(out, "images/")
    drawn = "all labelled pixels" if export.points is None else f"at most {export.points} of each picture, at random"
    return [f"{written:,} labelled pixels are written: {drawn}; reading the copy, all others are void."]
