"""Joints of people in MATLAB files: LSP and its extension, MPII, FLIC.

    images/im0001.jpg + joints.mat         images/015601864.jpg + mpii_human_pose_v1_u12_1.mat
    images/bourne-00022121.jpg + examples.mat

`mat_people` describes how each of the three stores a person.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pixelwise.data.formats.annotations import Pictures, files_below, has_masks, pictures_of
from pixelwise.data.formats.mat_people import KINDS, MatFile, holds_people, read_mat
from pixelwise.data.formats.survey import SPLITS, Survey, given_splits
from pixelwise.data.joints import Joints
from pixelwise.data.listing import Faults, counted, relative, some
from pixelwise.data.names import Finder, Unmatched
from pixelwise.data.people import PeopleCoding, Person
from pixelwise.data.record import Record
from pixelwise.errors import UserError

_NUMBER = re.compile(r"(\d+)$")


def detect(root: Path) -> bool:
    """Whether a MATLAB file below the folder holds joints, and there are no masks as well."""
    files = files_below(root, ".mat")
    return any(map(holds_people, files)) and not has_masks(root)


def survey(root: Path) -> Survey:
    """The pictures that the files list, labelled if a person is annotated, and all others without labels."""
    faults = Faults()
    files = [file for file in files_below(root, ".mat") if holds_people(file)]
    if not files:
        faults.append(f"{root}: no MATLAB file with joints ({', '.join(KINDS)}) in this folder.")
    pictures = pictures_of(root)
    reading = _Reading(root, pictures)
    for file in files:
        faults.attempt(partial(reading.add, file), None)
    records = tuple(reading.labelled(record) for record in pictures.records)
    given, not_found = given_splits(root, records, {}, faults)
    if not given:
        given = {split: tuple(sorted(set(reading.by_split[split]))) for split in SPLITS if reading.by_split[split]}
    if not given:
        given, _ = given_splits(root, records, pictures.by_folder, faults)
    return Survey(
        root=root,
        layout="pose_mat",
        records=records,
        given=given,
        class_names=("background", "person"),
        coding=PeopleCoding(
            dict(reading.people),
            reading.joints,
            head_boxes=any(person.head_box is not None for people in reading.people.values() for person in people),
        ),
        ignored=pictures.ignored,
        missing=(*not_found.missing, *reading.unmatched.missing),
        ambiguous=(*not_found.ambiguous, *reading.unmatched.ambiguous),
        faults=tuple(faults),
        notes=(*pictures.notes, *reading.notes),
    )


class _Reading:
    """The result of the files read so far: people by the name of their record."""

    def __init__(self, root: Path, pictures: Pictures) -> None:
        self.root = root
        self.pictures = pictures
        self.people: dict[str, tuple[Person, ...]] = {}
        self.files: dict[str, Path] = {}
        self.joints = Joints(())
        self.by_split: dict[str, list[str]] = defaultdict(list)
        self.unmatched = Unmatched()
        self.notes: list[str] = []

    def labelled(self, record: Record) -> Record:
        """The record with its label file, if it has one."""
        file = self.files.get(record.name)
        return record if file is None else Record(record.name, record.picture, (file,))

    def add(self, file: Path) -> None:
        """Reads one file.

        Raises:
            UserError: the file is damaged, its arrays have a shape that none of the data sets has, or its joints differ
                from those of an earlier file.
        """
        found = read_mat(file)
        if self.joints.names and self.joints.names != found.joints.names:
            raise UserError(
                f"{file}: holds {len(found.joints)} joints, but another file of this folder {len(self.joints)} others; "
                "keep data sets with different joints in separate folders."
            )
        self.joints = found.joints
        people = sum(len(entry.people) for entry in found.entries)
        self.notes += [
            f"{relative(self.root, file)}: {counted(people, 'person', 'people')} with {len(found.joints)} joints.",
            *found.notes,
        ]
        for entry, names in zip(found.entries, self._names(file, found), strict=True):
            for name in names:
                if entry.people:
                    self.people[name] = (*self.people.get(name, ()), *entry.people)
                    self.files[name] = file
                    if entry.split:
                        self.by_split[entry.split].append(name)

    def _names(self, file: Path, found: MatFile) -> list[tuple[str, ...]]:
        """The records that each entry of a file means: by name or, if there are none, by number."""
        if any(entry.picture for entry in found.entries):
            listed = [entry.picture for entry in found.entries]
            means = Finder(self.root, self.pictures.records).all_of(file, dict.fromkeys(listed))
            for picture in listed:
                self.unmatched.note(relative(self.root, file), picture, means[picture])
            return [means[picture].names for picture in listed]
        numbered = _by_number(self.pictures.records)
        names: list[tuple[str, ...]] = []
        for number in range(1, len(found.entries) + 1):
            own = numbered.get(number, ())
            if not own:
                self.unmatched.missing[f"{relative(self.root, file)}: picture {number}"] = None
            elif len(own) > 1:
                self.unmatched.ambiguous[f"{relative(self.root, file)}: picture {number} ({' or '.join(own)})"] = None
            names.append(own if len(own) == 1 else ())
        beyond = sorted(set(numbered) - set(range(1, len(names) + 1)))
        if beyond:
            pictures = [name for number in beyond for name in numbered[number]]
            self.notes.append(
                f"{relative(self.root, file)} holds joints of {len(names)} pictures, numbered from 1; "
                f"{counted(len(pictures), 'picture has', 'pictures have')} another number ({some(pictures, 3)})."
            )
        return names


def _by_number(records: Sequence[Record]) -> Mapping[int, tuple[str, ...]]:
    """Names by the number at their end: `images/im0007` is picture 7."""
    found: dict[int, tuple[str, ...]] = {}
    for record in records:
        match: Any = _NUMBER.search(Path(record.name).with_suffix("").name)
        if match:
            number = int(match[1])
            found[number] = (*found.get(number, ()), record.name)
    return found
