"""Pictures with a table of run-length encodings, as Kaggle gives them (TGS salt, Airbus ships, Severstal steel).

    images/x.png + train.csv     id,rle_mask            x,9996 4 10094 7

One row a picture or one an object; an empty cell (or -1) is a picture without objects. Runs are pairs of a start,
counted from 1 down the columns, and a length.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelwise.data import rle
from pixelwise.data.class_table import read_classes
from pixelwise.data.formats.annotations import (
    class_table,
    files_below,
    has_masks,
    pictures_of,
    relative,
    split_in,
    survey_of,
)
from pixelwise.data.formats.export import Export, parts_of
from pixelwise.data.formats.survey import Survey
from pixelwise.data.listing import Names, Unmatched
from pixelwise.data.shapes import Drawing, Pairs, Shape
from pixelwise.errors import UserError

PICTURE_COLUMNS = frozenset({"id", "imageid", "image", "img", "imageidx", "file", "filename", "imagename", "name"})
RLE_COLUMNS = frozenset({"rle", "rles", "rlemask", "maskrle", "encodedpixels", "mask", "segmentation", "pixels"})
CLASS_COLUMNS = frozenset({"class", "classid", "classname", "label", "category", "categoryid"})
_RUNS = re.compile(r"\s*\d+(\s+\d+)*\s*")
_NOTHING = frozenset({"", "-1", "nan"})
_LONGEST_CELL = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of a table: `label` is empty where there is no column for it."""

    line: int
    picture: str
    runs: str
    label: str


def detect(root: Path) -> bool:
    return bool(_tables(root)) and not has_masks(root)


def survey(root: Path) -> Survey:
    """The pictures that the tables name, and all others without labels.

    Raises:
        UserError: no table with columns for pictures and runs, or a cell that cannot be understood.
    """
    tables = _tables(root)
    if not tables:
        raise UserError(
            f"{root}: no csv file with a column for the picture (id, ImageId, image, file) and one for the run-length "
            "encoding (rle, rle_mask, EncodedPixels)."
        )
    pictures = pictures_of(root)
    finder = Names(record.name for record in pictures.records)
    regions: dict[str, list[tuple[str, str, Pairs]]] = defaultdict(list)
    files: dict[str, dict[Path, None]] = defaultdict(dict)
    by_file: dict[str, list[str]] = defaultdict(list)
    labels: dict[str, str] = {}
    unmatched = Unmatched()
    rows = 0
    for table in tables:
        for row in _rows(table):
            rows += 1
            where = f"{table}, line {row.line}"
            found = finder.find(row.picture, beside=relative(root, table.parent), split=split_in(table.stem))
            names = found.names
            unmatched.note(relative(root, table), row.picture, found)
            for name in names:
                files[name][table] = None
                by_file[split_in(table.stem)].append(name)
            if row.runs.lower() in _NOTHING:
                continue
            try:
                region = Pairs(rle.parse_pairs(row.runs))
            except UserError as error:
                raise UserError(f"{where}: {error}") from None
            labels.setdefault(row.label, where)
            for name in names:
                own = table == next(iter(files[name]))
                entry = f"line {row.line}" if own else f"line {row.line} of {relative(root, table)}"
                regions[name].append((entry, row.label, region))
    if not files:
        raise UserError(f"{tables[0]}: none of the {len(unmatched.missing)} pictures it names lies in {root}.")
    class_names, ids, notes = _classes(root, labels)
    drawings = {
        name: Drawing(
            file,
            tuple(Shape(ids[label], region, entry=entry) for entry, label, region in regions[name]),
            None,
            tuple(others),
        )
        for name, (file, *others) in files.items()
    }
    empty = sum(not drawing.shapes for drawing in drawings.values())
    return survey_of(
        root,
        "rle_csv",
        pictures,
        drawings,
        class_names=class_names,
        by_file=by_file,
        unmatched=unmatched,
        notes=(
            f"{', '.join(relative(root, table) for table in tables)}: {rows} rows of run-length encodings, read as "
            f"1-based starts down the columns; {len(drawings)} pictures, {empty} of them without objects.",
            *_left_out(root),
            *notes,
        ),
    )


def _classes(root: Path, labels: dict[str, str]) -> tuple[tuple[str, ...], dict[str, int], tuple[str, ...]]:
    """Names, label -> id and notes; whole numbers that classes.txt does not name are ids themselves."""
    given = read_classes(root)
    if set(labels) <= {""}:
        names = given or ("background", "object")
        if len(names) == 1:
            names = ("background", names[0])
        return names, {"": 1}, ()
    if "" in labels:
        raise UserError(f"{labels['']}: runs without a class, where other rows have one.")
    if all(re.fullmatch(r"\d{1,3}", label) for label in labels) and not set(labels) & set(given or ()):
        numbers = {label: int(label) for label in labels}
        shift = int(min(numbers.values()) == 0)
        top = max(numbers.values()) + shift
        names = given or ("background", *(f"class {number - shift}" for number in range(1, top + 1)))
        if len(names) == 1:
            names = ("background", names[0])
        if top >= min(len(names), 255):
            label = max(numbers, key=lambda one: numbers[one])
            raise UserError(
                f"{labels[label]}: class {label} found, but there are {len(names)} classes with background."
            )
        said = "The classes are counted from 0, so 1 is added: 0 is what no row covers." if shift else ""
        return names, {label: number + shift for label, number in numbers.items()}, (said,) if said else ()
    return class_table(dict(sorted(labels.items())), given)


def _tables(root: Path) -> tuple[Path, ...]:
    return tuple(file for file in files_below(root, ".csv") if _columns(file) and not _is_submission(file))


def _left_out(root: Path) -> list[str]:
    left = [relative(root, file) for file in files_below(root, ".csv") if _is_submission(file) and _columns(file)]
    return [f"{', '.join(left)}: a form to send predictions with, which is not read."] if left else []


def _is_submission(file: Path) -> bool:
    return "submission" in file.stem.lower()


def _columns(file: Path) -> tuple[int, int, int] | None:
    """The columns of picture, runs and class (-1 if there is none); None for tables of another kind."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream, _long_cells():
            reader = csv.reader(stream)
            header = [re.sub(r"[^a-z0-9]", "", cell.lower()) for cell in next(reader, [])]
            found = [
                next((index for index, cell in enumerate(header) if cell in wanted), -1)
                for wanted in (PICTURE_COLUMNS, RLE_COLUMNS, CLASS_COLUMNS)
            ]
            if -1 in found[:2]:
                return None
            if header[found[1]] == "mask":  # which may as well be the column of the masks' files
                cells = (row[found[1]].strip() for row in reader if len(row) > found[1])
                if not _RUNS.fullmatch(next((cell for cell in cells if cell.lower() not in _NOTHING), "")):
                    return None
    except (UnicodeDecodeError, csv.Error):
        return None
    return found[0], found[1], found[2]


def _rows(file: Path) -> Iterator[_Row]:
    columns = _columns(file)
    assert columns is not None
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream, _long_cells():
            reader = csv.reader(stream)
            next(reader)
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) <= max(columns):
                    raise UserError(
                        f"{file}, line {reader.line_num}: {len(cells)} columns found, at least {max(columns) + 1} "
                        "expected by the first line."
                    )
                picture, runs = cells[columns[0]].strip(), cells[columns[1]].strip()
                yield _Row(reader.line_num, picture, runs, cells[columns[2]].strip() if columns[2] >= 0 else "")
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: cannot be read as a csv file ({error}); save it again as UTF-8.") from None


@contextmanager
def _long_cells() -> Iterator[None]:
    """Lets the runs of large masks pass, which are longer than what the csv module takes for one cell."""
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def write(export: Export, out: Path) -> list[str]:
    """`images/` and a table a split: one row an object, or where objects are not known, one row a class.

    Pictures that show only class 0 have a row with an empty cell. The column `class` is there where it is needed.
    """
    export.copy_pictures(out / "images")
    rows: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for split, records in export.parts().items():
        for record, sample in export.samples(records):
            assert sample.mask is not None
            parts = parts_of(sample.mask, sample.instances, connected=False)
            for part in parts:
                whole = np.zeros(sample.mask.shape, bool)
                whole[part.patch.window] = part.patch.mask
                runs = rle.write_pairs(rle.to_pairs(whole))
                rows[split].append((export.picture(record), export.label(part.class_id), runs))
            if not parts:
                rows[split].append((export.picture(record), "", ""))
    labels = {label for members in rows.values() for _, label, _ in members} - {""}
    named = len(export.dataset.class_names) > 2 or not labels <= set(export.dataset.class_names)
    for split, members in rows.items():
        with (out / f"{split or 'labels'}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("id", "class", "rle") if named else ("id", "rle"))
            writer.writerows(row if named else (row[0], row[2]) for row in members)
    return []
