"""Pictures and masks paired by name, in any of the usual folders.

images/b/x.jpg + masks/b/x.png      train/images/x.jpg + train/masks/x.png      x.jpg + x_mask.png
masks/cat/x.png + masks/dog/x.png   x.jpg + x_mask.png + x_mask_1.png           (several masks per picture)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from pixelwise.data.class_table import ClassTable, class_table
from pixelwise.data.codings import Coding, MaskCoding
from pixelwise.data.formats.decision import found_values, values_of
from pixelwise.data.formats.export import Export
from pixelwise.data.formats.mask_values import meaning_of
from pixelwise.data.formats.pairing import pair
from pixelwise.data.formats.pairs import Pairing
from pixelwise.data.formats.survey import Survey, given_splits
from pixelwise.data.layers import LayerCoding, foreground
from pixelwise.data.listing import Faults, picture_files, some
from pixelwise.data.path_words import MASK_WORDS, record_names, without_suffix
from pixelwise.data.pictures import probe, write_png
from pixelwise.data.record import Record
from pixelwise.data.sample import VOID
from pixelwise.data.splits import even_sample
from pixelwise.errors import UserError

EXTRAS = frozenset({"instances"})
"""Folders at the top that belong to the layout and hold no masks: `instances/` has label maps of objects."""
_OBJECT_WORDS = frozenset({"object", "obj", "instance", "inst", "region"})
SAME_REGION = 0.5
"""Two masks of a picture whose IoU exceeds this show the same thing twice."""


def detect(root: Path) -> bool:
    return root.is_dir()


def survey(root: Path) -> Survey:
    """Every picture below `root` with its mask, if one has its name."""
    faults = Faults()
    pairing = pair(root, picture_files(root))
    table = faults.attempt(lambda: class_table(root), ClassTable())
    pairing, coding, names, guesses = _coding_of_layers(root, pairing, table)
    records, by_folder, notes = records_of(root, pairing)
    given, unmatched = given_splits(root, records, by_folder, faults)
    if coding is None and table.colours and _in_colour(records):
        coding = MaskCoding(palette=table.palette())
    if coding is None:
        coding, names, more = _coding_of_values(records, table.names if table.given else None)
        guesses = (*guesses, *more)
    return Survey(
        root=root,
        layout="folder",
        records=records,
        given=given,
        class_names=names or (table.names if table.given else None),
        coding=coding,
        orphans=tuple(map(str, pairing.orphans)),
        ignored=tuple(str(file) for file in pairing.ignored if file.parts[0] not in EXTRAS),
        missing=tuple(unmatched.missing),
        ambiguous=tuple(unmatched.ambiguous),
        faults=tuple(faults),
        guesses=(*pairing.guesses, *guesses, *table.guesses),
        notes=notes,
    )


def _coding_of_values(
    records: Sequence[Record], class_names: tuple[str, ...] | None
) -> tuple[MaskCoding | None, tuple[str, ...] | None, tuple[str, ...]]:
    """The coding of black-and-white masks with soft edges or with a large value for white, and sentences on the guess;
    None if the values of all masks are needed to decide."""
    masks = [record.labels[0] for record in records if record.labels]
    meaning = meaning_of(masks, class_names)
    if meaning.kind == "codes" and class_names is None:
        return _coding_of_codes(masks)
    names = class_names or ("background", "foreground")
    names = ("background", *names) if len(names) == 1 else names
    if len(names) == 2 and meaning.kind == "black_and_white":
        return MaskCoding(mapping={meaning.top: 1}), names, ()
    if len(names) == 2 and meaning.kind == "soft":
        half = meaning.top // 2
        guess = (
            f"The masks hold values between black and white (0 to {meaning.top}), at smoothed edges or after saving "
            f"with loss: values above {half} are read as {names[1]}, the rest as {names[0]}. `pixelwise check DATA "
            "--fix DIR` writes masks without values between; if the values are ids, name them all in classes.txt."
        )
        return MaskCoding(kind="binary", threshold=half), names, (guess,)
    if meaning.kind == "ids" and meaning.why:
        guess = (
            f"The values of the masks are read as class ids: {meaning.why}. If every value is a separate object, "
            "give the layout `labelmap`."
        )
        return None, None, (guess,)
    return None, None, ()


def _coding_of_codes(masks: Sequence[Path]) -> tuple[MaskCoding | None, tuple[str, ...] | None, tuple[str, ...]]:
    """The coding of class ids beyond 255, as in land cover maps: numbered in ascending order, 0 first."""
    try:
        values = sorted({0, *found_values(masks, lambda found: len(found) > VOID)})
    except UserError:  # reported when that mask is read
        return None, None, ()
    if len(values) > VOID:
        return None, None, ()
    names = ("background", *(f"value {value}" for value in values[1:]))
    guess = (
        f"The values {some(values, 6)} of the masks lie in several regions each, so they are read as the classes 0 to "
        f"{len(values) - 1} in this order; if every value is a separate object, give the layout `labelmap`."
    )
    return MaskCoding(mapping={value: class_id for class_id, value in enumerate(values)}), names, (guess,)


def _in_colour(records: Sequence[Record]) -> bool:
    """Whether most masks are colour pictures, judged by 20 of them."""
    sample = even_sample([record.labels[0] for record in records if record.labels], 20)
    try:
        return 2 * sum(probe(mask).mode in ("RGB", "RGBA") for mask in sample) > len(sample)
    except UserError:  # reported when that mask is read
        return False


def records_of(root: Path, pairing: Pairing) -> tuple[tuple[Record, ...], dict[str, str], tuple[str, ...]]:
    """Records sorted by name, the splits that folders state by name, and notes on names that needed their suffix."""
    names = record_names([picture for picture, _, _ in pairing.pairs])
    records = []
    by_folder = {}
    for picture, masks, split in pairing.pairs:
        name = names[picture]
        records.append(Record(name, root / picture, tuple(root / mask for mask in masks)))
        by_folder[name] = split
    double = sorted({without_suffix(name) for name in names.values() if name != without_suffix(name)})
    notes: tuple[str, ...] = ()
    if double:
        notes = (
            f"{len(double)} names are shared by pictures with different suffixes, which keep it in their names and "
            f"share the mask: {some(double, 3)}.",
        )
    return tuple(sorted(records, key=lambda record: record.name)), by_folder, notes


def _coding_of_layers(
    root: Path, pairing: Pairing, table: ClassTable
) -> tuple[Pairing, Coding | None, tuple[str, ...] | None, tuple[str, ...]]:
    """What several masks per picture mean: the pairing, the coding, the class names, and sentences on the guess.

    Masks that agree show the same thing, and the first is read. Otherwise each mask is a layer: of the class that its
    name or folder states or, if these are only numbers, of the only class.
    """
    several = {picture: masks for picture, masks, _ in pairing.pairs if len(masks) > 1}
    classes = sorted({_class_of_layer(layer) for layer in pairing.layers.values()} - {""})
    if not several and not (classes and _mark_one_thing(root, list(pairing.layers))):
        return pairing, None, None, ()
    shown = next(iter(several.values()), ())
    example = some([str(mask) for mask in shown], 3)
    if _show_the_same(root, list(several.values())):
        first = tuple((picture, masks[:1], split) for picture, masks, split in pairing.pairs)
        rest = tuple(mask for masks in several.values() for mask in masks[1:])
        guess = (
            f"{len(several)} pictures have several masks that show the same ({example}), of which only the first is "
            "read; move away those that you do not mean."
        )
        one = Pairing(first, pairing.orphans, (*pairing.ignored, *rest), {}, pairing.guesses)
        return one, None, None, (guess,)
    names = table.names if table.given else ("background", *classes) if classes else ("background", "foreground")
    if len(names) == 1:
        names = ("background", names[0])
    unknown_names = [name for name in classes if name not in names]
    if unknown_names and table.given:
        names = (*names, *unknown_names)
    ids = {name: names.index(name) for name in classes} | {"": 1}
    record_of = record_names([picture for picture, _, _ in pairing.pairs])
    coding = LayerCoding(
        {
            record_of[picture]: tuple(ids[_class_of_layer(pairing.layers.get(mask, ""))] for mask in masks)
            for picture, masks, _ in pairing.pairs
            if masks
        }
    )
    meaning = f"one mask per class ({some(classes)})" if classes else "several masks, whose union is read"
    guess = (
        f"{len(several)} pictures have {meaning}: {example}. If these are not masks of one picture, give each picture "
        "one mask with its name."
        if several
        else f"Each mask is read as a mask of the class that its name or folder states ({some(classes)}), as in "
        f"{some(list(pairing.layers), 2)}; if that is not a class, put the masks into masks/ under the names of their "
        "pictures alone."
    )
    return pairing, coding, names, (guess,)


def _mark_one_thing(root: Path, masks: Sequence[PurePosixPath]) -> bool:
    """Whether masks hold one value besides 0, or soft edges of one, judged by eight of them."""
    for mask in even_sample(masks, 8):
        try:
            values = values_of(root / mask)
        except UserError:  # reported when that mask is read
            continue
        if len(values) > 2 and meaning_of([root / mask]).kind != "soft":
            return False
    return True


def _class_of_layer(layer: str) -> str:
    """The class that the name of a layer states: `cat` for `cat` and `cat_2`; empty for numbers and words for masks."""
    name = re.sub(r"[_\-. ]?\d+$", "", layer)
    return "" if name.lower() in (*MASK_WORDS, *_OBJECT_WORDS) else name


def _show_the_same(root: Path, several: Sequence[Sequence[PurePosixPath]]) -> bool:
    """Whether the first two masks of most pictures agree, judged by eight of them."""
    agree = []
    for masks in even_sample(several, 8):
        try:
            first, second = (foreground(root / mask) for mask in masks[:2])
        except UserError:  # reported when that mask is read
            continue
        if first.shape == second.shape and (first | second).any():
            agree.append((first & second).sum() / (first | second).sum() > SAME_REGION)
    return 2 * sum(agree) > len(agree)


def write(export: Export, out: Path) -> list[str]:
    """`images/`, `masks/` as PNGs of class ids with 255 for void, and lists.

    Raises:
        UserError: masks that would be read differently: void, and no class but the first, among at most two.
    """
    export.copy_pictures(out / "images")
    values = set()
    for record, sample in export.samples(export.records):
        assert sample.mask is not None
        values |= set(np.unique(sample.mask).tolist())
        write_png(out / "masks" / f"{export.names[record.name]}.png", sample.mask)
    if VOID in values and values <= {0, VOID} and len(export.dataset.class_names) <= 2:
        raise UserError(
            f"{export.dataset.root}: the masks hold nothing but {export.dataset.class_names[0]} and void, which as 0 "
            "and 255 would be read as two classes; choose another format, such as voc."
        )
    export.write_lists(out, "images/")
    return ["Objects are not written: the masks hold only class ids."] if export.knows_objects() else []
