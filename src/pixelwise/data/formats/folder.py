"""Pictures and masks paired by name, in whatever folders people keep them.

images/b/x.jpg + masks/b/x.png      train/images/x.jpg + train/masks/x.png      x.jpg + x_mask.png
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from pixelwise.data.dataset import Record
from pixelwise.data.formats.export import Export
from pixelwise.data.formats.survey import Survey, given_splits
from pixelwise.data.listing import Place, picture_files, place, read_classes, some, without_mask_suffix, without_suffix
from pixelwise.data.pictures import write_png
from pixelwise.data.sample import VOID
from pixelwise.errors import UserError

Placed = tuple[PurePosixPath, Place]

EXTRAS = frozenset({"instances"})
"""Folders at the top that go with the layout and hold no masks: `instances/` has label maps of objects."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which mask belongs to which picture; paths relative to the root.

    Attributes:
        pairs: (picture, mask or None, split or empty), sorted by picture.
        orphans: masks without a picture.
        ignored: files that are neither.
    """

    pairs: tuple[tuple[PurePosixPath, PurePosixPath | None, str], ...]
    orphans: tuple[PurePosixPath, ...] = ()
    ignored: tuple[PurePosixPath, ...] = ()


def detect(root: Path) -> bool:
    return root.is_dir()


def survey(root: Path) -> Survey:
    """Every picture below `root` with its mask, where one has its name.

    Raises:
        UserError: a list file or classes.txt that cannot be read.
    """
    pairing = pair(picture_files(root))
    records, by_folder, notes = records_of(root, pairing)
    given, unmatched = given_splits(root, records, by_folder)
    return Survey(
        root=root,
        layout="folder",
        records=records,
        given=given,
        class_names=read_classes(root),
        orphans=tuple(map(str, pairing.orphans)),
        ignored=tuple(str(file) for file in pairing.ignored if file.parts[0] not in EXTRAS),
        missing=tuple(unmatched.missing),
        ambiguous=tuple(unmatched.ambiguous),
        notes=notes,
    )


def records_of(root: Path, pairing: Pairing) -> tuple[tuple[Record, ...], dict[str, str], tuple[str, ...]]:
    """Records sorted by name, the splits that folders tell by name, and notes on names that needed their suffix."""
    bare = Counter(without_suffix(str(picture)) for picture, _, _ in pairing.pairs)
    records = []
    by_folder = {}
    for picture, mask, split in pairing.pairs:
        name = without_suffix(str(picture))
        if bare[name] > 1:
            name = str(picture)
        records.append(Record(name, root / picture, () if mask is None else (root / mask,)))
        by_folder[name] = split
    double = sorted(name for name, count in bare.items() if count > 1)
    notes: tuple[str, ...] = ()
    if double:
        notes = (
            f"{len(double)} names are shared by pictures of different suffix, which keep it in their names and share "
            f"the mask: {some(double, 3)}.",
        )
    return tuple(sorted(records, key=lambda record: record.name)), by_folder, notes


def pair(files: Sequence[PurePosixPath]) -> Pairing:
    """Tells pictures from masks by their folders, else by the suffix of the name, and pairs them by name.

    A mask has the name of its picture, perhaps with a suffix such as `_mask`, and lies in a folder of the same name
    (`images/b`, `masks/b`) and of the same split. Where either side keeps no such folders, the bare name does if only
    one picture has it.
    """
    placed = [(file, place(file)) for file in files]
    roles = {where.role for _, where in placed}
    ignored: list[PurePosixPath] = []
    if "mask" in roles:
        masks = [(file, where) for file, where in placed if where.role == "mask"]
        pictures = [(file, where) for file, where in placed if where.role == "picture"]
        others = [(file, where) for file, where in placed if where.role == ""]
        if pictures:
            ignored = [file for file, _ in others]
        else:
            pictures = others
    else:
        if "picture" in roles:
            ignored = [file for file, where in placed if where.role == ""]
            placed = [(file, where) for file, where in placed if where.role == "picture"]
        keys = {(where.split, where.key) for _, where in placed}
        masks = [(file, where) for file, where in placed if (where.split, without_mask_suffix(where.key)) in keys]
        beside = {file for file, _ in masks}
        pictures = [(file, where) for file, where in placed if file not in beside]
    chosen = _match(pictures, masks)
    used = {file for file, _ in chosen.values()}
    return Pairing(
        pairs=tuple(
            (file, chosen[file][0], where.split or chosen[file][1].split)
            if file in chosen
            else (file, None, where.split)
            for file, where in pictures
        ),
        orphans=tuple(file for file, _ in masks if file not in used),
        ignored=tuple(ignored),
    )


def _match(pictures: Sequence[Placed], masks: Sequence[Placed]) -> dict[PurePosixPath, Placed]:
    """Picture -> its mask: by the exact key, then without the mask's suffix, then by the last part of the key."""
    chosen: dict[PurePosixPath, Placed] = {}
    exact = _index((where.key, (file, where)) for file, where in masks)
    suffixed = _index((without_mask_suffix(where.key), (file, where)) for file, where in masks)
    for file, where in pictures:
        for index in (exact, suffixed):
            found = [mask for mask in index.get(where.key, ()) if _same_split(where, mask[1])]
            if found:
                # A mask in a split of its own is nearer than one that serves all.
                chosen[file] = max(found, key=lambda mask: mask[1].split == where.split)
                break
    taken = {mask for mask, _ in chosen.values()}
    left = [(file, where) for file, where in pictures if file not in chosen]
    by_stem = _index(
        (_last(without_mask_suffix(where.key) if suffixed_name else where.key), (file, where))
        for file, where in masks
        if file not in taken
        for suffixed_name in (False, True)
    )
    namesakes = Counter(_last(where.key) for _, where in left)
    for file, where in left:
        found = [
            mask
            for mask in by_stem.get(_last(where.key), ())
            if _same_split(where, mask[1]) and ("/" not in where.key or "/" not in mask[1].key)
        ]
        if len(found) == 1 and namesakes[_last(where.key)] == 1:
            chosen[file] = found[0]
    return chosen


def _index(pairs: Iterable[tuple[str, Placed]]) -> dict[str, list[Placed]]:
    index: dict[str, list[Placed]] = defaultdict(list)
    for key, mask in pairs:
        if key:
            index[key].append(mask)
    return index


def _same_split(picture: Place, mask: Place) -> bool:
    return picture.split == mask.split or not picture.split or not mask.split


def _last(key: str) -> str:
    return key.rsplit("/", 1)[-1]


def write(export: Export, out: Path) -> list[str]:
    """`images/`, `masks/` as PNGs of class ids with 255 for void, and lists.

    Raises:
        UserError: masks that would be read otherwise: void, and no class but the first, among at most two.
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
    return ["Objects are not written: the masks hold class ids alone."] if export.knows_objects() else []
