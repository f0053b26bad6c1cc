"""The result of a layout's search on disk, before anything is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pixelwise.data.codings import Coding
from pixelwise.data.listing import LIST_FOLDERS, Faults, list_file, read_lines, relative, some
from pixelwise.data.names import Finder, Found, Unmatched
from pixelwise.data.pictures import PictureFormat
from pixelwise.data.record import Record

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Survey:
    """The pictures and label files of a folder, paired; nothing has been decoded or refused yet.

    Attributes:
        root: the folder.
        layout: the name of the layout that paired them.
        records: every picture, labelled or not, sorted by name.
        given: splits that the folder itself states (lists or sub-folders) -> names; they may overlap if lists do.
        class_names: by class id; None if they must be counted in the masks.
        coding: how labels are stored; None if the values of masks must decide.
        orphans: masks that belong to no picture, relative to `root`.
        ignored: picture files that are neither pictures nor masks of the dataset, relative to `root`.
        missing: entries of list and annotation files that name no picture: `train.txt: x.png`.
        ambiguous: entries that may mean several pictures: `train.txt: x.png (a/x or b/x)`.
        faults: sentences on text files that cannot be read or understood; opening the dataset raises the first, the
            doctor reports them all.
        guesses: what was decided by the look of the files, and how to overrule it; reported as warnings.
        stratify: the kind of picture of each record, so that an automatic split holds all kinds.
        form: the form of all pictures, if the layout knows it; None if their headers must decide.
        within: the part of a record's name without the part that names its class, for finding groups.
        notes: what the layout assumed.
    """

    root: Path
    layout: str
    records: tuple[Record, ...]
    given: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None
    coding: Coding | None = None
    orphans: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
    stratify: Callable[[Record], Hashable] | None = None
    form: PictureFormat | None = None
    within: Callable[[Record], str] | None = None
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.labelled)

    def in_two_splits(self) -> tuple[str, ...]:
        """Names that are in more than one split."""
        counts = Counter(name for names in self.given.values() for name in set(names))
        return tuple(sorted(name for name, count in counts.items() if count > 1))


def given_splits(
    root: Path,
    records: Sequence[Record],
    by_folder: Mapping[str, str],
    faults: Faults,
    list_folders: Sequence[str] = LIST_FOLDERS,
) -> tuple[dict[str, tuple[str, ...]], Unmatched]:
    """Splits from list files, else from sub-folders.

    Args:
        root: the folder with the list files.
        records: the records that they may name.
        by_folder: name -> split, for records whose folder states it.
        faults: receives the sentences on lists that cannot be read, or that name no picture of the dataset.
        list_folders: folders below the root in which list files are looked for, in this order.

    Returns:
        Split -> names, and the entries that name no record, or several.
    """
    given: dict[str, tuple[str, ...]] = {}
    unmatched = Unmatched()
    lists = {split: file for split in SPLITS if (file := list_file(root, split, list_folders)) is not None}
    finder = Finder(root, records if lists else ())
    for split, file in lists.items():
        names: list[str] = []
        lines = faults.attempt(partial(read_lines, file), list[str]())
        found = finder.all_of(file, lines, split)
        # A line is a name, which may contain blanks, or a pair `picture label`.
        firsts = {line: line.split()[0] for line in lines if found[line] == Found() and len(line.split()) > 1}
        of_first = finder.all_of(file, firsts.values(), split)
        for line in lines:
            means = of_first[firsts[line]] if line in firsts else found[line]
            names += means.names
            unmatched.note(relative(root, file), line, means)
        given[split] = tuple(dict.fromkeys(names))
        if lines and not names and split != "test":
            faults.append(
                f"{file}: none of its {len(lines)} entries ({some(lines, 2)}) is a picture of this dataset, so it is a "
                "list of other data; correct it, or remove it to have a split made."
            )
    if not any(given.values()):
        for split in SPLITS:
            names = [record.name for record in records if by_folder.get(record.name) == split]
            if names:
                given[split] = tuple(names)
    return given, unmatched
