"""What the writers of all formats share: which pictures, under which names, and their labels as masks and regions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from pixelwise.data.dataset import Dataset
from pixelwise.data.places import place
from pixelwise.data.record import Record
from pixelwise.data.regions import Box, Patch
from pixelwise.data.sample import VOID, Instances, Sample
from pixelwise.data.shapes import IGNORE


@dataclass(frozen=True, slots=True)
class Export:
    """A dataset about to be written.

    Attributes:
        dataset: what is read.
        records: those that are written, labelled or not.
        names: record's name -> its new one: a path without suffix below the folder of pictures.
        splits: split -> labelled records.
    """

    dataset: Dataset
    records: tuple[Record, ...]
    names: Mapping[str, str]
    splits: Mapping[str, tuple[Record, ...]]

    def picture(self, record: Record) -> str:
        """The new name with the suffix."""
        return self.names[record.name] + record.picture.suffix

    def copy_pictures(self, folder: Path) -> None:
        """Copies every picture as it is."""
        for record in self.records:
            target = folder / self.picture(record)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(record.picture, target)

    def samples(self, records: Sequence[Record]) -> Iterator[tuple[Record, Sample]]:
        """The labelled ones among `records`, read one by one."""
        return ((record, self.dataset.load(record)) for record in records if record.labels)

    def parts(self) -> dict[str, tuple[Record, ...]]:
        """Labelled records by split, and under an empty name those in none."""
        taken = {record.name for records in self.splits.values() for record in records}
        rest = tuple(record for record in self.records if record.labels and record.name not in taken)
        return {**self.splits, **({"": rest} if rest else {})}

    def knows_objects(self) -> bool:
        return self.dataset.coding.kind in ("objects", "shapes")

    def bare_boxes(self, sample: Sample) -> list[tuple[int, Box]]:
        """The objects without an outline, each with its class."""
        if sample.instances is None:
            return []
        bare = slice(sample.instances.outlined, None)
        classes, boxes = sample.instances.classes[bare].tolist(), sample.instances.boxes[bare].tolist()
        return [(class_id, Box(*edges)) for class_id, edges in zip(classes, boxes, strict=True)]

    def label(self, class_id: int) -> str:
        """The name of a class, `__ignore__` for void."""
        return IGNORE if class_id == VOID else self.dataset.class_names[class_id]

    def write_classes(self, out: Path) -> None:
        """classes.txt, from which the order of the classes is read again."""
        lines = "".join(f"{name}\n" for name in self.dataset.class_names)
        (out / "classes.txt").write_text(lines, encoding="utf-8")

    def write_lists(self, folder: Path, prefix: str = "") -> None:
        """One list of names a split.

        Args:
            prefix: the folder of pictures, as in `images/`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for split, records in self.splits.items():
            lines = "".join(f"{prefix}{self.names[record.name]}\n" for record in records)
            (folder / f"{split}.txt").write_text(lines, encoding="utf-8")


def new_names(records: Sequence[Record]) -> dict[str, str]:
    """Old name -> path below images/: without the folders that told role and split; numbered where two would meet."""
    keys = {record.name: PurePosixPath(place(PurePosixPath(record.name + ".png")).key) for record in records}
    if len({key.name for key in keys.values()}) == len(keys) and any(len(record.labels) > 1 for record in records):
        keys = {name: PurePosixPath(key.name) for name, key in keys.items()}
    return _numbered({name: str(key) for name, key in keys.items()})


def plain_names(records: Sequence[Record]) -> dict[str, str]:
    """As `new_names`, and none is the end of another (`a/x` of `b/a/x`), which a reader could take for it."""
    names = new_names(records)
    ends = {"/".join(name.split("/")[start:]) for name in names.values() for start in range(1, name.count("/") + 1)}
    if ends & set(names.values()):
        names = _numbered({old: name.replace("/", "_") for old, name in names.items()})
    return names


def _numbered(names: Mapping[str, str]) -> dict[str, str]:
    """Old name -> new one, with a number behind those that are taken."""
    new: dict[str, str] = {}
    taken: set[str] = set()
    for old, wanted in names.items():
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}_copy{number}"
        taken.add(name)
        new[old] = name
    return new


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A region of one class: an object, or pixels of which it is not known what objects they make."""

    class_id: int
    is_object: bool
    patch: Patch


def parts_of(mask: np.ndarray, instances: Instances | None, *, connected: bool) -> list[Part]:
    """A mask in disjoint parts that cover all pixels that are not 0: the objects, then what else each class has.

    Args:
        mask: (H, W) class ids.
        instances: the objects, with their label map where there is one.
        connected: tear what belongs to no object into connected regions (4 neighbours).
    """
    parts = []
    rest = mask.copy()
    if instances is not None and instances.ids is not None:
        for number, class_id in enumerate(instances.classes[: instances.outlined].tolist(), start=1):
            left, top, right, bottom = instances.boxes[number - 1].astype(int).tolist()
            patch = Patch(top, left, instances.ids[top:bottom, left:right] == number)
            rest[patch.window][patch.mask] = 0
            parts.append(Part(class_id, True, patch))
    for class_id in np.unique(rest[rest > 0]).tolist():
        of_class = (rest == class_id).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(of_class, connectivity=4)
        if not connected:
            count, labels = 2, of_class
            ys, xs = np.nonzero(of_class)
            stats = np.array([[0] * 4, [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]])
        for number in range(1, count):
            left, top, width, height = stats[number][:4].tolist()
            parts.append(
                Part(class_id, False, Patch(top, left, labels[top : top + height, left : left + width] == number))
            )
    return parts
