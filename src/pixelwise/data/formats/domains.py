"""What the layouts of translators have in common: folders called a and b, and the coding of pairs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pixelwise.data.class_table import ClassTable, class_table
from pixelwise.data.colour_table import ColourTable
from pixelwise.data.formats.forms import majority_form
from pixelwise.data.formats.survey import Survey, given_splits
from pixelwise.data.halves import half_of, opposite
from pixelwise.data.listing import Faults, picture_files
from pixelwise.data.pairs import PairCoding
from pixelwise.data.path_words import SPLIT_WORDS
from pixelwise.data.pictures import PictureFormat, read_picture
from pixelwise.data.record import Record
from pixelwise.data.splits import even_sample
from pixelwise.errors import UserError

DOMAINS = ("a", "b")
LOOKED_AT = 4
"""How many pictures of each kind are compared with the colours of classes."""
COLOURED = 0.5
"""Pictures show classes by colours if at least this share of their pixels has one of the colours."""
_JOINED = re.compile(rf"({'|'.join(SPLIT_WORDS)})[_\- ]?([ab])", re.IGNORECASE)
_LETTER = re.compile(r"[_\- ]([ab])$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """What the folders above a picture state.

    Attributes:
        domain: `a` or `b`.
        split: `train`, `val`, `test`, or empty.
        key: the rest of the path without those folders, the suffix, and a letter of the domain at its end: `x` of
            `trainA/x_A.png`.
    """

    domain: str
    split: str
    key: str


def place_of(file: PurePosixPath) -> Place | None:
    """Reads a path such as `train/a/x.png`, `A/train/x.png` or `trainA/x.png`; None if no folder is called a or b.

    >>> place_of(PurePosixPath("testB/street/1_B.jpg"))
    Place(domain='b', split='test', key='street/1')
    """
    domain = split = ""
    kept = []
    for folder in file.parts[:-1]:
        joined, word = _JOINED.fullmatch(folder), folder.lower()
        if joined and not domain:
            split, domain = SPLIT_WORDS[joined[1].lower()], joined[2].lower()
        elif word in DOMAINS and not domain:
            domain = word
        elif word in SPLIT_WORDS and not split:
            split = SPLIT_WORDS[word]
        else:
            kept.append(folder)
    if not domain:
        return None
    letter = _LETTER.search(file.stem)
    stem = file.stem[: letter.start()] if letter and letter[1].lower() == domain else file.stem
    return Place(domain, split, "/".join([*kept, stem]))


def placed(root: Path) -> tuple[dict[PurePosixPath, Place], list[PurePosixPath]]:
    """The pictures below folders called a or b with their places, and all other pictures."""
    places: dict[PurePosixPath, Place] = {}
    others = []
    for file in picture_files(root):
        place = place_of(file)
        if place is None:
            others.append(file)
        else:
            places[file] = place
    return places, others


def joined(files: Sequence[PurePosixPath]) -> bool:
    """Whether a folder states split and domain in one word: `trainA`."""
    return any(_JOINED.fullmatch(folder) for file in files for folder in file.parts[:-1])


def survey_of_pairs(
    root: Path,
    layout: str,
    records: Sequence[Record],
    by_folder: Mapping[str, str],
    faults: Faults,
    *,
    paired: bool = True,
    orphans: Sequence[PurePosixPath] = (),
    ignored: Sequence[PurePosixPath] = (),
    notes: tuple[str, ...] = (),
    guesses: tuple[str, ...] = (),
) -> Survey:
    """The survey of records whose labels are other pictures.

    Args:
        by_folder: name -> split, for records whose folders state it.
        paired: see `PairCoding`.
        orphans, ignored: other pictures without a picture, and files that are neither.
    """
    records = tuple(sorted(records, key=lambda record: record.name))
    given, unmatched = given_splits(root, records, by_folder, faults)
    others = [record.labels[0] for record in records if record.labels]
    form = faults.attempt(lambda: majority_form(others), PictureFormat()) if others else PictureFormat()
    table = faults.attempt(lambda: class_table(root), ClassTable())
    colours, more = _coloured(records, ColourTable.of(table))
    return Survey(
        root=root,
        layout=layout,
        records=records,
        given=given,
        class_names=(),
        coding=PairCoding(form, paired, colours),
        orphans=tuple(map(str, orphans)),
        ignored=tuple(map(str, ignored)),
        missing=tuple(unmatched.missing),
        ambiguous=tuple(unmatched.ambiguous),
        faults=tuple(faults),
        guesses=guesses,
        notes=(*notes, *more),
    )


def _coloured(
    records: Sequence[Record], table: ColourTable | None
) -> tuple[tuple[ColourTable | None, ColourTable | None], tuple[str, ...]]:
    """The colours of classes of the kind of picture that has them, and a sentence about that."""
    if table is None:
        return (None, None), ()
    shares = [0.0, 0.0]
    looked = even_sample([record for record in records if record.labels], LOOKED_AT)
    for record in looked:
        for side, (file, half) in enumerate(((record.picture, record.half), (record.labels[0], opposite(record.half)))):
            try:
                picture = half_of(read_picture(file, PictureFormat(3, "uint8")), half, file)
            except UserError:  # reported when that picture is read
                continue
            shares[side] += table.share(picture) / len(looked)
    if max(shares) < COLOURED:
        return (None, None), (
            f"Neither kind of picture has the colours of the class table ({shares[0]:.0%} and {shares[1]:.0%} of the "
            "pixels), so no label accuracy is measured.",
        )
    of_inputs = shares[0] > shares[1]
    which = "a" if of_inputs else "b"
    note = f"The pictures of {which} have the colours of the class table, so that label accuracy can be measured."
    return ((table, None) if of_inputs else (None, table)), (note,)
