"""Pictures with a table of run-length encodings, as Kaggle gives them (TGS salt, Airbus ships, Severstal steel).

    images/x.png + train.csv     id,rle_mask            x,9996 4 10094 7

One row per picture or one per object; an empty cell (or -1, nan, ...) is a picture without objects. Runs are pairs of a
start, counted from 1 down the columns (or along the rows, if the user says so), and a length.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from pixelwise.data import rle
from pixelwise.data.class_names import is_background
from pixelwise.data.class_table import read_classes
from pixelwise.data.formats.annotations import (
    LabelTable,
    Pictures,
    has_masks,
    label_table,
    pictures_of,
    split_in,
    survey_of,
)
from pixelwise.data.formats.export import Export, parts_of
from pixelwise.data.formats.joined_cells import parted
from pixelwise.data.formats.run_order import WORDS, doubts
from pixelwise.data.formats.sources import Labelled, Source, Sources
from pixelwise.data.formats.survey import Survey
from pixelwise.data.formats.tables import Row, rows_of, tables_below
from pixelwise.data.formats.texts import Encodings
from pixelwise.data.listing import Faults, relative, some
from pixelwise.data.names import Finder, Found, Unmatched
from pixelwise.data.regions import Broken, Pairs, Region
from pixelwise.data.sample import VOID
from pixelwise.data.spread_names import SpreadNames
from pixelwise.errors import UserError


def detect(root: Path) -> bool:
    return bool(table_files(root)) and not has_masks(root)


def table_files(root: Path) -> list[Path]:
    """The tables of run lengths, without templates for submitting predictions."""
    return list(tables_below(root)[0])


def survey(root: Path, order: rle.Order = "columns") -> Survey:
    """The pictures that the tables name, and all others without labels.

    A row that cannot be understood is a broken shape of its picture, and a table that cannot be read is a fault.

    Args:
        order: the direction in which the runs count the pixels.

    Raises:
        UserError: no table with columns for pictures and runs, or lists that cannot be read.
    """
    tables, forms = tables_below(root)
    if not tables:
        raise UserError(
            f"{root}: no csv file with a column for the picture (id, ImageId, image, file) and one for the run-length "
            "encoding (rle, rle_mask, EncodedPixels)."
        )
    faults, encodings, unmatched = Faults(), Encodings(), Unmatched()
    pictures = pictures_of(root)
    finder = Finder(root, pictures.records)
    guesses: list[str] = []
    sources = Sources(root)
    by_file: dict[str, list[str]] = defaultdict(list)
    labels: dict[str, None] = {}
    count = 0
    for file, columns in tables.items():
        name, split = relative(root, file), split_in(file.stem)
        nothing: list[Row] = []
        rows = faults.attempt(partial(rows_of, file, name, columns, encodings), nothing)
        found = finder.all_of(file, (row.picture for row in rows), split)
        if columns.joined:
            rows = parted(rows, finder, file)
            labels |= dict.fromkeys(row.label for row in rows)
            found = finder.all_of(file, (row.picture for row in rows), split)
        if not any(means.names or means.rivals for means in found.values()):
            spread = SpreadNames(record.name for record in pictures.records)
            found = {entry: spread.find(entry) for entry in found}
            guesses += _spread(name, found)
        count += len(rows)
        of_record: dict[str, Source] = {}
        for row in rows:
            means = found[row.picture]
            unmatched.note(name, row.picture or f"line {row.line} (no picture)", means)
            shapes = [_shape(row, order)] if row.runs is not None or row.trouble else []
            labels |= dict.fromkeys(shape.label for shape in shapes)
            for record in means.names:
                of_record.setdefault(record, Source(file, size=row.size)).shapes += shapes
        for record, source in of_record.items():
            by_file[split].append(record)
            sources.add(record, source)
    if not (faults or sources):
        faults.append(_no_picture(root, next(iter(tables)), unmatched, pictures))
    table = _classes(labels, faults.attempt(partial(read_classes, root), None))
    merged = sources.merged(table.ids, table.refused)
    empty = sum(not drawing.shapes for drawing in merged.drawings.values())
    named = ", ".join(relative(root, file) for file in tables)
    return survey_of(
        root,
        "rle_csv",
        pictures,
        merged.drawings,
        class_names=table.names,
        by_file=by_file,
        unmatched=unmatched,
        notes=(
            f"{named}: {count} rows of run-length encodings, read as 1-based starts {WORDS[order]}; "
            f"{len(merged.drawings)} pictures, {empty} of them without objects.",
            *([f"{', '.join(forms)}: a template for submitting predictions, which is not read."] if forms else []),
            *merged.notes,
            *table.notes,
        ),
        faults=(*faults, *merged.faults),
        guesses=(
            *encodings.guesses(),
            *guesses,
            *merged.guesses,
            *table.guesses,
            *doubts(pictures.records, merged.drawings, order),
        ),
    )


def _spread(table: str, found: Mapping[str, Found]) -> list[str]:
    """A sentence on pictures that were found by their folder and the beginning of their name."""
    entry, means = next(((entry, means) for entry, means in found.items() if means.names), ("", Found()))
    if not entry:
        return []
    return [
        f"{table} names pictures by a folder and the beginning of the file's name: {entry} is read as "
        f"{means.names[0]}. If that is wrong, write the paths into the table."
    ]


def _no_picture(root: Path, table: Path, unmatched: Unmatched, pictures: Pictures) -> str:
    """Why the tables label no picture."""
    missing = [entry.partition(": ")[2] for entry in unmatched.missing]
    if not missing:
        return f"{table}: has no rows, so there are no labels; export it again."
    there = some([record.name for record in pictures.records], 2) or "missing"
    return (
        f"{table}: none of the {len(missing)} pictures it names ({some(missing, 2)}) is in {root}, where the "
        f"pictures are {there}; write the pictures' names into the table."
    )


def _shape(row: Row, order: rle.Order) -> Labelled:
    region: Region
    try:
        region = Broken(row.trouble) if row.trouble else Pairs(rle.parse_pairs(row.runs or ""), order)
    except UserError as error:
        region = Broken(str(error))
    return Labelled(row.label, region, f"line {row.line}")


def _classes(labels: Iterable[str], given: tuple[str, ...] | None) -> LabelTable:
    """The classes; whole numbers that classes.txt does not name are the ids themselves."""
    named = sorted({*labels} - {""})
    if not named:
        return LabelTable(_with_background(given or ("object",)), {"": 1})
    unnamed = {"": "runs without a class, where other rows have one."}
    if not all(re.fullmatch(r"\d{1,9}", label) for label in named) or set(named) & set(given or ()):
        table = label_table(named, given)
        return replace(table, refused={**table.refused, **unnamed})
    return _numbered(named, given, unnamed)


def _numbered(labels: Sequence[str], given: tuple[str, ...] | None, unnamed: Mapping[str, str]) -> LabelTable:
    """Classes that are whole numbers: the ids themselves, or positions in a list without background, plus 1.

    Args:
        unnamed: labels that are not numbers -> why they are refused.
    """
    low, top = min(map(int, labels)), max(map(int, labels))
    notes = []
    if given and len(given) > 1 and not is_background(given[0]) and (low == 0 or top == len(given)):
        given = ("background", *given)
        notes.append("classes.txt names no background, so it is put first as class 0: pixels that no row covers.")
    shift = int(low == 0 and (given is None or top < max(len(given) - 1, 1)))
    ids = {label: int(label) + shift for label in labels}
    named = max((class_id for class_id in ids.values() if class_id < VOID), default=0)
    names = _with_background(given or ("background", *(f"class {number - shift}" for number in range(1, named + 1))))
    beyond = {
        label: f"class {label} found, but there are {len(names)} classes with background ({some(names, 3)}); add the "
        "name to classes.txt."
        for label, class_id in ids.items()
        if class_id >= min(len(names), VOID)
    }
    if shift:
        notes.append("The classes are counted from 0, so 1 is added: 0 is where no row covers a pixel.")
    return LabelTable(names, ids, {**beyond, **unnamed}, tuple(notes))


def _with_background(names: tuple[str, ...]) -> tuple[str, ...]:
    """A single name means that class on a background."""
    return ("background", *names) if len(names) == 1 else names


def write(export: Export, out: Path) -> list[str]:
    """`images/` and one table per split, with one row per object or, if objects are not known, one row per class.

    Pictures that show only class 0 have a row with an empty cell. The column `class` is written if it is needed.
    """
    export.copy_pictures(out / "images")
    rows: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for split, records in export.by_split().items():
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
