"""A dataset on disk: which pictures there are, where their labels lie, and how both become a `Sample`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from pixelwise.data.gaps import valueless
from pixelwise.data.idx import read_idx
from pixelwise.data.pictures import PictureFormat, convert, probe, read_filled, read_ids, read_picture
from pixelwise.data.sample import VOID, Instances, Sample
from pixelwise.errors import UserError, unknown


@dataclass(frozen=True, slots=True)
class Record:
    """One picture of a dataset, not yet read.

    Attributes:
        name: unique in the dataset: the path below the root without the suffix, `/` between folders.
        picture: the picture's file.
        labels: its label files: none (unlabelled), one mask, one file an object, or a file of shapes, which may be that
            of other pictures, too.
        group: pictures of one group (frames of a video, slices of a patient) always share a split.
        class_id: of the picture as a whole, in data that is sorted into classes.
        place: of the picture in its file, from 0, where the file holds many (idx); None for a file of its own.
    """

    name: str
    picture: Path
    labels: tuple[Path, ...] = ()
    group: str = ""
    class_id: int | None = None
    place: int | None = None

    @property
    def labelled(self) -> bool:
        return bool(self.labels) or self.class_id is not None


KNOWLEDGE = {
    "classes": "a class per picture",
    "pixels": "a class per pixel",
    "objects": "which objects there are",
    "outlines": "the outline of each object",
    "keypoints": "the joints of each object",
    "pairs": "pairs of pictures",
    "values": "a number per pixel",
}
"""What a dataset may know of its pictures."""
_OF_MASKS = {"objects": frozenset({"pixels", "objects", "outlines"})}


UNLABELLED = "unlabelled"
"""The split of pictures that have no labels, or whose labels are not to be read."""


class Coding(ABC):
    """How the labels of a record are read: files of pixels (`MaskCoding`), shapes (`shapes.ShapeCoding`), or folders
    by class (`ClassCoding`).

    Attributes:
        task: the task for which such labels are made.
    """

    task: ClassVar[str] = "segment"

    @property
    @abstractmethod
    def kind(self) -> str:
        """`ids`, `binary`, `objects`, `shapes`, `classes` or `values`."""

    @property
    @abstractmethod
    def knows(self) -> frozenset[str]:
        """Words of `KNOWLEDGE`: what the labels say of a picture."""

    def label(self, sample: Sample, record: Record, *, objects: bool) -> Sample:
        """The sample with its labels.

        Args:
            objects: whether the objects are wanted as well as the mask.

        Raises:
            UserError: labels that are unreadable, or cannot be those of a picture of that size.
        """
        height, width = sample.image.shape[:2]
        if not objects:
            return replace(sample, mask=self.decode_mask(record, height, width))
        mask, instances = self.decode(record, height, width)
        return replace(sample, mask=mask, instances=instances)

    @abstractmethod
    def decode(self, record: Record, height: int, width: int) -> tuple[np.ndarray, Instances | None]:
        """The mask as (H, W) uint8 class ids, 255 = void, and the objects where the coding knows them.

        Raises:
            UserError: labels that are unreadable, or cannot be those of a picture of that size.
        """

    @abstractmethod
    def decode_mask(self, record: Record, height: int, width: int) -> np.ndarray:
        """The mask alone, which is quicker where there are many objects.

        Raises:
            UserError: as `decode`.
        """


@dataclass(frozen=True, slots=True)
class MaskCoding(Coding):
    """How stored values become class ids.

    Attributes:
        kind: `ids` (the value is the class, after `mapping`), `binary` (0 and 255 are classes 0 and 1), or `objects`
            (all of class 1: several files are one object each, wherever they are not 0; a single file is a label map,
            where 0 is background and every other value an object, which holds for the file of a lone object too).
        mapping: stored value -> class id, for values that are not their own class id (CamVid's 11 is void).
        palette: 0xRRGGBB -> class id, for masks that are colour pictures; without it they are refused.
        threshold: of masks in black and white with soft edges: what is larger is class 1, all else class 0; None for
            other masks.
    """

    kind: str = "ids"
    mapping: Mapping[int, int] = field(default_factory=dict)
    palette: Mapping[int, int] = field(default_factory=dict)
    threshold: int | None = None

    @property
    def _wide(self) -> bool:
        """Whether `mapping` has values that fit in no byte."""
        return max(self.mapping, default=0) > 255

    def in_a_byte(self, stored: np.ndarray) -> np.ndarray:
        """Stored values, those that `mapping` knows already replaced where some of these are beyond 255."""
        if not self._wide:
            return stored
        values, where = np.unique(stored, return_inverse=True)
        return np.array([self.mapping.get(value, value) for value in values.tolist()])[where].reshape(stored.shape)

    def table(self) -> np.ndarray:
        """(256,) uint8: the class id of each value that `in_a_byte` gives."""
        if self.threshold is not None:
            return (np.arange(256) > self.threshold).astype(np.uint8)
        table = np.arange(256, dtype=np.uint8)
        if self.kind == "binary":
            table[255] = 1
        for stored, class_id in () if self._wide else self.mapping.items():
            table[stored] = class_id
        return table

    @property
    def knows(self) -> frozenset[str]:
        return _OF_MASKS.get(self.kind, frozenset({"pixels"}))

    def decode(self, record: Record, height: int, width: int) -> tuple[np.ndarray, Instances | None]:
        """The mask as (H, W) uint8 class ids, and the objects where the coding knows them.

        Raises:
            UserError: a file that is unreadable, of another size than its picture, or with values that are no ids.
        """
        if self.kind != "objects":
            return self.decode_mask(record, height, width), None
        ids = _label_map(record.labels, height, width)
        return (ids > 0).astype(np.uint8), Instances.from_label_map(ids.astype(np.int64))

    def decode_mask(self, record: Record, height: int, width: int) -> np.ndarray:
        """The mask alone, which is quicker where there are many objects.

        Raises:
            UserError: as `decode`.
        """
        if self.kind == "objects":
            return (_label_map(record.labels, height, width) > 0).astype(np.uint8)
        file = record.labels[0]
        values = self.in_a_byte(_read_sized(file, height, width, self.palette))
        if values.max(initial=0) > 255:
            raise UserError(
                f"{file}: values up to {values.max()} found, but class ids go from 0 to 254 (255 = void); "
                "if the values number objects, see the label-map layout in docs/data.md."
            )
        return self.table()[values]


@dataclass(frozen=True, slots=True)
class ClassCoding(Coding):
    """Pictures sorted into classes: records have a `class_id`, and there are no masks."""

    kind: ClassVar[str] = "classes"
    task: ClassVar[str] = "classify"
    knows: ClassVar[frozenset[str]] = frozenset({"classes"})

    def label(self, sample: Sample, record: Record, *, objects: bool) -> Sample:
        return sample  # the record's class is all there is

    def decode(self, record: Record, height: int, width: int) -> tuple[np.ndarray, Instances | None]:
        """
        Raises:
            UserError: always, for there is no mask.
        """
        raise UserError(
            f"{record.picture}: belongs to a class as a whole and has no mask, so no network can learn from it which "
            "pixels are what; train a classifier (pixelwise train resnet18), or add masks."
        )

    def decode_mask(self, record: Record, height: int, width: int) -> np.ndarray:
        """
        Raises:
            UserError: as `decode`.
        """
        return self.decode(record, height, width)[0]


@dataclass(frozen=True, slots=True)
class NoCoding(ClassCoding):
    """Pictures without labels."""

    kind: ClassVar[str] = "none"
    knows: ClassVar[frozenset[str]] = frozenset()


def _label_map(files: Sequence[Path], height: int, width: int) -> np.ndarray:
    """Objects by number: the file's own values if it is one, else i + 1 on the pixels of file i, later ones on top."""
    if len(files) == 1:
        return _read_sized(files[0], height, width)
    ids = np.zeros((height, width), np.int32)
    for number, file in enumerate(files, start=1):
        ids[_read_sized(file, height, width) > 0] = number
    return ids


def read_values(file: Path, palette: Mapping[int, int]) -> np.ndarray:
    """The values of a mask, as `pictures.read_ids` gives them, or for colour pictures those of their colours.

    Args:
        palette: 0xRRGGBB -> value; empty to refuse colour pictures.

    Raises:
        UserError: unreadable, or a colour that is not in the palette.
    """
    if not palette or probe(file).mode not in ("RGB", "RGBA"):
        return read_ids(file)
    wide = convert(read_picture(file), PictureFormat(3, "uint8"), file).astype(np.int32)
    packed = wide[:, :, 0] << 16 | wide[:, :, 1] << 8 | wide[:, :, 2]
    colours, where = np.unique(packed, return_inverse=True)
    grey = all(colour == (colour & 255) * 0x010101 for colour in colours.tolist())
    if grey and not set(colours.tolist()) <= set(palette):
        return read_ids(file)  # ids in three equal channels
    for colour in colours.tolist():
        if colour not in palette:
            y, x = np.argwhere(packed == colour)[0]
            raise UserError(
                f"{file}: the colour rgb({colour >> 16},{colour >> 8 & 255},{colour & 255}) at x {x}, y {y} belongs to "
                "no class; export the mask again without smoothing, or give colors.txt with lines `name r g b`."
            )
    return np.array([palette[colour] for colour in colours.tolist()], np.uint8)[where].reshape(packed.shape)


def _read_sized(file: Path, height: int, width: int, palette: Mapping[int, int] | None = None) -> np.ndarray:
    values = read_values(file, palette or {})
    if values.shape != (height, width):
        raise UserError(
            f"{file}: the mask is {values.shape[1]} x {values.shape[0]} but its picture is {width} x {height} "
            "(width x height); export it again at the picture's size."
        )
    return values


@dataclass(frozen=True, slots=True)
class Dataset:
    """Records, their classes, and their splits.

    Attributes:
        root: the folder it was read from.
        layout: the name of the format that read it (`folder`, `camvid`, `nuclei`, ...).
        class_names: by class id.
        records: in a fixed order (sorted by name).
        splits: `train`, `val`, perhaps `test` -> names of labelled records; perhaps `unlabelled` -> pictures without
            labels that are there to learn from; disjoint.
        form: what all pictures are brought to.
        coding: how labels are stored.
        notes: sentences on what was assumed while reading (mapped ids, a split that was made, ...).
        guesses: sentences on what was decided by what the files look like, with the way to overrule it.
        renumbering: class id by the id that the labels have, where the two differ (`class_names.with_class_names`);
            else empty.
    """

    root: Path
    layout: str
    class_names: tuple[str, ...]
    records: tuple[Record, ...]
    splits: Mapping[str, tuple[str, ...]]
    form: PictureFormat = field(default_factory=PictureFormat)
    coding: Coding = field(default_factory=MaskCoding)
    notes: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
    renumbering: tuple[int, ...] = ()

    def split(self, name: str) -> tuple[Record, ...]:
        """The records of one split, in the dataset's order.

        Raises:
            UserError: no such split.
        """
        if name not in self.splits:
            raise unknown(f"split of {self.root}:", name, self.splits)
        wanted = set(self.splits[name])
        return tuple(record for record in self.records if record.name in wanted)

    @property
    def knows(self) -> frozenset[str]:
        """Words of `KNOWLEDGE`: what the labels say of a picture."""
        return self.coding.knows

    @property
    def task(self) -> str:
        """The task for which such labels are made: `segment`, `classify` or `regress`."""
        return self.coding.task

    def read(self, record: Record) -> np.ndarray:
        """One record's picture, (H, W, C), in the dataset's form, its gaps filled: see `data.gaps`.

        Raises:
            UserError: unreadable.
        """
        return self.read_known(record)[0]

    def read_known(self, record: Record) -> tuple[np.ndarray, np.ndarray | None]:
        """As `read`, and (H, W) bool where the picture has no value; None if it has one everywhere.

        Raises:
            UserError: unreadable.
        """
        if record.place is None:
            image, gaps = read_filled(record.picture, self.form)
            return image, valueless(gaps)
        return convert(read_idx(record.picture)[record.place][:, :, None], self.form, record.picture), None

    def size(self, record: Record) -> tuple[int, int]:
        """Height and width of one record's picture, from the head of its file.

        Raises:
            UserError: unreadable.
        """
        if record.place is None:
            header = probe(record.picture)
            return header.height, header.width
        height, width = read_idx(record.picture).shape[1:]
        return height, width

    def load(self, record: Record, *, objects: bool = True) -> Sample:
        """Reads one record's picture and labels.

        Args:
            objects: whether the objects are wanted; telling many of them apart takes longer than all the rest.

        Raises:
            UserError: unreadable, sizes that differ, or ids beyond the classes.
        """
        return self.label(record, *self.read_known(record), objects=objects)

    def label(self, record: Record, image: np.ndarray, lost: np.ndarray | None, *, objects: bool = True) -> Sample:
        """A record's picture, as `read_known` gives it, with its labels: void where the picture has no value.

        Raises:
            UserError: labels that are unreadable, of another size, or with ids beyond the classes.
        """
        sample = Sample(record.name, image, class_id=record.class_id)
        if record.labels:
            sample = self.coding.label(sample, record, objects=objects)
        if sample.mask is not None:
            sample = replace(sample, mask=self._checked(sample.mask, record))
        if self.renumbering and sample.instances is not None:
            classes = np.array(self.renumbering, np.int64)[sample.instances.classes]
            sample = replace(sample, instances=replace(sample.instances, classes=classes))
        return sample if lost is None else sample.without(lost)

    def load_mask(self, record: Record) -> np.ndarray:
        """The class ids of a labelled record, (H, W) uint8; the picture is decoded only if it may have gaps.

        Raises:
            UserError: unreadable, sizes that differ, or ids beyond the classes.
        """
        mask = self._checked(self.coding.decode_mask(record, *self.size(record)), record)
        if record.place is not None or not probe(record.picture).may_have_gaps:
            return mask
        lost = self.read_known(record)[1]
        return mask if lost is None else np.where(lost, np.uint8(VOID), mask)

    def _checked(self, mask: np.ndarray, record: Record) -> np.ndarray:
        """The mask with its ids renumbered, once each is found to be that of a class."""
        classes = len(self.renumbering) or len(self.class_names)
        top = int(np.where(mask == VOID, 0, mask).max(initial=0))
        if top >= classes:
            raise UserError(
                f"{record.labels[0]}: class id {top} found, but there are {classes} classes (ids 0 to {classes - 1}); "
                "add the missing names to classes.txt or set those pixels to 255 (void)."
            )
        if not self.renumbering:
            return mask
        table = np.full(256, VOID, np.uint8)
        table[:classes] = self.renumbering
        return table[mask]
