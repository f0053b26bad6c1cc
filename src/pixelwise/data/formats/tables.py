"""Tables of labels as text: csv files with commas, semicolons or tabs, and the meaning of their columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pixelwise.data.formats import entries
from pixelwise.data.formats.annotations import files_below
from pixelwise.data.formats.texts import Encodings, head
from pixelwise.data.listing import relative
from pixelwise.errors import UserError

PICTURE_COLUMNS = ("imageid", "imagename", "filename", "imagefile", "imagepath", "filepath", "imageidx",
                   "image", "img", "file", "path", "name", "id")  # fmt: skip
RLE_COLUMNS = (
    "encodedpixels",
    "rle",
    "rles",
    "rlemask",
    "maskrle",
    "encodedrle",
    "rleencoding",
    "runlengths",
    "segmentation",
    "pixels",
    "encoding",
    "annotation",
    "mask",
)
DOUBTFUL = frozenset({"encoding", "annotation", "mask"})
"""Columns that may also hold something else, such as the masks' files: their first cell must hold runs."""
CLASS_COLUMNS = ("classname", "class", "label", "labelname", "categoryname", "category", "classid",
                 "labelid", "categoryid")  # fmt: skip
"""Words for a column without capitals, blanks and marks, the most specific first."""
JOINED_COLUMNS = tuple(picture + label for picture in PICTURE_COLUMNS for label in CLASS_COLUMNS)
"""One column for both picture and class, as in `ImageId_ClassId`: `x.jpg_1`."""
HEIGHT_COLUMNS = ("imageheight", "imgheight", "heightpixels", "height")
WIDTH_COLUMNS = ("imagewidth", "imgwidth", "widthpixels", "width")
"""Size of the picture, unless there are columns for a box's corner."""
CORNER_COLUMNS = ("x", "y", "xmin", "ymin", "x0", "x1", "left", "top", "bbox", "bboxx", "bboxxmin")
DELIMITERS = ",;\t|"
_NOTHING = frozenset({"", "-1", "-1.0", "-", "nan", "none", "null", "nil", "na", "n/a", "#n/a", "<na>"})
_RUNS = re.compile(r"[\s\[(]*\d+(\.0*)?([\s,;()\[\]]+\d+(\.0*)?)*[\s\])]*")
_NUMBER = re.compile(r"[\[(]*\d+(\.0*)?[\])]*")
_NO_RUN = re.compile(r"(\d+\s+0\s*)+")
_LONGEST_CELL = 2**31 - 1
_BREAK = "\n"


@dataclass(frozen=True, slots=True)
class Columns:
    """The positions of a table's columns; -1 for the class if there is none.

    Attributes:
        size: height and width of the picture, if both are present.
        joined: the column of the picture holds its class, too.
        count: how many columns the first line names.
    """

    picture: int
    runs: int
    label: int
    size: tuple[int, int] | None
    joined: bool
    count: int
    delimiter: str


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table.

    Attributes:
        line: its number, from 1.
        picture: its name in the table, perhaps with the class.
        runs: None if there are none.
        label: empty if the table has no column for it, or the cell is empty.
        size: (height, width) of the picture as stated; None if it is not.
        trouble: why the line cannot be understood, or empty.
    """

    line: int
    picture: str
    runs: str | None
    label: str
    size: tuple[int, int] | None = None
    trouble: str = ""


def tables_below(root: Path) -> tuple[dict[Path, Columns], list[str]]:
    """The tables of run lengths with their columns, and the names of templates for submitting predictions."""
    tables, forms = {}, []
    for file in files_below(root, ".csv", ".tsv"):
        columns = columns_of(head(file))
        if columns is not None and "submission" in file.stem.lower():
            forms.append(relative(root, file))
        elif columns is not None:
            tables[file] = columns
    return tables, forms


def columns_of(text: str) -> Columns | None:
    """The columns by the first line of a table; None for tables of another kind."""
    for delimiter in DELIMITERS:
        try:
            found = _columns(lines_of(text, delimiter), delimiter)
        except csv.Error:
            continue
        if found is not None:
            return found
    return None


def _columns(lines: Iterator[tuple[int, list[str]]], delimiter: str) -> Columns | None:
    _, first = next(lines, (0, []))
    header = plain_names(first)
    picture, runs, label = (first_of(header, words) for words in (PICTURE_COLUMNS, RLE_COLUMNS, CLASS_COLUMNS))
    joined = first_of(header, JOINED_COLUMNS)
    if joined >= 0 and picture >= 0 and header[picture] not in ("id", "name"):
        joined, label = -1, joined if label < 0 else label  # `image_label` beside `image_id`
    picture = picture if joined < 0 else joined
    if picture < 0 or runs < 0:
        return None
    if header[runs] in DOUBTFUL:
        cells = (row[runs] for _, row in lines if len(row) > runs)
        if not _RUNS.fullmatch(next((cell for cell in cells if not is_nothing(cell)), "")):
            return None
    size = (first_of(header, HEIGHT_COLUMNS), first_of(header, WIDTH_COLUMNS))
    stated = min(size) >= 0 and first_of(header, CORNER_COLUMNS) < 0
    return Columns(
        picture, runs, -1 if joined >= 0 else label, size if stated else None, joined >= 0, len(header), delimiter
    )


def plain_names(header: Iterable[str]) -> list[str]:
    """The names of columns in lower case, without blanks and marks.

    >>> plain_names(["Image_Id", "class name"])
    ['imageid', 'classname']
    """
    return [re.sub(r"[\W_]", "", cell.lower()) for cell in header]


def first_of(header: Sequence[str], words: Iterable[str]) -> int:
    """The column with the first of these words that occurs, or -1."""
    return next((header.index(word) for word in words if word in header), -1)


def rows_of(file: Path, name: str, columns: Columns, encodings: Encodings) -> list[Row]:
    """The rows of a table.

    Args:
        name: the name of the file in the sentences of `encodings`.

    Raises:
        UserError: the file is not text, or not a csv file.
    """
    rows = [_row(line, cells, columns) for line, cells in read_table(file, name, columns.delimiter, encodings)]
    for row in rows:
        if "\n" in row.picture:
            start = row.line - row.picture.count("\n")
            raise UserError(f"{file}, line {start}: a quotation mark is not closed; close it, or export again.")
    return rows


def _row(line: int, cells: list[str], columns: Columns) -> Row:
    needed = max(columns.picture, columns.runs, columns.label, *(columns.size or ())) + 1
    trouble = ""
    if len(cells) < needed:
        trouble = f"{len(cells)} columns found, at least {needed} expected by the first line."
        cells = cells + [""] * (needed - len(cells))
    elif columns.runs == columns.count - 1 and all(map(_NUMBER.fullmatch, cells[columns.runs :])):
        cells = [*cells[: columns.runs], " ".join(cells[columns.runs :])]  # runs that contain the column separator
    elif any(cells[columns.count :]):
        trouble = (
            f"{len(cells)} columns found, {columns.count} expected by the first line; put runs that contain the "
            "separator of columns in quotes."
        )
    picture, runs = cells[columns.picture], cells[columns.runs]
    if "\n" in runs and not _RUNS.fullmatch(runs):
        trouble = (
            f"a quotation mark that opens in line {line - runs.count(_BREAK)} is not closed there, so that all lines "
            f"up to line {line} are one cell; close it, or export again."
        )
    label = cells[columns.label] if columns.label >= 0 else ""
    label = re.sub(r"^(\d+)\.0*$", r"\1", "" if is_nothing(label) else label)
    size = None
    if columns.size:
        height, width = (cells[index] for index in columns.size)
        size = entries.size({"height": height, "width": width}, "height", "width")
    return Row(line, picture, None if is_nothing(runs) or _NO_RUN.fullmatch(runs) else runs, label, size, trouble)


def is_nothing(cell: str) -> bool:
    """Whether a cell means nothing: empty, `nan`, `None`, `-1`, `[]`, ..."""
    return cell.strip("[](){}\"' \t").lower() in _NOTHING


def read_table(file: Path, name: str, delimiter: str, encodings: Encodings) -> list[tuple[int, list[str]]]:
    """The number and the stripped cells of each line below the header of a table.

    Args:
        name: the name of the file in the sentences of `encodings`.

    Raises:
        UserError: the file is not text, or not a csv file.
    """
    try:
        return list(lines_of(encodings.read(file, name), delimiter))[1:]
    except csv.Error as error:
        raise UserError(f"{file}: cannot be read as a csv file ({error}); export it again.") from None


def lines_of(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The number and the stripped cells of each line that is not blank, without Excel's `sep=;` before the first.

    Raises:
        csv.Error: something that is not a table.
    """
    text = text.removeprefix("\ufeff")
    skipped = len(re.match(r'(?:"?sep=.?"?[ \t]*(?:\r\n?|\n|$))?', text, re.IGNORECASE)[0])  # type: ignore[index]
    with _long_cells():
        reader = csv.reader(io.StringIO(text[skipped:], newline=None), delimiter=delimiter, skipinitialspace=True)
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num + bool(skipped), stripped


@contextmanager
def _long_cells() -> Iterator[None]:
    """Allows runs of large masks, which are longer than the csv module's limit for one cell."""
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(limit)
