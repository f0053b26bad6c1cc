"""Shared parts of the writers of all formats: the pictures, their names, and their labels as masks and regions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from pixelwise.data.dataset import Dataset
from pixelwise.data.path_words import parse_path
from pixelwise.data.record import Record
from pixelwise.data.regions import Box, Patch
from pixelwise.data.sample import VOID, Instances, Sample
from pixelwise.data.shapes import IGNORE

CLASSES = "classes.txt"


@dataclass(frozen=True, slots=True)
class Export:
    """A dataset about to be written.

    Attributes:
        dataset: the dataset that is read.
        records: the records that are written, labelled or not.
        names: record's name -> its new name: a path without suffix below the folder of pictures.
        splits: split -> labelled records.
        points: how many labelled pixels of each picture the format `points` holds; None for all.
    """

    dataset: Dataset
    records: tuple[Record, ...]
    names: Mapping[str, str]
    splits: Mapping[str, tuple[Record, ...]]
    points: int | None = None

    def picture(self, record: Record) -> str:
        """The new name with the suffix."""
        return self.names[record.name] + record.picture.suffix

    def copy_pictures(self, folder: Path) -> None:
        """Copies every picture unchanged."""
        for record in self.records:
            target = folder / self.picture(record)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(record.picture, target)

    def samples(self, records: Sequence[Record]) -> Iterator[tuple[Record, Sample]]:
        """The labelled ones among `records`, read one by one."""
        return ((record, self.dataset.load(record)) for record in records if record.labels)

    def by_split(self) -> dict[str, tuple[Record, ...]]:
        """Labelled records by split; those in no split are under an empty name."""
        taken = {record.name for records in self.splits.values() for record in records}
        rest = tuple(record for record in self.records if record.labels and record.name not in taken)
        return {**self.splits, **({"": rest} if rest else {})}

    def knows_objects(self) -> bool:
        return self.dataset.coding.kind in ("objects", "shapes")

    def parts(self, sample: Sample, *, connected: bool, whole: bool = False) -> list[LabelledPart]:
        """Everything that is labelled in a picture: objects of which only the box is known, then `parts_of`.

        Pixels that are void only because of a box are not written as void.

        Args:
            connected, whole: as for `parts_of`.
        """
        assert sample.mask is not None
        mask, boxes = sample.mask.copy(), list(_bare_boxes(sample.instances))
        for part in boxes:
            assert part.box is not None
            inside = mask[part.box.draw(*mask.shape).window]
            inside[inside == VOID] = 0
        return [*boxes, *parts_of(mask, sample.instances, connected=connected, whole=whole)]

    def label(self, class_id: int) -> str:
        """The name of a class, `__ignore__` for void."""
        return IGNORE if class_id == VOID else self.dataset.class_names[class_id]

    def write_classes(self, out: Path) -> None:
        """Writes classes.txt, from which the order of the classes is read again."""
        lines = "".join(f"{name}\n" for name in self.dataset.class_names)
        (out / CLASSES).write_text(lines, encoding="utf-8")

    def write_lists(self, folder: Path, prefix: str = "", *, suffix: bool = False) -> None:
        """Writes one list of names per split.

        Args:
            prefix: the folder of pictures, as in `images/`.
            suffix: whether the names have their suffix.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for split, records in self.splits.items():
            names = (self.picture(record) if suffix else self.names[record.name] for record in records)
            lines = "".join(f"{prefix}{name}\n" for name in names)
            (folder / f"{split}.txt").write_text(lines, encoding="utf-8")


NO_PIXELS = Patch(0, 0, np.zeros((0, 0), bool))


def new_names(records: Sequence[Record]) -> dict[str, str]:
    """Old name -> path below images/, without folders that stated role and split; equal names are numbered."""
    keys = {record.name: PurePosixPath(parse_path(PurePosixPath(record.name + ".png")).key) for record in records}
    if len({key.name for key in keys.values()}) == len(keys) and any(len(record.labels) > 1 for record in records):
        keys = {name: PurePosixPath(key.name) for name, key in keys.items()}
    return _numbered({name: str(key) for name, key in keys.items()})


def plain_names(records: Sequence[Record]) -> dict[str, str]:
    """The names of `new_names`, changed so that no reader confuses one with the end of another (`a/x` of `b/a/x`)."""
    names = new_names(records)
    ends = {"/".join(name.split("/")[start:]) for name in names.values() for start in range(1, name.count("/") + 1)}
    if ends & set(names.values()):
        names = _numbered({old: name.replace("/", "_") for old, name in names.items()})
    return names


def _numbered(names: Mapping[str, str]) -> dict[str, str]:
    """Old name -> new name, with a number appended to names that are taken."""
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
class LabelledPart:
    """A region of one class: an object, or pixels whose division into objects is not known.

    Attributes:
        is_object: true for crowds and difficult objects as well.
        patch: its pixels; empty if only the box is known.
        box: the box of an object without an outline.
        keypoints: (J, 3) x, y and whether each joint is annotated, for an object with joints.
    """

    class_id: int
    is_object: bool
    patch: Patch = NO_PIXELS
    box: Box | None = None
    crowd: bool = False
    difficult: bool = False
    keypoints: np.ndarray | None = None

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """The box: left, top, right, bottom."""
        if self.box is not None:
            return self.box.left, self.box.top, self.box.right, self.box.bottom
        rows, columns = (np.flatnonzero(self.patch.mask.any(axis)) for axis in (1, 0))
        left, top = self.patch.left, self.patch.top
        return left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1


def _bare_boxes(instances: Instances | None) -> Iterator[LabelledPart]:
    """The objects without an outline, including the ignored ones."""
    for objects, ignored in _with_ignored(instances):
        for number in range(objects.outlined, len(objects)):
            box = Box(*objects.boxes[number].tolist())
            class_id, flags = int(objects.classes[number]), _flags(objects, number, ignored)
            yield LabelledPart(class_id, True, NO_PIXELS, box, *flags, _keypoints(objects, number))


def parts_of(
    mask: np.ndarray, instances: Instances | None, *, connected: bool, whole: bool = False
) -> list[LabelledPart]:
    """A mask in disjoint parts that cover all pixels that are not 0: the objects, then the rest of each class.

    Args:
        mask: (H, W) class ids.
        instances: the objects, with their label map if there is one.
        connected: divide the pixels that belong to no object into connected regions (4 neighbours).
        whole: crowds and difficult objects include pixels that other objects hide; only such parts are not disjoint.
    """
    parts = []
    rest = mask.copy()
    for objects, ignored in _with_ignored(instances):
        if objects.ids is None:
            continue
        for number, class_id in enumerate(objects.classes[: objects.outlined].tolist()):
            left, top, right, bottom = objects.boxes[number].astype(int).tolist()
            patch = Patch(top, left, objects.ids[top:bottom, left:right] == number + 1)
            seen = patch.mask & (rest[patch.window] == class_id) if ignored else patch.mask
            rest[patch.window][seen] = 0
            if whole or seen.any():
                shown = patch if whole else Patch(top, left, seen)
                flags = _flags(objects, number, ignored)
                parts.append(LabelledPart(class_id, True, shown, None, *flags, _keypoints(objects, number)))
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
                LabelledPart(
                    class_id, False, Patch(top, left, labels[top : top + height, left : left + width] == number)
                )
            )
    return parts


def _with_ignored(instances: Instances | None) -> list[tuple[Instances, bool]]:
    """The objects that count, and the ignored ones if there are any."""
    if instances is None:
        return []
    return [(instances, False), *([(instances.ignored, True)] if instances.ignored is not None else [])]


def _flags(objects: Instances, number: int, ignored: bool) -> tuple[bool, bool]:
    """Whether an object is a crowd, and whether it is difficult."""
    crowd = ignored and objects.crowd is not None and bool(objects.crowd[number])
    return crowd, ignored and not crowd


def _keypoints(objects: Instances, number: int) -> np.ndarray | None:
    """The joints of an object; None if none is annotated."""
    if objects.keypoints is None or not (objects.keypoints[number, :, 2] > 0).any():
        return None
    return objects.keypoints[number]
